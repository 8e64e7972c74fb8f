"""The contract of CostStore: sums by hour and group, folded days, a user who is forgotten."""

from __future__ import annotations

import pytest

from cogmeter_storage import Retention
from cogmeter_storage.costs import CostGroup, CostKey, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US, Person

KEY, STATE = "costs", b"{}"


@pytest.fixture
def noon(noon):
    return noon // DAY_US * DAY_US + 12 * HOUR_US


def add(store, lines, state=STATE):
    return store.costs.add(lines, key=KEY, state=state)


async def test_sums_of_the_same_group_are_added_up_and_the_state_is_stored_with_them(store, noon):
    line = CostKey(noon, "ai", "/ask", "gpt", "g", "u")
    await add(store, {line: CostSums(1, 10, 5, 2, 100, 0)})
    await add(store, {line: CostSums(2, 1, 1, 1, 7, 1), line._replace(user="v"): CostSums(1)}, b"new")
    assert await store.costs.grouped(noon, noon + 1, by=["user"]) == [
        CostGroup(noon, ("u",), CostSums(3, 11, 6, 3, 107, 1)),
        CostGroup(noon, ("v",), CostSums(1)),
    ]
    assert await store.get_value(KEY) == b"new"


async def test_they_are_grouped_by_any_fields_in_any_order_and_by_step(store, noon):
    lines = {
        CostKey(noon, "ai", "/ask", "a"): CostSums(1, micro_usd=1),
        CostKey(noon + HOUR_US, "ai", "/ask", "b"): CostSums(1, micro_usd=2),
        CostKey(noon + DAY_US, "other", "/look", "a"): CostSums(1, micro_usd=4),
    }
    await add(store, lines)
    span = (noon, noon + 2 * DAY_US)

    async def money(**options):
        return [(one.start_us, *one.names, one.sums.micro_usd) for one in await store.costs.grouped(*span, **options)]

    assert await money() == [(noon, 7)]
    assert await money(by=["model", "caller"]) == [
        (noon, "a", "/ask", 1),
        (noon, "b", "/ask", 2),
        (noon, "a", "/look", 4),
    ]
    assert await money(step_us=DAY_US) == [(noon - 12 * HOUR_US, 3), (noon + 12 * HOUR_US, 4)]
    assert await money(services=["other"]) == [(noon, 4)]
    assert await money(services=[]) == []
    assert await store.costs.first_us() == noon


async def test_nothing_is_stored_of_sums_that_are_not_valid(store, noon):
    for bad in ({CostKey(noon + 1, "ai"): CostSums(1)}, {CostKey(noon, "ai"): CostSums(1, micro_usd=-1)}):
        with pytest.raises(ValueError, match="whole hour"):
            await add(store, {CostKey(noon, "ai"): CostSums(1), **bad})
    assert await store.costs.first_us() is None
    assert await store.get_value(KEY) is None


async def test_hours_become_one_day_when_they_are_old_and_late_ones_are_added_to_it(store, noon):
    day = noon - 12 * HOUR_US
    await add(store, {CostKey(day + hour * HOUR_US, "ai", model="a"): CostSums(1, micro_usd=1) for hour in range(24)})
    await store.fold(now_us=day + 2 * DAY_US + HOUR_US)
    assert len(await store.costs.grouped(day, day + DAY_US, step_us=HOUR_US)) == 24
    await store.fold(now_us=day + 3 * DAY_US)
    assert await store.costs.grouped(day, day + DAY_US, step_us=HOUR_US) == [
        CostGroup(day, (), CostSums(24, micro_usd=24))
    ]
    await add(store, {CostKey(noon, "ai", model="a"): CostSums(1, micro_usd=5)})
    await store.fold(now_us=day + 3 * DAY_US)
    assert await store.costs.grouped(day, day + DAY_US, by=["model"], step_us=HOUR_US) == [
        CostGroup(day, ("a",), CostSums(25, micro_usd=29))
    ]


async def test_old_costs_are_removed_with_the_hours_of_operations(store, noon):
    for back in (0, 5, 20):
        await add(store, {CostKey(noon - back * DAY_US, "ai"): CostSums(1)})
    await store.clean(Retention(raw_hours=24, hour_hours=10 * 24, day_hours=100 * 24, error_hours=24), now_us=noon)
    assert await store.costs.first_us() == (noon - 5 * DAY_US) // DAY_US * DAY_US or noon - 5 * DAY_US
    assert sum(one.sums.operations for one in await store.costs.grouped(0, noon + 1)) == 2


async def test_a_forgotten_user_is_in_no_sum_and_no_sum_changes(store, noon):
    line = CostKey(noon, "ai", "/ask", "a", "g", "0a0b0c0d")
    await add(store, {line: CostSums(1, 5, 5, 0, 10), line._replace(user=""): CostSums(1, 1, 1, 0, 1)})
    await add(store, {line._replace(start_us=noon + HOUR_US): CostSums(1, micro_usd=3)})
    assert await store.costs.forget("0a0b0c0d") == 2
    assert await store.costs.forget("0a0b0c0d") == 0
    assert await store.costs.forget("") == 0
    assert await store.costs.grouped(noon, noon + DAY_US, by=["user"]) == [
        CostGroup(noon, ("",), CostSums(3, 6, 6, 0, 14))
    ]


async def test_an_erased_person_is_forgotten_here_too(store, noon):
    await add(store, {CostKey(noon, "ai", user="0a0b0c0d"): CostSums(1, micro_usd=3)})
    assert (await store.erase_person(Person(("user", "0a0b0c0d"), "123456789012345678"))).rows == 1
    assert [one.names for one in await store.costs.grouped(noon, noon + 1, by=["user"])] == [("",)]
