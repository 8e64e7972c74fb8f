"""What is recorded comes back exactly: summary, statistics and percentiles against a computation over all operations.

The operations go the whole way: recorder, buffer, flusher, store, query. Only the wall clock is made up.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cogmeter.query.query import LISTED, Query
from cogmeter.query.records import Period, Range, UnknownNameError
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import Outcome, Retention, open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

NOON = 1_750_075_200_000_000  # 2025-06-16 12:00:00 UTC, a border of minutes and hours
SERIES = [("alpha", "one"), ("alpha", "two"), ("beta", "one"), ("gamma", "three")]
RETENTION = Retention()

GAPS_US = st.one_of(
    st.integers(0, 20_000_000),
    st.sampled_from([0, 1, MINUTE_US - 1, MINUTE_US, 20 * MINUTE_US, HOUR_US, 7 * HOUR_US, DAY_US, 6 * DAY_US]),
)
DURATIONS_US = st.one_of(st.integers(0, 9), st.integers(0, 10**7), st.integers(0, 10**10))
RECORDED = st.tuples(st.sampled_from(SERIES), GAPS_US, DURATIONS_US, st.sampled_from(Outcome))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.lists(RECORDED, min_size=1, max_size=30)),
        st.tuples(st.just("wait"), GAPS_US),
        st.tuples(st.sampled_from(["fold", "restart", "clean"]), st.none()),
    ),
    min_size=1,
    max_size=12,
)


class Done(NamedTuple):
    """One operation as the test knows it."""

    service: str
    operation: str
    end_us: int
    duration_us: int
    outcome: Outcome
    error: str | None


@dataclass
class World:
    """The product's parts on one database, and all that was ever recorded in it."""

    url: str
    now_us: int = NOON
    done: list[Done] = field(default_factory=list)
    kept_from_us: int = 0  # single operations before this have been cleaned away
    recorder: Recorder = field(default_factory=Recorder)

    async def start(self):
        self.store = await open_store(self.url)
        self.recorder = Recorder()
        self.flusher = Flusher(self.recorder, self.store)
        self.query = Query(self.store, clock=lambda: self.now_us)

    async def restart(self):
        await self.store.close()
        await self.start()

    async def record(self, operations):
        for (service, operation), gap_us, duration_us, outcome in operations:
            self.now_us += gap_us
            error = f"{outcome.label} {len(self.done)}" if outcome.failed else None
            one = Done(service, operation, self.now_us, duration_us, outcome, error)
            self.done.append(one)
            number = self.recorder.series(service, operation)
            # What record() and the end of a `with` block do, with the end at a time of the test's choice.
            extra = None if error is None else (error, None)
            self.recorder.add(number, (one.end_us - NOON) * 1000, duration_us * 1000, int(outcome), extra)
        await self.wait(1)

    async def wait(self, gap_us):
        self.now_us += gap_us
        await self.flusher.flush()

    async def fold(self):
        await self.store.fold(now_us=self.now_us)

    async def clean(self):
        await self.fold()
        await self.store.clean(RETENTION, now_us=self.now_us)
        cut_us = int(self.now_us - RETENTION.raw_hours * HOUR_US) // HOUR_US * HOUR_US
        self.kept_from_us = max(self.kept_from_us, cut_us)

    async def take(self, step, value):
        await (getattr(self, step)() if value is None else getattr(self, step)(value))


@pytest.fixture
def made_up_time(monkeypatch):
    """The flusher's wall clock is the world's, and its running clock began to count at NOON."""

    class Clock:
        world: World

        def time_ns(self):
            return self.world.now_us * 1000

        def perf_counter_ns(self):
            return (self.world.now_us - NOON) * 1000

        perf_counter = staticmethod(time.perf_counter)

    clock = Clock()
    for module in ("flusher", "backlog", "rows"):
        monkeypatch.setattr(f"cogmeter.recording.{module}.time", clock)
    monkeypatch.setattr("cogmeter_storage.clock.time", clock)
    return clock


