"""What operations cost: live, after a restart, from what is stored, and with the prices of models."""

import asyncio
import json
import random
import time

import numpy as np
import pytest

from cogmeter.alerts.measurement import spending as module
from cogmeter.alerts.measurement.costs import entries_of
from cogmeter.alerts.measurement.spending import KEY, MOST_A_DAY, OTHER, ROWS, Spending
from cogmeter.query.costs import GROUPINGS, cost_report
from cogmeter.query.pricing import Prices
from cogmeter.query.records import Range
from cogmeter.recording.budgets import Budgets
from cogmeter.recording.people_hashes import person_hash
from cogmeter.settings.prices import parse_prices
from cogmeter.startup import DamagedStateError
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.clock import Clock
from cogmeter_storage.costs import CostSums
from cogmeter_storage.model import DAY_US, HOUR_US

NOW_US = 1_795_000_000_000_000  # 2026-11-18 11:06 UTC
TODAY = NOW_US // DAY_US
HASH_KEY = b"0" * 16
# Dollars per million tokens, as the API documents of OpenAI stated them for these models; "mine" is of no list.
STATED = "gpt-4o=2.50/10/1.25, gpt-4o-mini=0.15/0.60/0.075, mine=1/3"


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch):
    """The hour in which an operation is counted must not depend on when the test runs."""
    monkeypatch.setattr(Clock, "now_ns", lambda _clock: NOW_US * 1000)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def stored(store, *days_ago, model="gpt-4o", dollars=0.5):
    """One operation of each of these days, the oldest first."""
    (series,) = await store.series_ids([("graph", "query")])
    text = json.dumps({"model": model, "cost_usd": dollars, "tokens_in": 10})
    rows = [(series, NOW_US - int(ago * DAY_US), 1, 0, None, text) for ago in days_ago]
    await store.append([rows], now_us=NOW_US)


async def money(store, by="model", days=30, **options):
    """The micro-dollars of each group."""
    report = await cost_report(store, Range(NOW_US - days * DAY_US, NOW_US + 1, ""), by, now_us=NOW_US, **options)
    return {name: sums.micro_usd for name, sums in report.groups}


async def begun(store, now_us=NOW_US + 1, **prices):
    budgets = Budgets()
    budgets.begin(HASH_KEY, guild_usd=0, user_usd=2)
    spending = Spending(Prices(parse_prices(prices.get("stated"))), budgets)
    await spending.begin(store, now_us)
    return spending


def atoms(metadata, *, number=0):
    return [number, time.perf_counter_ns(), 1_000_000, 0, (None, metadata)]


NAMES = [("graph", "query"), ("vision", "look"), ("discord.commands", "ask"), ("discord.replies", "on_message")]


async def test_operations_count_as_they_come_by_service_and_model(store):
    spending = await begun(store)
    await spending.count(atoms({"model": "a", "cost_usd": 1, "tokens_in": 5, "tokens_out": 7}), NAMES)
    await spending.count(atoms({"model": "a", "cost_usd": 2}) + atoms({"cost_usd": 4}, number=1), NAMES)
    await spending.count([*atoms({"model": "a"}), 0, time.perf_counter_ns(), 1, 0, None], NAMES)  # no costs
    await spending.keep(store)
    assert await money(store) == {"(no model named)": 4_000_000, "a": 3_000_000}
    assert await money(store, "service") == {"vision": 4_000_000, "graph": 3_000_000}
    assert spending.pending == {}


