"""The evaluator continues where the last run ended, learns a little at a time, and never blocks the loop for long."""

import asyncio
import json
import logging
import re
from collections import Counter

import numpy as np
import pytest

from cogmeter.alerts.evaluator import BASELINES, MEASURED
from cogmeter.alerts.measurement.deviations import MOST_SERVICES
from cogmeter.alerts.measurement.spending import KEY as SPENDING
from cogmeter.alerts.measurement.window import PIECE
from cogmeter.startup import StartupGuard
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import Outcome

HOUR = 3_600
MINUTE_US = 60_000_000


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


class Kept:
    """A Measured whose operations also go into a store, as the flusher brings them there."""

    def __init__(self, one, store):
        self.one, self.store = one, store
        self.rows = []

    async def see(self, service, operation="query", *, count, failures=0, duration_ms=1.0):
        await self.one.see(service, operation, count=count, failures=failures, duration_ms=duration_ms)
        (series,) = await self.store.series_ids([(service, operation)])
        for number in range(count):
            outcome = Outcome.ERROR if number < failures else Outcome.OK
            self.rows.append((series, self.one.now_us, int(duration_ms * 1000), int(outcome), None, None))

    async def flush(self):
        rows, self.rows = self.rows, []
        await self.store.append([rows], now_us=self.one.now_us)
        await self.store.fold(now_us=self.one.now_us)

    async def restart(self, make, *, names=True, down_s=10):
        """Another evaluator, later, on the same store; ``names``: the recorder knows the stored series."""
        await self.flush()
        after = make()
        after.now_s = self.one.now_s + down_s
        after.evaluator._began_s = after.now_s
        if names:
            after.names += [(one.service, one.operation) for one in await self.store.series()]
        await after.evaluator.restore(self.store, after.now_us)
        return after


async def test_the_window_is_loaded_as_the_last_run_left_it(measured, store):
    kept = Kept(measured(), store)
    await kept.see("web", "fetch", count=200)
    kept.one.after(100)
    await kept.see("web", "fetch", count=100, failures=50, duration_ms=9_000)
    await kept.see("web", "parse", count=100, failures=2, duration_ms=9_000)
    await kept.see("discord.stalls", "cog.py:7", count=1, duration_ms=4_000)
    before = await kept.one.readings()
    after = await kept.restart(measured)
    assert {one.subject for one in before} == {one.subject for one in await after.readings()}
    found = {one.subject.rule: one for one in await after.readings() if not one.subject.operation}
    assert found["error_rate"].current == pytest.approx(0.13)
    assert found["response_time"].current == pytest.approx(4_500, rel=0.01)
    assert found["stall"].message.startswith("Event-loop block of 4s at cog.py:7")
    after.after(301)
    assert "error_rate" not in {one.subject.rule for one in await after.readings()}


async def test_histograms_are_loaded_too(measured, store):
    settings = {"alert_response_time_statistic": "p95", "alert_threshold_response_time": 100}
    kept = Kept(measured(**settings), store)
    random = np.random.default_rng(3)
    for duration in random.lognormal(4, 1, 200):
        await kept.see("web", "fetch", count=1, duration_ms=round(duration, 3))
    (before,) = await kept.one.readings("response_time")
    after = await kept.restart(lambda: measured({"response_time@web/fetch": "90"}, **settings))
    found = await after.readings("response_time")
    assert [one.current for one in found] == [pytest.approx(before.current)] * 2


async def test_what_the_recorder_does_not_know_is_left_out(measured, store):
    kept = Kept(measured(), store)
    await kept.see("web", count=100, failures=100)
    after = await kept.restart(measured, names=False)
    assert await after.readings("error_rate") == []


async def test_a_budget_continues_to_burn_across_a_restart(measured, store):
    settings = {
        "alert_threshold_error_rate": 0,
        "alert_threshold_operations_per_minute": 0,
        "alert_slo_target": 0.99,
    }
    kept = Kept(measured(**settings), store)
    for _ in range(60):
        kept.one.after(60)
        await kept.see("web", count=20, failures=6)
    (before,) = await kept.one.readings("burn_rate")
    after = await kept.restart(lambda: measured(**settings))
    (reading,) = await after.readings("burn_rate")
    assert (reading.threshold, reading.severity) == (before.threshold, before.severity) == (14.4, "critical")
    assert reading.current == pytest.approx(before.current)


