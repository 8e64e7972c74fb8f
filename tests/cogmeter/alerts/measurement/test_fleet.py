"""The leader measures the whole fleet: sums and histograms over all processes equal those of one."""

from __future__ import annotations

import numpy as np
import pytest

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.measurement.fleet import OtherProcesses
from cogmeter.alerts.measurement.window import Window
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.service_names import STALLS
from cogmeter.settings import Settings
from cogmeter_storage.lease import LiveMinute
from cogmeter_storage.model import MINUTE_US, SeriesRecord, Tier
from cogmeter_storage.rollup import SealedSlot
from cogmeter_storage.slot import summarise

NOON_US = 1_750_075_200_000_000
SERIES = [
    SeriesRecord(7, "graph", "query"),
    SeriesRecord(9, "cards", "draw"),
    SeriesRecord(12, STALLS, "bot.py:3 in on_x"),
]


class Shared:
    """The part of a shared store that is measured: what each run has stored of each minute.

    tests/storage/test_sharing.py shows that PostgreSQL returns it so.
    """

    shared = True

    def __init__(self):
        self.rows: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self.own = 1

    def record(self, run, minute, series, duration_us, outcome, *, count=1):
        self.rows.setdefault((run, minute), []).extend([(series, duration_us, outcome)] * count)

    async def live_minutes(self, since_us):
        found = []
        for (run, minute), rows in sorted(self.rows.items(), key=lambda item: item[0][::-1]):
            start_us = NOON_US + minute * MINUTE_US
            if start_us >= since_us:
                slot = summarise(*(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))
                found.append(LiveMinute(run, run == self.own, SealedSlot(Tier.MINUTE, start_us, run << 33, 0, slot)))
        return found

    async def processes(self):
        return []

    async def series(self):
        return SERIES


@pytest.fixture
def store():
    return Shared()


@pytest.fixture
def recorder():
    recorder = Recorder()
    recorder.series("graph", "query")
    return recorder


@pytest.fixture
def window(recorder):
    return Window(recorder.names, length_s=300)


def totals_of(window):
    """Operations, failures and durations by service, and the filled buckets."""
    window.move(window._since_s)
    return {
        service: (*(int(values[place]) for values in _counts(window)), int(window.buckets[place].sum()))
        for place, service in enumerate(window.services)
        if window.by_service.operations[place]
    }


def _counts(window):
    counts = window.by_service
    return counts.operations, counts.failures, counts.sum_us


async def test_the_differences_of_two_readings_add_up_exactly(store, recorder, window):
    others = OtherProcesses(recorder.names, recorder.restore)
    assert await others.read(store, NOON_US) is None
    store.record(2, 0, 7, 5_000, 0, count=3)
    store.record(3, 0, 9, 70_000, 1, count=2)
    window.add_totals(await others.read(store, NOON_US + 1), 10.0)
    assert await others.read(store, NOON_US + 2) is None
    store.record(2, 0, 7, 900_000, 1)
    store.record(2, 1, 9, 1_000, 3)
    store.record(1, 1, 9, 1_000, 0)  # its own, which it counts live
    window.add_totals(await others.read(store, NOON_US + MINUTE_US), 11.0)
    assert totals_of(window) == {"graph": (4, 1, 915_000, 4), "cards": (3, 2, 141_000, 3)}
    place = window.places["graph"]
    expected = summarise(np.array([7] * 4), np.array([5_000] * 3 + [900_000]), np.array([0, 0, 0, 1]))
    filled = np.flatnonzero(window.buckets[place])
    assert filled.tolist() == expected.buckets.tolist()
    assert window.buckets[place][filled].tolist() == expected.counts.tolist()


async def test_random_operations_of_many_processes_are_counted_once_each(store, recorder, window):
    chance = np.random.default_rng(5)
    others = OtherProcesses(recorder.names, recorder.restore)
    for step in range(60):
        for _ in range(int(chance.integers(0, 30))):
            run, series = int(chance.integers(2, 9)), int(chance.choice([7, 9]))
            minute = step // 20 - int(chance.integers(0, 2)) if step >= 20 else 0  # some of them late
            store.record(run, minute, series, int(chance.integers(1, 10**6)), int(chance.integers(0, 5)))
        totals = await others.read(store, NOON_US + step * 3_000_000)
        if totals is not None:
            window.add_totals(totals, step * 3.0)
    rows = [row for rows in store.rows.values() for row in rows]
    for record in SERIES[:2]:
        own = [row for row in rows if row[0] == record.id]
        failed = sum(outcome in {1, 2} for _, _, outcome in own)
        expected = (len(own), failed, sum(duration for _, duration, _ in own), len(own))
        assert totals_of(window)[record.service] == expected
    window.move(60 * 3.0 + 301)
    assert not window.by_service.operations.any()
    assert not window.buckets.any()


async def test_a_new_leader_begins_with_the_minutes_of_all_and_counts_none_of_them_twice(store, recorder, window):
    others = OtherProcesses(recorder.names, recorder.restore)
    store.record(1, 0, 7, 5_000, 0, count=10)
    store.record(2, 0, 7, 5_000, 1, count=4)
    store.record(2, -4, 9, 5_000, 0, count=2)
    await others.refill(window, store, NOON_US + 30_000_000, 100.0)
    assert totals_of(window) == {"graph": (14, 4, 70_000, 14), "cards": (2, 0, 10_000, 2)}
    assert await others.read(store, NOON_US + 31_000_000) is None
    store.record(2, 0, 7, 5_000, 1)
    window.add_totals(await others.read(store, NOON_US + 32_000_000), 102.0)
    assert totals_of(window)["graph"] == (15, 5, 75_000, 15)


async def test_the_longest_stall_of_another_process_is_known_with_its_place(store, recorder, window):
    others = OtherProcesses(recorder.names, recorder.restore)
    store.record(2, 0, 12, 2_500_000, 0)
    window.add_totals(await others.read(store, NOON_US), 1.0)
    assert window.longest_stall() == (2_500.0, "bot.py:3 in on_x")


async def test_series_beyond_the_limit_count_for_the_common_one(store, window, recorder):
    others = OtherProcesses(recorder.names, None)
    store.record(2, 0, 9, 5_000, 0, count=3)
    window.add_totals(await others.read(store, NOON_US), 1.0)
    assert totals_of(window) == {recorder.names[0][0]: (3, 0, 15_000, 3)}


async def test_operations_of_other_processes_raise_alerts_here(store, recorder):
    limits = Limits(Settings(_env_file=None), {})
    now_s = 100.0
    evaluator = Evaluator(
        recorder.names,
        limits,
        window_s=300,
        clock_s=lambda: now_s,
        wall=lambda: NOON_US,
        learn=recorder.restore,
    )
    evaluator.store = store
    store.record(2, 0, 9, 5_000, 1, count=100)
    readings = await evaluator.evaluate(NOON_US + 1_000_000)
    breached = [one.subject for one in readings if one.breached and one.subject.rule == "error_rate"]
    assert [subject.service for subject in breached] == ["cards"]