async def test_the_cost_of_a_recorded_set_equals_a_hand_computation_in_every_grouping(store):
    """Done-when 3: to the micro-dollar, with the prices of STATED computed in integers by hand."""
    spending, numbers = await begun(store, stated=STATED), random.Random(7)
    # Millionths of a micro-dollar per token: input, output, cached input.
    by_hand = {"gpt-4o": (2_500_000, 10_000_000, 1_250_000), "gpt-4o-mini": (150_000, 600_000, 75_000)}
    expected = {by: {} for by in GROUPINGS}
    batch = []
    for _ in range(400):
        model = numbers.choice([*by_hand])
        tokens_in, tokens_out = numbers.randrange(1, 9_999), numbers.randrange(0, 2_000)
        cached = numbers.randrange(0, tokens_in)
        price = by_hand[model]
        exact = (tokens_in - cached) * price[0] + tokens_out * price[1] + cached * price[2]
        whole, rest = divmod(exact, 1_000_000)
        micro = whole + (rest > 500_000 or (rest == 500_000 and whole % 2 == 1))
        guild, user = f"{numbers.randrange(3):08x}", f"{numbers.randrange(9):08x}"
        number = numbers.randrange(4)
        metadata = {"model": model, "tokens_in": tokens_in, "tokens_out": tokens_out, "cached_tokens": cached}
        metadata |= {"guild": guild, "user": user} | ({"caller": "reply on_message"} if number == 1 else {})
        batch += atoms(metadata, number=number)
        caller = {0: "", 1: "reply on_message", 2: "/ask", 3: "reply on_message"}[number]
        reply = caller.startswith("reply")
        groups = {
            "command": "(replies to messages)" if reply else caller or "(no command)",
            "reply": caller if reply else "(no reply)",
            "model": model,
            "guild": guild,
            "user": user,
            "service": NAMES[number][0],
        }
        for by, name in groups.items():
            expected[by][name] = expected[by].get(name, 0) + micro
    await spending.count(batch, NAMES)
    await spending.keep(store)
    for by in GROUPINGS:
        assert await money(store, by) == expected[by], by
        assert sum(expected[by].values()) == sum(expected["model"].values())


async def test_a_price_of_the_setting_precedes_that_of_the_library(store):
    spending = await begun(store, stated="gpt-4o=100/200")
    await spending.count(atoms({"model": "gpt-4o", "tokens_in": 10, "tokens_out": 10}), NAMES)
    await spending.count(atoms({"model": "openai/GPT-4o", "tokens_in": 1, "tokens_out": 0}), NAMES)
    await spending.count(atoms({"model": "gpt-4o-mini", "tokens_in": 1_000_000}), NAMES)
    await spending.keep(store)
    assert await money(store) == {"gpt-4o-mini": 150_000, "gpt-4o": 3_000, "openai/GPT-4o": 100}


async def test_the_money_of_the_host_precedes_both(store):
    spending = await begun(store, stated="gpt-4o=100/200")
    await spending.count(atoms({"model": "gpt-4o", "tokens_in": 10, "cost_usd": 0.0000015}), NAMES)
    await spending.keep(store)
    assert await money(store) == {"gpt-4o": 2}


async def test_an_unknown_model_is_listed_and_its_price_is_not_guessed(store):
    spending = await begun(store)
    await spending.count(atoms({"model": "nobody/knows-this", "tokens_in": 10, "tokens_out": 1}), NAMES)
    await spending.keep(store)
    report = await cost_report(store, Range(NOW_US - DAY_US, NOW_US + 1, ""), "model", now_us=NOW_US)
    assert report.unpriced == {"nobody/knows-this": CostSums(1, 10, 1, 0, 0, 1)}
    assert report.total.micro_usd == 0
    assert report.price_source.startswith("genai-prices ")