async def test_a_problem_that_a_restart_fixed_is_not_sent_again_as_a_burning_budget(measured, store):
    settings = {"alert_threshold_operations_per_minute": 0, "alert_slo_target": 0.99}
    kept = Kept(measured(**settings), store)
    for minute in range(150):
        kept.one.after(60)
        await kept.see("web", count=20, failures=10 if minute > 120 else 0)
    assert await kept.one.breached() == [("error_rate", "web", "")]
    await kept.one.evaluator.keep(store)
    after = await kept.restart(lambda: measured(**settings), down_s=600)
    assert [one.breached for one in await after.readings("burn_rate")] == [False]
    for _ in range(60):
        after.after(30)
        await after.see("web", count=20)
        assert await after.breached("burn_rate") == []


async def test_a_silence_outlasts_a_restart(measured, store):
    settings = {"alert_threshold_operations_per_minute": 0, "alert_threshold_deviation": 0}
    kept = Kept(measured(**settings), store)
    for _ in range(7 * 60):
        kept.one.after(60)
        await kept.see("web", count=40)
    for _ in range(55):  # longer than what is usual remembers by itself
        kept.one.after(60)
        await kept.one.evaluator.watch([])
        readings = await kept.one.readings("low_traffic")
    assert [one.breached for one in readings] == [True]
    await kept.one.evaluator.keep(store)
    after = await kept.restart(lambda: measured(**settings))
    assert [one.breached for one in await after.readings("low_traffic")] == [False]
    after.after(300)
    assert [one.breached for one in await after.readings("low_traffic")] == [True]


async def test_a_bot_that_was_down_does_not_alert_on_itself(measured, store):
    settings = {"alert_threshold_operations_per_minute": 0}
    kept = Kept(measured(**settings), store)
    for _ in range(7 * 60):
        kept.one.after(60)
        await kept.see("web", count=40)
    after = await kept.restart(lambda: measured(**settings), down_s=HOUR)
    for _ in range(60):
        assert await after.readings("low_traffic") == []
        after.after(60)
        await after.see("web", count=40)


async def test_costs_and_baselines_are_kept(measured, store):
    kept = Kept(measured(), store)
    await kept.one.see("chat", count=5, metadata={"cost_usd": 2.0})
    await kept.one.readings()
    await kept.one.evaluator.keep(store)
    after = await kept.restart(lambda: measured(alert_threshold_cost=5))
    (reading,) = await after.readings("cost")
    assert reading.current == pytest.approx(10.0)
    assert await store.get_value(BASELINES) == await after.evaluator._deviations.dump()


async def test_an_unreadable_value_is_measured_again(measured, store, caplog):
    await store.set_value(BASELINES, b'["web", "rate", "bm9uc2Vuc2U="]\nnonsense')
    await store.set_value(MEASURED, b"[1, 2]")
    one, faults = measured(), Counter()
    await one.evaluator.restore(store, one.now_us, StartupGuard(faults))
    assert await one.readings() == []
    assert faults == {"start: baselines": 1, "start: recent costs": 1}
    baselines, costs = caplog.messages
    assert "2 of 2 cannot be read" in baselines
    assert baselines.endswith("they are learned again")
    assert costs.endswith("those of the last 24 hours are counted again")


@pytest.mark.parametrize(
    ("state", "part"),
    [
        ({"costs": {"first": 1, "bins": {"web": [[1, float("nan")]]}}}, "recent costs"),
        ({"costs": {"first": float("inf"), "bins": {}}}, "recent costs"),
        ({"costs": []}, "recent costs"),
        ({"silent": {"web": [1.0, float("nan")]}}, "silent services"),
        ({"silent": {"web": 1}}, "silent services"),
        ({"echoes": [["error_rate", "web"]]}, "explained alerts"),
        ({"echoes": [["error_rate", "web", "", float("inf")]]}, "explained alerts"),
    ],
)
async def test_only_the_damaged_part_of_the_stored_measurements_is_measured_again(measured, store, state, part):
    whole = {
        "costs": {"first": None, "bins": {}},
        "silent": {"shop": [2.0, 0.5]},
        "echoes": [["deviation", "web", "", 5]],
    }
    await store.set_value(MEASURED, json.dumps(whole | state).encode())
    one, faults = measured(), Counter()
    await one.evaluator.restore(store, one.now_us, StartupGuard(faults))
    assert faults == {f"start: {part}": 1}
    assert one.evaluator._expected_traffic.silent == ({} if "silent" in state else {"shop": (2.0, 0.5)})
    assert one.evaluator._suppression.state() == ([] if "echoes" in state else whole["echoes"])
    assert await one.readings() == []


class Failing:
    """A store one of whose methods fails, until it is repaired."""

    def __init__(self, store, method, *arguments, error=None):
        self._store, self._method, self._arguments = store, method, arguments
        self._error = error or StorageError("The disk does not answer", permanent=False)
        self.repaired = False

    def __getattr__(self, name):
        if name == "own":
            return self
        real = getattr(self._store, name)
        if name != self._method or self.repaired:
            return real

        async def fail(*arguments, **named):
            if self._arguments and arguments[: len(self._arguments)] != self._arguments:
                return await real(*arguments, **named)
            raise self._error

        return fail


