"""Where the lines of a chart's grid lie."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cogmeter.query.records import Period
from cogmeter.render.charts.ticks import byte_scale, count_scale, duration_scale, rate_scale, share_scale, time_ticks
from cogmeter.times import parse_iso, utc, zone_of
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

NOW_US = 1_755_454_020_000_000  # 2025-08-17 18:07 UTC


@pytest.mark.parametrize(
    ("period", "labels"),
    [
        (Period.HOUR, ["17 Aug 17:10", "17:20", "17:30", "17:40", "17:50", "18:00"]),
        (Period.SIX_HOURS, ["17 Aug 13:00", "14:00", "15:00", "16:00", "17:00", "18:00"]),
        (Period.DAY, ["20:00", "17 Aug", "04:00", "08:00", "12:00", "16:00"]),
        (Period.WEEK, ["11 Aug", "12 Aug", "13 Aug", "14 Aug", "15 Aug", "16 Aug", "17 Aug"]),
        (Period.MONTH, ["21 Jul", "26 Jul", "31 Jul", "5 Aug", "10 Aug", "15 Aug"]),
    ],
)
def test_times_are_round_and_the_day_is_always_shown(period, labels):
    span = period.range_at(NOW_US)
    assert [tick.label for tick in time_ticks(span.since_us, span.until_us)] == labels


@given(st.integers(0, 10**15), st.integers(1, 800 * 86_400_000_000))
def test_times_lie_in_the_range_and_are_few(since_us, length_us):
    ticks = time_ticks(since_us, since_us + length_us)
    assert len(ticks) <= 8
    assert all(since_us <= tick.value <= since_us + length_us for tick in ticks)


@given(st.lists(st.floats(0, 1e13), max_size=30), st.none() | st.floats(1, 1e13))
def test_every_duration_lies_on_the_axis_and_its_labels_differ(values, threshold_us):
    scale = duration_scale(values, threshold_us)
    assert 1 <= len(scale.ticks) <= 7
    assert len({tick.label for tick in scale.ticks}) == len(scale.ticks)
    assert all(0 <= scale.place(value) <= 1 for value in values)
    assert all(scale.low <= tick.value <= scale.high for tick in scale.ticks)
    if values:
        assert max(values) <= scale.high


def test_durations_that_spread_over_more_than_fifty_times_get_a_logarithmic_axis():
    assert not duration_scale([1_000, 49_000]).logarithmic
    scale = duration_scale([1_000, 51_000])
    assert scale.logarithmic
    assert scale.place(7_000) - scale.place(1_000) > 0.4


def test_a_threshold_is_in_view_unless_it_would_press_the_values_flat():
    assert duration_scale([2e6], 5e6).high >= 5e6
    assert duration_scale([1e5], 5e6).high < 5e6


def test_an_axis_says_its_unit():
    assert [tick.label for tick in duration_scale([10_400_000]).ticks] == ["0 s", "2.5 s", "5 s", "7.5 s", "10 s"]
    assert [tick.label for tick in duration_scale([]).ticks][-1] == "1 ms"
    assert [tick.label for tick in rate_scale([14_000]).ticks] == ["0", "5 k", "10 k"]


@given(st.lists(st.floats(0, 1e9), max_size=30), st.none() | st.floats(1, 1e9))
@example([5e-324], None)
def test_every_rate_lies_on_its_axis(values, threshold):
    scale = rate_scale(values, threshold)
    assert 2 <= len(scale.ticks) <= 4
    assert max(values, default=0) <= scale.high


@pytest.mark.parametrize("axis", [byte_scale, count_scale, share_scale])
@given(values=st.lists(st.floats(0, 1e13), max_size=30), threshold=st.none() | st.floats(1e-6, 1e13))
@example([5e-324], None)
def test_every_value_lies_on_its_axis_and_its_labels_differ(axis, values, threshold):
    scale = axis(values, threshold)
    assert 2 <= len(scale.ticks) <= 7
    assert len({tick.label for tick in scale.ticks}) == len(scale.ticks)
    assert all(0 <= scale.place(value) <= 1 for value in values)
    if axis is not share_scale:  # a share ends at 1
        assert max(values, default=0) <= scale.high


def test_shares_and_bytes_have_their_units():
    assert [tick.label for tick in share_scale([0.52], 0.05).ticks] == ["0%", "20%", "40%"]
    assert [tick.label for tick in byte_scale([3.1e8]).ticks] == ["0 MB", "100 MB", "200 MB", "300 MB"]


@pytest.mark.parametrize(
    ("since", "until", "labels"),
    [
        # Summer time begins in Berlin: at 01:00 UTC the clock goes from 02:00 to 03:00.
        ("2026-03-28T23:30", "2026-03-29T05:30", ["29 Mar 01:00", "03:00", "04:00", "05:00", "06:00", "07:00"]),
        ("2026-03-28T12:00", "2026-03-29T12:00", ["16:00", "20:00", "29 Mar", "04:00", "08:00", "12:00"]),
        # It ends: at 01:00 UTC the clock goes from 03:00 back to 02:00.
        ("2026-10-24T22:30", "2026-10-25T03:30", ["25 Oct 01:00", "02:00", "02:00", "03:00", "04:00"]),
        ("2026-10-24T12:00", "2026-10-25T12:00", ["16:00", "20:00", "25 Oct", "04:00", "08:00", "12:00"]),
        ("2026-10-23T00:00", "2026-10-28T00:00", ["24 Oct", "25 Oct", "26 Oct", "27 Oct", "28 Oct"]),
    ],
)
def test_ticks_are_round_times_of_the_zone_across_both_changes_of_summer_time(since, until, labels):
    ticks = time_ticks(parse_iso(since), parse_iso(until), zone=zone_of("Europe/Berlin"))
    assert [tick.label for tick in ticks] == labels
    assert [tick.value for tick in ticks] == sorted({tick.value for tick in ticks})


def test_every_label_is_what_the_clock_of_the_zone_shows():
    for name in ("Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"):
        zone = zone_of(name)
        for start in range(parse_iso("2026-01-01"), parse_iso("2027-01-01"), 5 * DAY_US):
            for length_us in (10 * MINUTE_US, 7 * HOUR_US, DAY_US, 7 * DAY_US):
                for tick in time_ticks(start, start + length_us, zone=zone):
                    shown = utc(round(tick.value)).astimezone(zone)
                    assert tick.label.endswith((f"{shown:%H:%M}", f"{shown.day} {shown:%b}"))
                    assert start <= tick.value <= start + length_us
