"""What operations cost by day, service and model: live, after a restart, and from what is stored."""

import json
import time

import pytest

from cogmeter.alerts.measurement.spending import MOST_A_DAY, MOST_DAYS, OTHER, Spending
from cogmeter.startup import DamagedStateError
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

NOW_US = time.time_ns() // 1000
TODAY = NOW_US // DAY_US


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def stored(store, *days_ago, model="gpt-4o", dollars=0.5):
    """One operation of each of these days, the oldest first."""
    (series,) = await store.series_ids([("graph", "query")])
    text = json.dumps({"model": model, "cost_usd": dollars, "tokens_in": 10})
    rows = [(series, NOW_US - ago * DAY_US, 1, 0, None, text) for ago in days_ago]
    await store.append([rows], now_us=NOW_US)


def dollars(spending):
    """What was spent by day."""
    return {TODAY - day: sum(one.dollars for one in lines.values()) for day, lines in spending.days.items()}


async def begun(store, now_us=NOW_US + 1):
    spending = Spending()
    await spending.begin(store, now_us)
    return spending


def atoms(metadata, *, number=0):
    return [number, time.perf_counter_ns(), 1_000_000, 0, (None, metadata)]


async def test_operations_count_as_they_come_by_service_and_model(store):
    spending = await begun(store)
    names = [("graph", "query"), ("vision", "look")]
    spending.count(atoms({"model": "a", "cost_usd": 1, "tokens_in": 5, "tokens_out": 7}), names)
    spending.count(atoms({"model": "a", "cost_usd": 2}) + atoms({"cost_usd": 4}, number=1), names)
    spending.count([*atoms({"model": "a"}), 0, time.perf_counter_ns(), 1, 0, None], names)  # say nothing of costs
    (day,) = spending.days.values()
    assert day["graph", "a"].dollars == 3
    assert (day["graph", "a"].operations, day["graph", "a"].tokens_in, day["graph", "a"].tokens_out) == (2, 5, 7)
    assert day["vision", ""].dollars == 4


async def test_what_was_stored_before_counting_began_is_counted_once(store):
    await stored(store, 3, 2, 0)
    spending = await begun(store)
    await spending.catch_up(store)
    assert dollars(spending) == {3: 0.5, 2: 0.5, 0: 0.5}
    await spending.catch_up(store)
    assert sum(dollars(spending).values()) == 1.5


async def test_a_restart_continues_where_the_run_before_ended(store):
    await stored(store, 2)
    first = await begun(store, NOW_US - DAY_US)
    await first.catch_up(store)
    await first.keep(store)
    await stored(store, 0.5)  # by a run that crashed before it kept anything
    again = await begun(store)
    await again.catch_up(store)
    assert sum(dollars(again).values()) == 1.0
    await again.keep(store)
    third = await begun(store, NOW_US + 2)
    await third.catch_up(store)
    assert sum(dollars(third).values()) == 1.0


async def test_what_is_stored_while_it_reads_is_not_counted_twice(store):
    await stored(store, 1)
    spending = await begun(store)
    await stored(store, 0)  # recorded before the beginning, flushed after it
    await spending.catch_up(store)
    assert sum(dollars(spending).values()) == 0.5


async def test_the_number_of_rows_read_is_bounded_and_the_start_is_known(store):
    await stored(store, 3, 2, 1)
    spending = await begun(store)
    await spending.catch_up(store, most=1)
    assert 1 in dollars(spending)
    assert 3 not in dollars(spending)
    assert spending.since_us > NOW_US - 3 * DAY_US


async def test_days_and_models_are_bounded():
    spending = Spending()
    for number in range(3 * MOST_DAYS):
        spending.add("graph", number * DAY_US, {"cost_usd": 1})
    assert min(spending.days) == 2 * MOST_DAYS
    for number in range(3 * MOST_A_DAY):
        spending.add("graph", 1000 * DAY_US, {"cost_usd": 1, "model": f"model {number}"})
    assert len(spending.days[1000]) == MOST_A_DAY + 1
    assert spending.days[1000][OTHER, OTHER].operations == 2 * MOST_A_DAY


@pytest.mark.parametrize("kept", [b"", b"[]", b'{"days": {"x": 1}}', b'{"days": {"1": [["a"]]}}'])
async def test_an_unreadable_value_is_counted_again(store, kept):
    await store.set_value("alerts.spending", kept)
    await stored(store, 0)
    spending = Spending()
    with pytest.raises(DamagedStateError):
        await spending.begin(store, NOW_US + 1)
    await spending.catch_up(store)
    assert dollars(spending) == {0: 0.5}


async def test_what_a_start_left_unread_is_read_at_the_next(store):
    await stored(store, 2)
    first = await begun(store, NOW_US - DAY_US)
    await first.keep(store)  # stopped before it could read anything
    await stored(store, 0.5)
    second = await begun(store)
    await second.keep(store)
    third = await begun(store, NOW_US + 2)
    await third.catch_up(store)
    assert sum(dollars(third).values()) == 1.0