async def test_without_the_extra_tokens_are_counted_and_money_says_why_not(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    spending = await begun(store, stated="mine=1/3")
    await spending.count(atoms({"model": "gpt-4o", "tokens_in": 10, "tokens_out": 1}), NAMES)
    await spending.count(atoms({"model": "mine", "tokens_in": 10, "tokens_out": 1}), NAMES)
    await spending.keep(store)
    report = await cost_report(store, Range(NOW_US - DAY_US, NOW_US + 1, ""), "model", now_us=NOW_US)
    assert (report.total.tokens_in, report.total.micro_usd, report.total.unpriced) == (20, 13, 1)
    assert "pip install 'cogmeter[cost]'" in report.price_problem


async def test_an_operation_with_two_models_counts_for_both():
    metadata = {"model": "a", "tokens_in": 5, "user": "0000000a", "more_usage": [{"model": "b", "tokens_out": 7}]}
    found = [*entries_of("ai", "x", NOW_US, metadata, None)]
    assert [(one.model, one.tokens_in, one.tokens_out, one.user) for one in found] == [
        ("a", 5, 0, "0000000a"),
        ("b", 0, 7, "0000000a"),
    ]


async def test_ids_that_the_host_puts_into_metadata_reach_the_store_as_hashes(store):
    spending = await begun(store)
    await spending.count(atoms({"cost_usd": 1, "user": 123456789012345678, "guild": "23456789012345678"}), NAMES)
    await spending.keep(store)
    assert await money(store, "user") == {person_hash(HASH_KEY, "user", 123456789012345678): 1_000_000}
    assert await money(store, "guild") == {person_hash(HASH_KEY, "guild", 23456789012345678): 1_000_000}


async def test_budgets_know_what_was_spent_today_also_after_a_restart(store):
    spending = await begun(store)
    user = 123456789012345678
    await spending.count(atoms({"cost_usd": 1.5, "user": user}), NAMES)
    budget = spending.budgets.of(user=user)
    assert (budget.spent_micro_usd, budget.left_micro_usd, budget.exceeded, bool(budget)) == (
        1_500_000,
        500_000,
        False,
        True,
    )
    await spending.keep(store)
    again = await begun(store, NOW_US + 2)
    assert again.budgets.of(user=user) == budget
    await again.count(atoms({"cost_usd": 1.5, "user": user}), NAMES)
    assert not again.budgets.of(user=user, guild=5)
    assert again.budgets.of(guild=5).limit_micro_usd is None
    again.forget(person_hash(HASH_KEY, "user", user))
    assert again.budgets.of(user=user).spent_micro_usd == 0
    assert {line.user for line in again.pending} == {""}


async def test_what_was_stored_before_counting_began_is_counted_once(store):
    await stored(store, 3, 2, 0)
    spending = await begun(store)
    await spending.catch_up(store)
    assert await money(store) == {"gpt-4o": 1_500_000}
    await spending.catch_up(store)
    assert await money(store) == {"gpt-4o": 1_500_000}


async def test_what_was_stored_while_the_bot_crashed_is_counted_at_the_next_start(store):
    spending = await begun(store, NOW_US - 5 * DAY_US)
    await spending.keep(store)
    await stored(store, 3, 2)
    again = await begun(store)
    await again.catch_up(store)
    third = await begun(store, NOW_US + 2)
    await third.catch_up(store)
    assert await money(store) == {"gpt-4o": 1_000_000}


async def test_the_loop_runs_again_after_a_few_hundred_stored_operations(store, monkeypatch):
    await stored(store, *np.linspace(2, 0, 5 * ROWS).tolist())
    spending = await begun(store)
    steps = []  # additions between two turns of the loop
    join = module._join
    monkeypatch.setattr(module, "_join", lambda *values: (steps.append(steps.pop() + 1), join(*values)))

    async def watch():
        while True:
            steps.append(0)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await spending.catch_up(store)
    watching.cancel()
    assert 0 < max(steps) <= ROWS
    assert await money(store) == {"gpt-4o": 5 * ROWS * 500_000}


async def test_what_is_counted_live_while_the_stored_operations_are_read_is_kept(store):
    await stored(store, 2, 1)
    spending = await begun(store)
    spending.add("graph", NOW_US, {"cost_usd": 0.25, "model": "gpt-4o"})
    await spending.catch_up(store)
    assert await money(store) == {"gpt-4o": 1_250_000}


async def test_the_newest_days_are_read_first_and_no_more_than_allowed(store):
    await stored(store, 3, 2, 1)
    spending = await begun(store)
    await spending.catch_up(store, most=1)
    assert await money(store) == {"gpt-4o": 500_000}
    assert spending.since_us > NOW_US - 3 * DAY_US


async def test_too_many_models_of_a_day_share_a_line(store):
    spending = await begun(store)
    for number in range(2 * MOST_A_DAY):
        spending.add("graph", NOW_US, {"cost_usd": 1, "model": f"model {number}"})
    await spending.keep(store)
    found = await money(store)
    assert len(found) == MOST_A_DAY + 1
    assert found[OTHER] == MOST_A_DAY * 1_000_000


async def test_the_sums_of_an_earlier_version_move_to_the_table(store):
    days = {str(TODAY - 1): [["graph", "gpt-4o", 2, 10.0, 5.0, 0.25]]}
    earlier = {"days": days, "since": NOW_US - 2 * DAY_US, "until": NOW_US, "gaps": []}
    await store.set_value(KEY, json.dumps(earlier).encode())
    spending = await begun(store)
    await spending.keep(store)
    assert await money(store) == {"gpt-4o": 250_000}
    assert "days" not in json.loads(await store.get_value(KEY))


@pytest.mark.parametrize(
    "kept", [b"{", b"[]", b'{"days": 5}', b'{"since": 1}', b'{"since": "x", "until": 1, "gaps": []}']
)
async def test_a_damaged_state_is_counted_again(store, kept):
    await store.set_value(KEY, kept)
    await stored(store, 0)
    spending = Spending()
    with pytest.raises(DamagedStateError):
        await spending.begin(store, NOW_US + 1)
    await spending.catch_up(store)
    assert await money(store) == {"gpt-4o": 500_000}


async def test_a_damaged_state_doubles_nothing_that_is_in_the_table(store):
    await stored(store, 3, 2, 0)
    spending = await begun(store)
    await spending.catch_up(store)
    await store.set_value(KEY, b"{")
    again = Spending()
    with pytest.raises(DamagedStateError):
        await again.begin(store, NOW_US + 2)
    await again.catch_up(store)
    assert await money(store) == {"gpt-4o": 1_500_000}


async def test_a_start_that_cannot_read_the_state_keeps_it_for_the_next_one(store, monkeypatch):
    await stored(store, 3)
    spending = await begun(store)
    await spending.catch_up(store)
    before = await store.get_value(KEY)
    with monkeypatch.context() as broken:

        async def fail(*_arguments, **_options):
            raise StorageError("the disk", permanent=False)

        broken.setattr(type(store), "get_value", fail)
        unread = Spending()
        with pytest.raises(StorageError):
            await unread.begin(store, NOW_US + 2)
    unread.add("graph", NOW_US, {"cost_usd": 1, "model": "gpt-4o"})
    await unread.keep(store)
    assert await store.get_value(KEY) == before
    assert await money(store) == {"gpt-4o": 500_000}


async def test_what_the_store_refuses_waits(store, monkeypatch):
    spending = await begun(store)
    await spending.count(atoms({"cost_usd": 1}), NAMES)
    with monkeypatch.context() as broken:

        async def fail(*_arguments, **_options):
            raise OSError

        broken.setattr(type(store.costs), "add", fail)
        with pytest.raises(OSError):
            await spending.keep(store)
    await spending.count(atoms({"cost_usd": 1}), NAMES)
    await spending.keep(store)
    assert await money(store, "service") == {"graph": 2_000_000}


async def test_a_day_has_steps_of_an_hour_and_a_month_those_of_a_day(store):
    spending = await begun(store)
    spending.add("graph", NOW_US, {"cost_usd": 1})
    await spending.keep(store)
    day, month = [
        await cost_report(store, Range(NOW_US - length, NOW_US + 1, ""), now_us=NOW_US)
        for length in (DAY_US, 30 * DAY_US)
    ]
    assert (day.step_us, [start for start, _ in day.steps]) == (HOUR_US, [NOW_US // HOUR_US * HOUR_US])
    assert (month.step_us, [start for start, _ in month.steps]) == (DAY_US, [TODAY * DAY_US])
    assert month.today.micro_usd == day.forecast.spent == 1_000_000
