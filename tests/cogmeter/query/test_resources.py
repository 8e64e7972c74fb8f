"""Resources over a range: aggregated by the store, counters as rates, and growth that peaks do not change."""

import math
import random

import pytest

from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter.query.resources import NEWEST_US, growth, resources
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker

NOON = 1_755_432_000_000_000
SPAN = Range(NOON, NOON + 6 * HOUR_US, "six hours")
MEMORY = "resources.memory_bytes"
SENT = "resources.machine_network_bytes_sent"


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
def query(store):
    return Query(store)


async def sampled(store, gauge, value_of, *, until_us=SPAN.until_us, every_us=MINUTE_US):
    for at_us in range(NOON, until_us, every_us):
        await store.add_samples(at_us, {gauge: value_of(at_us - NOON)})


def line_of(use, key):
    return next(line for line in use.lines if line.resource.key == key)


async def test_nothing_sampled_is_nothing(query):
    use = await resources(query, SPAN)
    assert (use.lines, use.edges_us, use.growing, use.longest_run) == ((), (), [], None)


async def test_steps_begin_with_the_first_sample(store, query):
    await store.add_samples(NOON + 2 * HOUR_US + 7, {MEMORY: 100.0})
    use = await resources(query, SPAN)
    (line,) = use.lines
    assert use.edges_us == (NOON + 2 * HOUR_US,)
    assert (line.values, line.latest, line.peak, line.growth_per_day) == ((100.0,), 100.0, 100.0, None)


async def test_each_step_has_its_mean_and_its_limits_in_the_unit(store, query):
    for at_us, lag in ((0, 1.0), (MINUTE_US, 3.0), (5 * MINUTE_US, 7.0)):
        await store.add_samples(NOON + at_us, {"loop.lag_p99_ms": lag})
    line = line_of(await resources(query, SPAN), "lag")
    assert line.values == (2_000.0, 7_000.0)
    assert (line.lowest, line.highest) == ((1_000.0, 7_000.0), (3_000.0, 7_000.0))


async def test_a_counter_becomes_a_rate_and_begins_again_after_a_reset(store, query):
    def sent(since_us):
        return 1_000 * since_us / 1e6 if since_us < HOUR_US else (since_us - HOUR_US) / 1e6

    await sampled(store, SENT, sent)
    values = line_of(await resources(query, SPAN), "sent").values
    assert values[0] == pytest.approx(1_000.0)
    assert values[1] == pytest.approx(1_000.0)
    assert values[-1] == pytest.approx(1.0)
    assert all(value is None or 0 <= value <= 1_001 for value in values)