def chosen(done, since_us, until_us, **names):
    return [
        one
        for one in done
        if since_us <= one.end_us < until_us and all(getattr(one, name) == value for name, value in names.items())
    ]


def quantile(durations, probability):
    """By nearest rank: the smallest value that at least that share of all values does not exceed."""
    return sorted(durations)[max(math.ceil(probability * len(durations) - 1e-9), 1) - 1]


def check_figures(figures, done, since_us, until_us):
    durations = [one.duration_us for one in done]
    failures = sum(one.outcome in (Outcome.ERROR, Outcome.UPSTREAM) for one in done)
    assert figures.operations == len(done)
    assert figures.outcomes == tuple(sum(one.outcome is outcome for one in done) for outcome in Outcome)
    assert figures.failures == failures
    assert figures.per_minute == pytest.approx(len(done) * MINUTE_US / (until_us - since_us))
    if not done:
        assert (figures.mean_us, figures.p50_us, figures.p95_us, figures.p99_us, figures.max_us) == (None,) * 5
        assert (figures.error_rate, figures.success_rate) == (0, 1)
        return
    assert figures.error_rate == pytest.approx(failures / len(done))
    assert figures.success_rate == pytest.approx(1 - failures / len(done))
    assert figures.mean_us == pytest.approx(sum(durations) / len(done))
    assert figures.max_us == max(durations)
    for answer, probability in ((figures.p50_us, 0.5), (figures.p95_us, 0.95), (figures.p99_us, 0.99)):
        assert answer == pytest.approx(quantile(durations, probability), rel=0.01)


def check_ranking(ranked, done, key, since_us, until_us):
    names = {getattr(one, key) for one in done}
    counts = {name: len(chosen(done, since_us, until_us, **{key: name})) for name in names}
    assert [name for name, _ in ranked] == sorted(names, key=lambda name: (-counts[name], name))
    for name, figures in ranked:
        check_figures(figures, chosen(done, since_us, until_us, **{key: name}), since_us, until_us)


def check_timeline(timeline, done, period, world, since_us):
    now_us, length_us, first_us = world.now_us, timeline.step_us, timeline.edges_us[0]
    if first_us == since_us:
        assert length_us == {"1h": 1, "6h": 5, "24h": 15, "7d": 120, "30d": 360}[period.key] * MINUTE_US
        assert chosen(world.done, 0, since_us + length_us) or not chosen(world.done, since_us, now_us)
    else:  # the bins begin with the first record of any service
        assert length_us == Range(first_us, now_us, "").step_us
        assert not chosen(world.done, 0, first_us)
        assert chosen(world.done, first_us, first_us + length_us)
    assert timeline.edges_us == list(range(first_us, now_us, length_us))
    for place, start_us in enumerate(timeline.edges_us):
        inside = chosen(done, start_us, start_us + length_us)
        # The last bin, which is still filling, counts the part of it that has passed, and at least a second.
        minutes = max(min(start_us + length_us, now_us) - start_us, 1_000_000) / MINUTE_US
        assert timeline.per_minute[place] == pytest.approx(len(inside) / minutes)
        failures = sum(one.outcome.failed for one in inside)
        assert timeline.failures_per_minute[place] == pytest.approx(failures / minutes)
        for answers, probability in ((timeline.p50_us, 0.5), (timeline.p95_us, 0.95), (timeline.p99_us, 0.99)):
            exact = quantile([one.duration_us for one in inside], probability) if inside else None
            assert answers[place] == (exact if exact is None else pytest.approx(exact, rel=0.01))


def check_operations(found, expected):
    seen = [(one.service, one.operation, one.end_us, one.duration_us, one.outcome, one.error) for one in found]
    assert seen == [tuple(one) for one in expected[:LISTED]]


