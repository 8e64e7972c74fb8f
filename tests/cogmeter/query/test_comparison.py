"""Comparisons: what is called slower, the hours and minutes that count, and the periods that two texts mean."""

import numpy as np
import pytest
from factories import make_errors

from cogmeter.query.comparison import FEWEST, ChangeVerdict, compare
from cogmeter.query.comparison_periods import UnknownPeriodError, comparison_periods
from cogmeter.query.comparison_samples import read_samples
from cogmeter.query.query import Query
from cogmeter.query.records import Range, UnknownNameError
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker, Retention

NOW_US = 1_800_025_200_000_000  # 2027-01-15 15:00 UTC
DEPLOY_US = NOW_US - DAY_US
ASK = ("discord.commands", "ask")


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


def operations(rng, since_us, until_us, count, *, median_ms=200, spread=0.4, failing=0.0):
    """Return (end, duration, outcome) of operations at random times."""
    ends = rng.integers(since_us, until_us, count).tolist()
    durations = (median_ms * 1000 * rng.lognormal(0, spread, count)).astype(int).tolist()
    return list(zip(ends, durations, (rng.random(count) < failing).astype(int).tolist(), strict=True))


async def record(store, *parts, name=ASK, markers=()):
    (series,) = await store.series_ids([name])
    rows = sorted((end, duration, outcome) for part in parts for end, duration, outcome in part)
    await store.append([[(series, *row, None, None) for row in rows]], now_us=NOW_US)
    for at_us, kind, text in markers:
        await store.add_marker(Marker(at_us, kind, text))


def query(store):
    return Query(store, clock=lambda: NOW_US)


VERSION = ((DEPLOY_US, "version", "version 1.4"),)


async def test_a_slower_command_after_a_version_is_found_with_its_size(store):
    rng = np.random.default_rng(1)
    await record(
        store,
        operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 600),
        operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, 400, median_ms=280),
        markers=VERSION,
    )
    found = await compare(query(store), "/ask")
    assert found.marker.name == "version 1.4"
    assert found.latency.verdict is ChangeVerdict.WORSE
    assert found.latency.ratio == pytest.approx(0.4, abs=0.12)
    assert found.errors.verdict is ChangeVerdict.UNCHANGED
    assert found.after.operations == 400
    assert 550 <= found.before.operations <= 600  # those that share the hours of the day
    assert sum(found.before.shares) == pytest.approx(1)
    assert len(found.edges_us) == len(found.after.shares) + 1


async def test_a_slower_tail_is_found_though_the_median_stays(store):
    rng = np.random.default_rng(2)
    later = operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, 500)
    limit = np.quantile([duration for _, duration, _ in later], 0.9)
    later = [(end, int(duration * 1.5) if duration > limit else duration, 0) for end, duration, _ in later]
    await record(store, operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 500), later, markers=VERSION)
    found = await compare(query(store), "/ask")
    assert (found.latency.verdict, found.latency.statistic) == (ChangeVerdict.WORSE, "p95")
    assert [one.verdict for one in found.percentiles] == [ChangeVerdict.NOT_JUDGED, ChangeVerdict.WORSE]
    assert [one.p_value for one in found.percentiles] == [None, found.latency.p_value]


async def test_periods_that_overlap_are_refused_with_the_times_that_do(store):
    with pytest.raises(UnknownPeriodError, match="overlap: the period before ends at 2027-01-13 00:00 UTC, the period"):
        await comparison_periods(query(store), "2027-01-11..2027-01-12", "2027-01-12..2027-01-13")
    with pytest.raises(UnknownPeriodError, match="not earlier than the period after"):
        await comparison_periods(query(store), "2027-01-12..2027-01-13", "2027-01-10..2027-01-11")


async def test_a_period_before_the_first_record_says_so_and_makes_no_error_new(store):
    rng = np.random.default_rng(2)
    await record(store, operations(rng, DEPLOY_US, NOW_US, 500))
    await store.errors.add([make_errors("a", NOW_US - HOUR_US, where=("discord.commands", "ask"))])
    first_us = await store.first_us()
    found = await compare(query(store), "/ask", before="2 days", after=f"{(NOW_US - DEPLOY_US) // HOUR_US}h")
    assert (found.recorded_since_us, found.new_errors) == (first_us, ())
    assert found.before.operations == 0
    assert {change.before for change in (*found.percentiles, found.errors, found.throughput)} == {None}
    later = await compare(query(store), "/ask", before="2 days", after="1h")
    assert later.before.operations + later.before.left_out >= FEWEST
    assert later.recorded_since_us == first_us
    assert [group.message for group in later.new_errors] == ["no node a"]
    inside = await compare(query(store), "/ask", before="2027-01-15T00:00..2027-01-15T06:00", after="1h")
    assert inside.recorded_since_us is None