@pytest.mark.parametrize("days_before", [0, 3])
@pytest.mark.parametrize("length_us", [HOUR_US, DAY_US, 7 * DAY_US], ids=["an hour", "a day", "a week"])
async def test_the_highest_rate_stays_the_highest_while_the_range_moves_on(store, query, length_us, days_before):
    def sent(since_us):  # 10 B/s, with a minute of 500 B/s after two hours and a few minutes
        return since_us / 1e5 + min(max(since_us - 2 * HOUR_US - 7 * MINUTE_US, 0), MINUTE_US) * 490 / 1e6

    if days_before:
        await store.add_samples(NOON - days_before * DAY_US, {SENT: 0.0})
    await sampled(store, SENT, sent, until_us=NOON + 3 * HOUR_US, every_us=MINUTE_US // 4)
    first_us = NOON + (130 if length_us == HOUR_US else 180) * MINUTE_US
    ends_us = range(first_us, first_us + 20 * MINUTE_US, MINUTE_US)
    peaks = {line_of(await resources(query, Range(end - length_us, end, "moving")), "sent").peak for end in ends_us}
    assert len({round(peak, 3) for peak in peaks}) == 1
    averaged = length_us > DAY_US and days_before  # of days of samples, a quarter of an hour is
    assert (min(peaks) == pytest.approx(500.0)) != bool(averaged)
    assert min(peaks) > 10.0


async def test_two_samples_in_one_step_are_a_rate_and_one_is_not_known(store, query):
    await store.add_samples(NOON, {SENT: 100.0})
    line = line_of(await resources(query, SPAN), "sent")
    assert (line.values, line.latest, line.peak) == ((None,), None, None)
    await store.add_samples(NOON + 15_000_000, {SENT: 400.0})
    line = line_of(await resources(query, SPAN), "sent")
    assert (line.values, line.latest, line.peak) == ((20.0,), 20.0, 20.0)


async def test_the_newest_value_is_the_newest_sample_whatever_the_range(store, query):
    for at_us, threads in enumerate((9.0, 9.0, 10.0)):
        await store.add_samples(NOON + at_us, {"resources.threads": threads})
    line = line_of(await resources(query, SPAN), "threads")
    assert (line.latest, line.peak) == (10.0, 10.0)
    assert line.mean == pytest.approx(28 / 3)


@pytest.mark.parametrize("days", [1, 2, 3, 30])
async def test_the_network_now_is_the_increase_since_the_sample_before_whatever_the_range(store, query, days):
    sent = "resources.machine_network_bytes_sent"
    until_us = NOON + 30 * DAY_US
    for ago_s, value in ((20 * 86_400, 0.0), (30, 1_000.0), (15, 2_000.0), (0, 5_000.0)):
        await store.add_samples(until_us - 1 - ago_s * 1_000_000, {sent: value})
    use = await resources(query, Range(until_us - days * DAY_US, until_us, "days"))
    line = line_of(use, "sent")
    assert line.latest == pytest.approx(200.0)
    assert use.rate_us == (None if days <= 3 else 15 * 60 * 1_000_000)  # three days have samples of 30 s


@pytest.mark.parametrize("length_us", [HOUR_US, DAY_US, 30 * DAY_US])
async def test_the_mean_is_that_of_the_samples_whatever_the_steps_of_the_range(store, query, length_us):
    pause = "resources.gc_pause_ms_max"
    await sampled(store, pause, lambda us: 100.0 if us % (10 * MINUTE_US) == 0 else 10.0, until_us=NOON + HOUR_US)
    line = line_of(await resources(query, Range(NOON + HOUR_US - length_us, NOON + HOUR_US, "range")), "gc")
    assert (line.mean, line.peak) == (pytest.approx(19_000.0), 100_000.0)


async def test_a_gap_has_no_values(store, query):
    await sampled(store, MEMORY, lambda _: 5.0, until_us=NOON + HOUR_US)
    await store.add_samples(NOON + 5 * HOUR_US, {MEMORY: 6.0})
    values = line_of(await resources(query, SPAN), "memory").values
    assert values[0] == 5.0
    assert values[-1] == 6.0
    assert None in values


async def test_steady_growth_is_found_and_peaks_do_not_change_it(store, query):
    numbers = random.Random(3)

    def memory(since_us):
        peak = 400e6 if numbers.random() < 0.02 else 0.0
        return 200e6 + 48e6 * since_us / DAY_US + numbers.gauss(0, 0.5e6) + peak

    await sampled(store, MEMORY, memory)
    use = await resources(query, SPAN)
    (line,) = use.growing
    assert line.resource.key == "memory"
    assert line.growth_per_day == pytest.approx(48e6, rel=0.25)


async def test_noise_and_a_daily_wave_are_no_growth(store, query):
    numbers = random.Random(4)
    await sampled(store, MEMORY, lambda at: 200e6 + numbers.gauss(0, 4e6) + 5e6 * math.sin(at / HOUR_US * 2))
    assert (await resources(query, SPAN)).growing == []


async def test_growth_is_measured_over_the_longest_run(store, query):
    await sampled(store, MEMORY, lambda since_us: 900e6 if since_us < 2 * HOUR_US else 100e6)
    await store.add_marker(Marker(NOON + 2 * HOUR_US, "start", "started"))
    use = await resources(query, SPAN)
    assert use.longest_run == (NOON + 2 * HOUR_US, SPAN.until_us)
    assert line_of(use, "memory").growth_per_day == 0.0


async def test_a_month_is_aggregated_by_the_store_without_reading_its_samples(store, query, monkeypatch):
    await sampled(store, MEMORY, lambda _: 1.0, until_us=NOON + 30 * DAY_US, every_us=6 * HOUR_US)

    real = store.samples

    async def read(names, since_us, until_us):
        assert until_us - since_us <= NEWEST_US + 1, "raw samples were read"
        return await real(names, since_us, until_us)

    monkeypatch.setattr(store, "samples", read)
    use = await resources(query, Range(NOON, NOON + 30 * DAY_US, "30 days"))
    assert len(use.edges_us) == 120
    assert set(line_of(use, "memory").values) == {1.0}


@pytest.mark.parametrize("points", [0, 1, 7])
def test_too_few_points_have_no_growth(points):
    times = [number * HOUR_US for number in range(points)]
    assert growth(times, [float(number) for number in range(points)]) == (None, 0.0)


def test_growth_is_the_median_slope_per_day():
    times = [number * HOUR_US for number in range(10)]
    assert growth(times, [float(number) for number in range(10)]) == (pytest.approx(24.0), 1.0)
    assert growth(times, [5.0] * 10) == (0.0, 0.0)
