"""The long windows equal a count over all operations in them, at any pace of the clock."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.measurement import history as history_module
from cogmeter.alerts.measurement.history import FIVE_MINUTES_S, HOUR_S, RINGS, SIX_HOURS_S, Ring, WindowHistory
from cogmeter_storage import open_store
from cogmeter_storage.model import HOUR_US, MINUTE_US, Retention

BEGIN_US = 1_755_424_800_000_000  # ten o'clock
steps = st.lists(st.tuples(st.integers(0, 400 * 60), st.integers(0, 50), st.integers(0, 50)), max_size=60)


@given(steps)
def test_every_ring_contains_what_came_within_its_bins(given_steps):
    history, seen, now_us = WindowHistory(), [], BEGIN_US
    for gap_s, operations, failures in given_steps:
        now_us += gap_s * 1_000_000
        seen.append((now_us, operations, failures))
        history.add(np.array([[operations], [failures]]), now_us)
    history.move(now_us, 1)
    for length_s, width_us, _ in RINGS:
        bins = length_s * 1_000_000 // width_us
        inside = [one for one in seen if now_us // width_us - one[0] // width_us < bins]
        operations, failures = history.long_windows().totals(length_s)
        assert (operations[0], failures[0]) == (sum(one[1] for one in inside), sum(one[2] for one in inside))


def test_a_clock_that_jumps_back_loses_nothing():
    ring = Ring(60, 1_000_000, 60)
    ring.grow(1)
    for now_us in (100_000_000, 40_000_000, 101_000_000):
        ring.move(now_us)
        ring.add(np.array([[1], [0]]))
    assert ring.sums.tolist() == [[3], [0]]


def test_services_that_come_later_begin_at_nothing():
    history = WindowHistory()
    history.add(np.array([[5], [1]]), BEGIN_US)
    history.add(np.array([[0, 7], [0, 2]]), BEGIN_US + 1)
    operations, failures = history.long_windows().totals(HOUR_S)
    assert (operations.tolist(), failures.tolist()) == ([5, 7], [1, 2])


def test_usual_is_the_lesser_of_the_hour_and_the_hours_before():
    history = WindowHistory()
    for minute in range(8 * 24 * 60 + 1):
        at_us = BEGIN_US + minute * MINUTE_US
        hour = (at_us // HOUR_US) % 24
        history.add(np.array([[40 if 8 <= hour < 20 else 2], [0]]), at_us)
    assert history.before_per_minute(FIVE_MINUTES_S).tolist() == [2.0]  # the hours before ten are mostly night
    assert history.days_per_minute().tolist() == [40.0]


@pytest.mark.parametrize(("down", "usual"), [(False, [2.0, 40.0]), (True, [40.0, 40.0])])
def test_a_day_is_usual_as_its_last_week_had_it_unless_the_bot_was_down_then(down, usual):
    """The first of two services is nearly idle on one day of the week."""
    history = WindowHistory()
    minutes = 7 * 24 * 60 + 30
    for minute in range(minutes + 1):
        idle = minute < 24 * 60
        count = [0, 0] if down and idle else [2 if idle else 40, 40]
        history.add(np.array([count, [0, 0]]), BEGIN_US - BEGIN_US % HOUR_US + minute * MINUTE_US)
    assert history.days_per_minute().tolist() == usual


async def test_stored_history_is_loaded_into_every_ring(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    names = [("web", "fetch"), ("web", "parse"), ("other", "x")]
    ids = await store.series_ids(names)
    random = np.random.default_rng(2)
    lived, now_us = WindowHistory(), BEGIN_US
    for _ in range(600):
        now_us += int(random.integers(1, 15)) * MINUTE_US
        outcomes = random.integers(0, 2, 9).tolist()
        places = random.integers(0, 3, 9).tolist()
        rows = [
            (ids[place], now_us, 1_000, outcome, None, None) for place, outcome in zip(places, outcomes, strict=True)
        ]
        await store.append([rows], now_us=now_us)
        counts = np.zeros((2, 2), dtype=np.int64)
        for place, outcome in zip(places, outcomes, strict=True):
            counts[:, int(place == 2)] += (1, outcome)
        lived.add(counts, now_us)
    await store.fold(now_us=now_us)
    again = WindowHistory()
    await again.restore(store, {"web": 0, "other": 1}, await store.series(), now_us)
    lived.move(now_us, 2)
    for length_s, _, _ in RINGS[1:]:
        for was, now in zip(lived.long_windows().totals(length_s), again.long_windows().totals(length_s), strict=True):
            assert was.tolist() == now.tolist()
    assert again.before_per_minute(1_800).tolist() == lived.before_per_minute(1_800).tolist()
    assert again.days_per_minute().tolist() == lived.days_per_minute().tolist()
    assert again.long_windows().known_s(now_us) == pytest.approx(lived.long_windows().known_s(now_us), abs=3_600)
    await store.close()


async def test_an_hour_whose_minutes_are_gone_counts_once_however_small_the_pieces_are(tmp_path, monkeypatch):
    monkeypatch.setattr(history_module, "PIECE", 4)
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    (number,) = await store.series_ids([("web", "fetch")])
    rows = [(number, BEGIN_US + minute * MINUTE_US, 1_000, 0, None, None) for minute in range(300)]
    now_us = BEGIN_US + 300 * MINUTE_US
    await store.append([rows], now_us=now_us)
    await store.fold(now_us=now_us)
    await store.clean(Retention(raw_hours=1.0, hour_hours=48.0), now_us=now_us)
    history = WindowHistory()
    await history.restore(store, {"web": 0}, await store.series(), now_us)
    operations, _ = history.long_windows().totals(SIX_HOURS_S)
    assert operations.tolist() == [300]
    await store.close()


async def test_many_services_are_read_in_pieces(monkeypatch):
    """A histogram of each service and bin comes along: no reading may be of all of them."""
    sizes = []

    async def totals(since_us, until_us, *, groups, step_us):
        bins = -(-(until_us - since_us) // step_us)
        sizes.append(bins * len(groups))
        counts = np.zeros((bins, len(groups)), dtype=np.int64)
        edges = since_us + step_us * np.arange(bins)
        await asyncio.sleep(0)
        return SimpleNamespace(counts=counts, failures=counts, edges_us=edges)

    async def status():
        return SimpleNamespace(first_end_us=None)

    series = [SimpleNamespace(id=number, service=f"s{number}", operation="x") for number in range(500)]
    place = {one.service: one.id for one in series}
    store = SimpleNamespace(totals=totals, status=status)
    await WindowHistory().restore(store, place, series, BEGIN_US)
    assert max(sizes) <= 1_500


@given(st.sampled_from([-365 * 24, -25, -1, 1, 25, 10 * 365 * 24]), steps)
def test_a_step_of_the_clock_changes_no_result_of_the_windows(hours, given_steps):
    stepped, plain, now_us, step_us = WindowHistory(), WindowHistory(), BEGIN_US, hours * HOUR_US
    for history in (stepped, plain):
        history.add(np.array([[9], [3]]), now_us)
    stepped.shift(step_us)
    for gap_s, operations, failures in given_steps:
        now_us += gap_s * 1_000_000
        plain.add(np.array([[operations], [failures]]), now_us)
        stepped.add(np.array([[operations], [failures]]), now_us + step_us)
    for length_s, _, _ in RINGS:
        assert np.array_equal(stepped.long_windows().totals(length_s), plain.long_windows().totals(length_s))
    assert stepped.long_windows().known_s(now_us + step_us) == plain.long_windows().known_s(now_us)