async def test_more_errors_are_found(store):
    rng = np.random.default_rng(3)
    await record(
        store,
        operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 400, failing=0.02),
        operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, 400, failing=0.10),
        markers=VERSION,
    )
    found = await compare(query(store), "/ask")
    assert found.errors.verdict is ChangeVerdict.WORSE
    assert found.verdict is ChangeVerdict.WORSE
    assert found.latency.verdict is ChangeVerdict.UNCHANGED


async def test_a_faster_command_is_better(store):
    rng = np.random.default_rng(4)
    await record(
        store,
        operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 400),
        operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, 400, median_ms=120),
        markers=VERSION,
    )
    found = await compare(query(store), "/ask")
    assert found.verdict is ChangeVerdict.BETTER
    assert found.latency.ratio == pytest.approx(-0.4, abs=0.1)


async def test_few_operations_prove_nothing(store):
    rng = np.random.default_rng(5)
    await record(
        store,
        operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 400),
        operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, FEWEST - 1, median_ms=2_000),
        markers=VERSION,
    )
    found = await compare(query(store), "/ask")
    assert found.verdict is ChangeVerdict.TOO_FEW
    assert found.after.operations == FEWEST - 1


async def test_the_first_minutes_after_a_start_are_left_out(store):
    rng = np.random.default_rng(6)
    cold = operations(rng, DEPLOY_US + MINUTE_US, DEPLOY_US + 9 * MINUTE_US, 300, median_ms=5_000)
    await record(
        store,
        operations(rng, DEPLOY_US - DAY_US, DEPLOY_US, 400),
        cold,
        operations(rng, DEPLOY_US + 20 * MINUTE_US, NOW_US, 400),
        markers=((DEPLOY_US, "start", "bot started"), *VERSION),
    )
    found = await compare(query(store), "/ask")
    assert found.latency.verdict is ChangeVerdict.UNCHANGED
    assert (found.after.warm_up, found.after.operations) == (300, 400)


