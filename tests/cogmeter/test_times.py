"""Times and durations as text: one formatter and one grammar for every surface."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.thresholds.keys import LimitError, OverrideKey, checked_value
from cogmeter.cog.options import seconds_of
from cogmeter.schemas.times import iso as api_iso
from cogmeter.times import MAX_US, MICROSECOND, MILLISECOND_US, SECOND_US, iso, parse_duration, parse_iso, us_of, utc
from cogmeter_bot.sources.ranges import parse_range

times = st.integers(0, MAX_US)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(times)
def test_a_time_is_written_exactly_and_read_back(at_us):
    assert parse_iso(iso(at_us)) == us_of(utc(at_us)) == at_us


@given(times)
def test_coarser_times_are_cut_and_have_no_more_digits_than_they_need(at_us):
    assert iso(at_us, unit_us=SECOND_US) == f"{utc(at_us):%Y-%m-%dT%H:%M:%SZ}"
    milliseconds = at_us // 1_000 % 1_000
    fraction = f".{milliseconds:03}" if milliseconds else ""
    assert iso(at_us, unit_us=MILLISECOND_US) == api_iso(at_us) == f"{utc(at_us):%Y-%m-%dT%H:%M:%S}{fraction}Z"


@given(st.datetimes(timezones=offsets))
def test_a_datetime_with_an_offset_is_the_same_moment_even_at_the_ends_of_time(when):
    assert us_of(when) == (when - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
    assert parse_iso(when.isoformat()) == us_of(when)


# Every form that a command, an option of the command line or a threshold accepts.
DURATIONS = {
    "30m": 1_800,
    "4h": 14_400,
    "1d": 86_400,
    "1w": 604_800,
    "90s": 90,
    "0s": 0,
    "500ms": 0.5,
    "300 msec": 0.3,
    "2 milliseconds": 0.002,
    "1h30m": 5_400,
    "1h 30m": 5_400,
    "1h30min": 5_400,
    "1 hour 30 minutes": 5_400,
    " 2 Hours ": 7_200,
    "2H": 7_200,
    "1.5h": 5_400,
    "1.125 h": 4_050,
    "5.h": 18_000,
    ".5s": 0.5,
    "1e1s": 10,
    "1.5E+1m": 900,
    "90 sec": 90,
    "90 secs": 90,
    "10 mins": 600,
    "3 hrs": 10_800,
    "2 wks": 1_209_600,
    "1 month": 2_592_000,
    "1 mon": 2_592_000,
    "1mo": 2_592_000,
    "2 months 1 day": 5_270_400,
    "999999d": 86_399_913_600,
    "999999999.999s": 999_999_999.999,
    "\N{ARABIC-INDIC DIGIT THREE}m": 180,
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_one_or_several_numbers_with_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "30", "h", "-1h", "1h soon", "1 year", "1h30", "nan s", "inf d", "9" * 400 + "d", "2025-08-16", "1.2.3s"],
)
def test_other_text_is_no_duration(text):
    assert parse_duration(text) is None


def test_a_plain_number_counts_the_unit_where_it_is_accepted():
    assert (parse_duration("1900", "ms", plain=True), parse_duration("1.9s", "ms", plain=True)) == (1900, 1900)
    assert (parse_duration("300", "s", plain=True), parse_duration("5m", "s", plain=True)) == (300, 300)


def test_a_hostile_text_is_parsed_at_once():
    assert parse_duration("1" * 200_000) is None
    assert parse_duration("1" + "s" * 200_000) == 1
    assert parse_duration("1s" * 100_000 + "!") is None


@pytest.mark.parametrize("text", ["1h 30m", "1h30m", "1.5 hours", "90min", "90 Minutes", "5400s", "1 hour 1800 sec"])
def test_chat_the_command_line_and_thresholds_share_the_grammar(text):
    assert seconds_of(text) == 5_400
    assert parse_range(text, None, None, now_us=2**50).since_us == 2**50 - 5_400 * SECOND_US
    assert limit("error_rate.for", text) == 5_400
    assert limit("response_time", text) == 5_400_000


@pytest.mark.parametrize(
    ("text", "seconds", "milliseconds"),
    [
        *(("300", 300, 300), ("+300", 300, 300), ("5.", 5, 5), (".5", 0.5, 0.5), ("1e3", 1_000, 1_000)),
        *(("1.9s", 1.9, 1_900), ("1900 ms", 1.9, 1_900), ("+2M", 120, 120_000), ("-0", 0, 0), ("1h", 3_600, 3_600_000)),
    ],
)
def test_a_threshold_also_accepts_a_plain_number_in_its_unit(text, seconds, milliseconds):
    assert limit("error_rate.for", text) == seconds
    assert limit("response_time", text) == milliseconds


@pytest.mark.parametrize("text", ["", "+", "--5", "+-5", "-5", "5%", "-1m", "soon", "1e400"])
def test_a_threshold_refuses_what_is_no_duration_or_is_negative(text):
    for key in ("error_rate.for", "response_time"):
        with pytest.raises(LimitError, match="Use a number from 0 to"):
            limit(key, text)


def limit(key, text):
    return checked_value(key, OverrideKey.parse(key), text)