async def test_what_the_store_could_not_return_at_the_start_is_not_overwritten(measured, store):
    kept = Kept(measured(), store)
    await kept.one.evaluator.restore(store, kept.one.now_us)
    await kept.one.see("chat", count=5, metadata={"cost_usd": 2.0})
    await kept.one.readings()
    await kept.one.evaluator.keep(store)
    for key in (BASELINES, MEASURED, SPENDING):
        before = await store.get_value(key)
        one, faults = measured(), Counter()
        failing = Failing(store, "get_value", key)
        await one.evaluator.restore(failing, one.now_us, StartupGuard(faults))
        assert faults.total() == 1
        failing.repaired = True
        await one.evaluator.keep(failing)
        assert await store.get_value(key) == before


@pytest.mark.parametrize("method", ["series", "totals", "get_value", "page", "status"])
@pytest.mark.parametrize("error", [StorageError("The disk does not answer", permanent=False), RuntimeError("a fault")])
async def test_a_store_that_fails_at_the_start_leaves_the_part_empty_and_all_else_measured(
    measured, store, method, error
):
    kept = Kept(measured(), store)
    await kept.see("web", count=100, failures=100)
    await kept.flush()
    one, faults = measured(), Counter()
    one.names.append(("web", "query"))
    await one.evaluator.restore(Failing(store, method, error=error), one.now_us, StartupGuard(faults))
    assert faults.total() >= 1
    await one.see("web", count=100, failures=100)
    assert ("error_rate", "web", "") in await one.breached()


def counted(one):
    """Operations by service in the window, and in the longest of the long windows."""
    view = one.evaluator._snapshot(one.now_us)
    operations, _ = view.history.totals(259_200)
    return (
        dict(zip(view.services, view.by_service.operations.tolist(), strict=True)),
        dict(zip(view.services, operations.tolist(), strict=True)),
    )


@pytest.mark.parametrize(
    "host",
    [
        [("new", "x")],
        [("new", "x"), ("web", "query")],
        [("web", "query"), ("new", "x"), ("newer", "y"), ("web", "parse")],
        [("a", "a"), ("z", "z"), ("new", "query"), ("web", "other")],
        [("shop", "query"), ("web", "query"), ("new", "x")],
        [("web", "query"), ("new", "x"), ("shop", "query"), ("newer", "y"), ("a", "a")],
    ],
)
async def test_services_that_the_host_names_before_the_start_do_not_disturb_the_stored_ones(measured, store, host):
    kept = Kept(measured(), store)
    for service in ("web", "shop", "web"):
        await kept.see(service, count=5)
    await kept.flush()
    one = measured()
    one.names += host
    one.names += [names for names in (("shop", "query"), ("web", "query")) if names not in host]
    await one.evaluator.restore(store, one.now_us)
    expected = dict.fromkeys((service for service, _ in one.names), 0) | {"web": 10, "shop": 5}
    assert counted(one) == (expected, expected)
    await one.see("last", count=3)
    await one.see("web", count=1)
    expected |= {"last": 3, "web": 11}
    assert counted(one) == (expected, expected)


class Naming:
    """A store in front of which the host names a new series at each question."""

    def __init__(self, store, names):
        self._store, self._names = store, names

    def __getattr__(self, name):
        self._names.append((f"service {len(self._names)}", "x"))
        return getattr(self._store, name)


async def test_services_that_the_host_names_during_the_start_do_not_disturb_the_stored_ones(measured, store):
    kept = Kept(measured(), store)
    for service in ("web", "shop"):
        await kept.see(service, count=5)
    await kept.flush()
    one = measured()
    one.names += [("shop", "query"), ("web", "query")]
    await one.evaluator.restore(Naming(store, one.names), one.now_us)
    await one.see("last", count=3)
    for found in counted(one):
        assert {name: count for name, count in found.items() if count} == {"web": 5, "shop": 5, "last": 3}
    assert len(one.names) > 6


async def test_a_service_that_is_named_while_a_large_batch_is_counted_does_not_disturb_it(measured):
    one = measured()
    atoms = one.atoms("web", count=2 * PIECE)
    counting = asyncio.create_task(one.evaluator.watch(atoms))
    for number in range(3):
        one.names.append((f"new {number}", "x"))
        await one.readings()
        await asyncio.sleep(0)
    await counting
    for found in counted(one):
        assert {name: count for name, count in found.items() if count} == {"web": 2 * PIECE}