def range_of(period, now_us):
    """Where a period starts: its length back from now, at the start of that minute (of that hour from 7d on)."""
    hours = {"1h": 1, "6h": 6, "24h": 24, "7d": 168, "30d": 720}[period.key]
    border_us = MINUTE_US if hours <= 24 else HOUR_US
    return (now_us - hours * HOUR_US) // border_us * border_us


async def rated_from(world, since_us, until_us):
    """Where the time of rates begins: with the first record, but at least a minute before the end."""
    covered = await world.query.covered(Range(since_us, until_us, ""))
    return max(since_us, min(covered.since_us, until_us - MINUTE_US))


async def check_summary(world, period):
    summary = await world.query.summary(period)
    since_us = range_of(period, world.now_us)
    done = chosen(world.done, since_us, world.now_us)
    assert (summary.range.since_us, summary.range.until_us) == (since_us, world.now_us)
    rated_us = await rated_from(world, since_us, world.now_us)
    check_figures(summary.total, done, rated_us, world.now_us)
    await check_before(world, summary.before, since_us)
    check_ranking(summary.services, done, "service", rated_us, world.now_us)
    check_timeline(summary.timeline, done, period, world, since_us)
    assert summary.last_end_us == (world.done[-1].end_us if kept(world, world.done) else None)


async def check_stats(world, period, names):
    try:
        stats = await world.query.stats(*names.values(), period=period)
    except UnknownNameError:
        assert not chosen(world.done, 0, world.now_us, **names)
        return
    since_us = range_of(period, world.now_us)
    done = chosen(world.done, since_us, world.now_us, **names)
    rated_us = await rated_from(world, since_us, world.now_us)
    check_figures(stats.total, done, rated_us, world.now_us)
    await check_before(world, stats.before, since_us, **names)
    check_ranking(stats.operations, done, "operation", rated_us, world.now_us)
    check_timeline(stats.timeline, done, period, world, since_us)
    newest_first = kept(world, done)[::-1]
    check_operations(stats.slowest, sorted(newest_first, key=lambda one: -one.duration_us))
    check_operations(stats.errors, [one for one in newest_first if one.outcome.failed])


async def check_before(world, figures, since_us, **names):
    """The period before: of the same length, from the start of that minute, up to this one's start."""
    if world.kept_from_us:
        return  # its start may have been widened to an hour, of which the store's own tests know more
    before_us = (2 * since_us - world.now_us) // MINUTE_US * MINUTE_US
    done = chosen(world.done, before_us, since_us, **names)
    check_figures(figures, done, await rated_from(world, before_us, since_us), since_us)


def kept(world, done):
    return [one for one in done if one.end_us >= world.kept_from_us]


async def play(world, steps):
    await world.start()
    try:
        for step, value in steps:
            await world.take(step, value)
        for period in Period:
            await check_summary(world, period)
            for names in ({"service": "alpha"}, {"service": "alpha", "operation": "two"}, {"service": "gamma"}):
                await check_stats(world, period, names)
    finally:
        await world.store.close()


HOURLY = [(SERIES[number % 4], HOUR_US // 3, 10 ** (number % 9), Outcome(number % 5)) for number in range(300)]


@settings(max_examples=25, deadline=timedelta(seconds=60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
@example([("record", HOURLY), ("fold", None), ("restart", None), ("record", HOURLY[:20])])
@example([("record", HOURLY[:1]), ("wait", 12 * DAY_US), ("record", HOURLY[:1]), ("clean", None)])
@example([("record", HOURLY * 3), ("clean", None), ("restart", None), ("record", HOURLY[:20]), ("wait", DAY_US)])
def test_summary_and_stats_agree_with_a_computation_over_all_operations(made_up_time, steps):
    with tempfile.TemporaryDirectory() as folder:
        made_up_time.world = World(f"sqlite:///{Path(folder) / 'performance.db'}")
        asyncio.run(play(made_up_time.world, steps))