@pytest.mark.parametrize("days", [1, 5])  # bins of a quarter of an hour, and of an hour
async def test_exactly_the_first_ten_minutes_after_each_start_are_left_out(store, days):
    starts = [NOW_US - 5 * HOUR_US - 3 * MINUTE_US - 7, NOW_US - 5 * HOUR_US + 2 * MINUTE_US, NOW_US - 61 * MINUTE_US]
    since_us = NOW_US - days * DAY_US - 13 * MINUTE_US
    ends = range(since_us, NOW_US, MINUTE_US // 2)
    await record(
        store, [(end, 1_000, 0) for end in ends], markers=[(at_us, "start", "bot started") for at_us in starts]
    )
    minutes = [start // MINUTE_US for start in starts]
    cold = sum(any(minute <= end // MINUTE_US < minute + 10 for minute in minutes) for end in ends)
    span = Range(since_us, NOW_US, "it")
    (series,) = await store.series_ids([ASK])
    (found,) = await read_samples(query(store), {series: 0}, span)
    assert (found.warm_up, found.sample.operations) == (cold, len(ends) - cold)
    # The first two starts are one time of 16 minutes, from the minute of the first one on.
    assert int(found.sample.lengths_us.sum()) == NOW_US - since_us - 26 * MINUTE_US
    assert (found.sample.counts == found.sample.lengths_us // (MINUTE_US // 2)).all()


async def test_an_hour_with_a_start_is_left_out_where_only_whole_hours_are_stored(store):
    since_us = NOW_US - 20 * DAY_US
    await record(
        store,
        [(end, 1_000, 0) for end in range(since_us, since_us + 6 * HOUR_US, MINUTE_US)],
        markers=[(since_us + 2 * HOUR_US + 30 * MINUTE_US, "start", "bot started")],
    )
    await store.fold(now_us=NOW_US)
    await store.clean(Retention(raw_hours=24), now_us=NOW_US)
    (series,) = await store.series_ids([ASK])
    span = Range(since_us + 20 * MINUTE_US, since_us + 6 * HOUR_US, "it")
    (found,) = await read_samples(query(store), {series: 0}, span)
    assert (found.warm_up, found.sample.operations) == (60, 300)


async def test_a_minute_counts_in_one_of_two_adjacent_periods(store):
    at_us = NOW_US - DAY_US + 17_000_000
    ends = range(NOW_US - 2 * DAY_US, NOW_US, 10_000_000)
    await record(store, [(end, 1_000, 0) for end in ends])
    (series,) = await store.series_ids([ASK])
    samples = [
        (await read_samples(query(store), {series: 0}, span))[0].sample.operations
        for span in (Range(NOW_US - 2 * DAY_US, at_us, "before"), Range(at_us, NOW_US, "after"))
    ]
    assert sum(samples) == len(ends)


async def test_a_daily_rhythm_is_no_change(store):
    """Nights are three times as slow; the period before has all hours, the period after has a night only."""
    rng = np.random.default_rng(7)
    parts = []
    for day in range(5):
        for hour in range(24):
            since_us = NOW_US - 5 * DAY_US + day * DAY_US + hour * HOUR_US
            of_day = since_us % DAY_US // HOUR_US
            parts.append(operations(rng, since_us, since_us + HOUR_US, 40, median_ms=600 if 9 <= of_day < 15 else 200))
    await record(store, *parts, markers=((NOW_US - 5 * HOUR_US, "version", "version 2"),))
    found = await compare(query(store), "/ask")
    assert found.latency.verdict is ChangeVerdict.UNCHANGED
    assert found.hours == 5
    assert found.before.left_out > 1_000
    assert found.throughput.verdict is ChangeVerdict.UNCHANGED


async def test_slow_spells_are_no_change_unless_there_are_more_than_by_chance(store):
    """In a tenth of the quarters of an hour everything takes three times as long, by chance more often in the end."""
    rng = np.random.default_rng(8)
    parts = []
    for number in range(2 * 96):
        since_us = NOW_US - 2 * DAY_US + number * 15 * MINUTE_US
        slow = rng.random() < (0.08 if number < 96 else 0.14)
        parts.append(operations(rng, since_us, since_us + 15 * MINUTE_US, 20, median_ms=900 if slow else 200))
    await record(store, *parts, markers=VERSION)
    assert (await compare(query(store), "/ask")).latency.verdict is ChangeVerdict.UNCHANGED


async def test_all_services_are_compared_without_those_in_the_background(store):
    rng = np.random.default_rng(9)
    await record(store, operations(rng, DEPLOY_US - DAY_US, NOW_US, 1_000), markers=VERSION)
    await record(store, operations(rng, NOW_US - 10, NOW_US, 500), name=("discord.rest", "GET"))
    found = await compare(query(store))
    assert (found.service, found.operation) == (None, None)
    assert found.before.operations + found.after.operations <= 1_000


async def test_nothing_recorded_is_not_enough(store):
    found = await compare(query(store))
    assert found.verdict is ChangeVerdict.TOO_FEW
    assert found.edges_us == ()
    assert found.latency.ratio is None


async def test_an_unknown_command_is_named(store):
    await record(store, operations(np.random.default_rng(1), DEPLOY_US, NOW_US, 5))
    with pytest.raises(UnknownNameError, match="/asl"):
        await compare(query(store), "/asl")


def _span(span):
    return ((span.since_us - NOW_US) / HOUR_US, (span.until_us - NOW_US) / HOUR_US)


@pytest.mark.parametrize(
    ("before", "after", "first", "second"),
    [
        (None, None, (-48, -24), (-24, 0)),  # around the last version, from the deploy before it on
        ("version 1.4", None, (-48, -24), (-24, 0)),
        (None, "DEPLOYED 1.3", (-48 - 168, -48), (-48, -24)),
        ("deployed 1.3", "version 1.4", (-48, -24), (-24, 0)),
        (None, "24h", (-24 - 168, -24), (-24, 0)),
        ("24h", "24h", (-48, -24), (-24, 0)),
        ("24h", None, (-48, -24), (-24, 0)),
        ("6h", "6h", (-30, -24), (-6, 0)),  # the same time of day
        ("2d", "version 1.4", (-72, -24), (-24, 0)),
        ("2027-01-14", "2027-01-15", (-39, -15), (-15, 0)),
        ("2027-01-14T00:00..2027-01-14T12:00", None, (-39, -27), (-27, -15)),
    ],
)
async def test_two_texts_mean_two_periods(store, before, after, first, second):
    for at_us, kind, text in ((DEPLOY_US - DAY_US, "mark", "deployed 1.3"), *VERSION):
        await store.add_marker(Marker(at_us, kind, text))
    periods = await comparison_periods(query(store), before, after)
    assert (_span(periods.before), _span(periods.after)) == (first, second)


async def test_without_markers_the_last_day_is_compared_with_the_week_before(store):
    periods = await comparison_periods(query(store), None, None)
    assert (_span(periods.before), _span(periods.after)) == ((-24 - 168, -24), (-24, 0))


async def test_a_marker_is_named_by_its_id_too(store):
    marker = await store.add_marker(Marker(DEPLOY_US, "version", "version 1.4"))
    periods = await comparison_periods(query(store), f"marker:{marker.id}", None)
    assert periods.marker == marker


@pytest.mark.parametrize("text", ["versoin 1.4", "..", "2027-02-30", "1s", "900d", "marker:77", "a" * 500])
async def test_a_text_that_is_no_period_is_refused_with_a_hint(store, text):
    await store.add_marker(Marker(DEPLOY_US, "version", "version 1.4"))
    with pytest.raises(UnknownPeriodError, match=r"Use 24h|Did you mean version 1.4"):
        await comparison_periods(query(store), text, None)


async def test_periods_in_the_wrong_order_are_refused(store):
    with pytest.raises(UnknownPeriodError, match="Swap"):
        await comparison_periods(query(store), "2027-01-15", "2027-01-14")