async def test_an_empty_store_is_no_trouble(measured, store):
    one = measured()
    await one.evaluator.restore(store, one.now_us)
    await one.see("web", count=100, failures=100)
    assert ("error_rate", "web", "") in await one.breached()


async def test_a_service_that_differs_from_its_usual_values_is_an_info_alert(measured):
    one = measured(alert_threshold_operations_per_minute=0, alert_threshold_low_traffic=0)
    random = np.random.default_rng(5)
    for _ in range(2 * 24 * 30):
        one.after(120)
        await one.see("web", count=int(random.poisson(60)), duration_ms=float(random.lognormal(4, 0.05)))
        await one.evaluator.evaluate(one.now_us)
    assert await one.breached() == []
    found = []
    for _ in range(20):
        one.after(120)
        await one.see("web", count=60, duration_ms=2_000)
        found += [reading for reading in await one.readings("deviation") if reading.breached]
    assert {reading.severity for reading in found} == {"info"}
    assert re.fullmatch(
        r"95th percentile response time of 2s differs from the usual (5|6)\dms at this time \(score 0\.9\d\)",
        found[0].message,
    )
    one.limits.override({"deviation.severity": "critical"})
    assert {reading.severity for reading in await one.readings("deviation")} <= {"warning"}


@pytest.mark.parametrize(("hours", "fires"), [(20, False), (30, True)])
async def test_nothing_deviates_before_a_day_is_known(measured, hours, fires):
    one = measured(alert_threshold_operations_per_minute=0, alert_threshold_low_traffic=0)
    random = np.random.default_rng(7)
    for _ in range(hours * 30):
        one.after(120)
        await one.see("web", count=60, duration_ms=float(random.lognormal(4, 0.05)))
        await one.evaluator.evaluate(one.now_us)
    found = []
    for _ in range(20):
        one.after(120)
        await one.see("web", count=60, duration_ms=2_000)
        found += await one.breached("deviation")
    assert bool(found) is fires


async def test_that_nothing_fails_any_more_is_no_deviation(measured):
    off = ("operations_per_minute", "low_traffic", "error_rate")
    one = measured(**{f"alert_threshold_{name}": 0 for name in off})
    random = np.random.default_rng(6)
    for minute in range(4 * 24 * 15):
        one.after(240)
        share = 0.2 if minute < 3 * 24 * 15 else 0.0
        await one.see("web", count=100, failures=int(random.binomial(100, share)), duration_ms=50)
        await one.evaluator.evaluate(one.now_us)
        assert await one.breached() == []


async def test_baselines_are_bounded_to_the_busiest_services(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    for number in range(MOST_SERVICES + 20):
        await one.see(f"service-{number}", count=number + 1)
    for _ in range(300):
        await one.evaluator.evaluate(one.now_us)
    known = one.evaluator._deviations._baselines
    assert len(known) == MOST_SERVICES
    assert "service-0" not in known


async def test_a_check_gives_the_loop_its_turn(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    for number in range(400):
        await one.see(f"service-{number}", count=30, failures=10)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert len(await one.breached("error_rate")) == 400
    task.cancel()
    assert turns >= 3


async def test_what_comes_in_while_a_check_is_under_way_does_it_no_harm(measured):
    one = measured(alert_threshold_operations_per_minute=1, alert_threshold_response_time=1, alert_slo_target=0.9)
    for _ in range(30 * 60):  # long enough for a baseline to speak
        one.after(60)
        await one.see("web", count=30, duration_ms=5)
        await one.evaluator.evaluate(one.now_us)
    for number in range(200):
        await one.see(f"service-{number}", count=30, failures=10, duration_ms=50)
    news = 0

    async def other():
        nonlocal news
        while True:
            await asyncio.sleep(0)
            news += 1
            one.after(20)
            await one.see(f"new-{news}", count=30, failures=10)

    for _ in range(5):
        task = asyncio.create_task(other())
        await one.readings()
        task.cancel()
    assert news >= 5
    assert not one.evaluator.faults


async def test_the_reason_for_no_alert_is_logged_at_debug(measured, caplog):
    one = measured(alert_threshold_operations_per_minute=0)
    await one.see("web", "fetch", count=100, failures=50)
    await one.see("web", "parse", count=100)
    with caplog.at_level(logging.DEBUG, "cogmeter.alerts"):
        await one.readings()
    said = (
        "web/fetch: Error rate of 50% exceeds threshold of 5%: not breached, or explained by chance or by another alert"
    )
    assert said in caplog.messages
    assert not any(message.startswith("web: Error rate of 25%") for message in caplog.messages)
