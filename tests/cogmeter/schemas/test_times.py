"""ISO times at the border: exactly the documented text is taken, and what is shown can be read again."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cogmeter.query.records import Period, Range
from cogmeter.schemas.base import TimeRange
from cogmeter.schemas.times import (
    Instant,
    Since,
    Until,
    between,
    iso,
    iso_end,
    parse_end,
    parse_time,
    past_part,
    requested_range,
)
from cogmeter.times import MAX_US, utc
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=offsets)  # noqa: DTZ001 - hypothesis adds the zone


class Asked(BaseModel):
    since: Since | None = None
    until: Until | None = None


class Shown(BaseModel):
    at: Instant


def us(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


@given(times)
def test_every_time_of_these_years_is_read_with_its_offset(when):
    assert parse_time(when.isoformat()) == us(when)


@given(st.dates(date(1970, 1, 1), date(9999, 12, 31)))
def test_every_day_there_is_is_its_midnight_in_utc(day):
    assert utc(parse_time(day.isoformat())) == datetime(day.year, day.month, day.day, tzinfo=UTC)


@given(st.integers(1970, 9999), st.integers(0, 13), st.integers(0, 32))
def test_no_day_is_taken_that_there_is_not(year, month, day):
    try:
        date(year, month, day)
    except ValueError:
        with pytest.raises(Exception, match="is not a valid time"):
            parse_time(f"{year:04d}-{month:02d}-{day:02d}")
    else:
        parse_time(f"{year:04d}-{month:02d}-{day:02d}")


@given(st.from_regex(Asked.model_json_schema()["properties"]["since"]["anyOf"][0]["pattern"], fullmatch=True))
def test_whatever_the_schema_allows_is_taken(text):
    assert 0 <= Asked(since=text.strip()).since <= MAX_US


@pytest.mark.parametrize(
    "value",
    [
        *(0, 1755302400, 0.5, True, None, b"2025-08-16", date(2025, 8, 16)),
        *("", "0", "1755302400", "now", "20250816", "2025-8-16", "2025-W33-6", "2025-08-16 10:30", "2025-08-16T"),
        *("1969-12-31", "10000-01-01", "2025-02-29", "1900-02-29", "2025-08-16T24:00", "2025-08-16T10:30:60Z"),
        *("2025-08-16T10:30:00z", "2025-08-16t10:30:00Z", "2025-08-16\n", " 2025-08-16", "٢٠٢٥-٠٨-١٦", "-2025-08-16"),
    ],
)
def test_nothing_else_is_a_time(value):
    with pytest.raises(Exception, match="is not a valid time"):
        parse_time(value)
    with pytest.raises(Exception, match="is not a valid time"):
        parse_end(value)


def test_a_plus_that_an_address_turned_into_a_space_is_explained():
    with pytest.raises(Exception, match="Write \\+ as %2B"):
        parse_time("2025-08-16T10:30:00 02:00")


def test_a_plain_day_as_end_includes_that_day_and_shows_as_its_last_second():
    until_us = parse_end("2025-08-17")
    assert utc(until_us) == datetime(2025, 8, 18, tzinfo=UTC)
    assert iso_end(until_us) == "2025-08-17T23:59:59Z"


def test_a_time_as_end_is_that_time():
    until_us = parse_end("2025-08-17T10:30:00Z")
    assert utc(until_us) == datetime(2025, 8, 17, 10, 30, tzinfo=UTC)
    assert iso_end(until_us) == "2025-08-17T10:30:00Z"


def test_the_ends_of_time_stay_where_python_can_count():
    assert parse_time("1970-01-01T00:00:00+14:00") == 0
    assert parse_time("9999-12-31T23:59:59-12:00") == parse_end("9999-12-31") == MAX_US
    assert utc(MAX_US).year == 9999
    assert iso(0) == iso_end(0) == "1970-01-01T00:00:00Z"


@given(st.integers(0, MAX_US // 1000).map(lambda ms: ms * 1000))
def test_what_is_shown_can_be_read_again_to_the_millisecond(at_us):
    assert parse_time(iso(at_us)) == at_us
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", iso(at_us))


@given(st.integers(0, MAX_US))
def test_an_instant_is_a_datetime_in_python_and_the_same_text_in_json(at_us):
    shown = Shown(at=utc(at_us))
    assert us(shown.at) == at_us
    assert shown.model_dump_json() == f'{{"at":"{iso(at_us)}"}}'


def test_an_instant_says_its_format_in_the_schema():
    schema = Shown.model_json_schema(mode="serialization")["properties"]["at"]
    assert (schema["type"], schema["format"]) == ("string", "date-time")


def test_a_model_takes_text_and_refuses_numbers():
    assert Asked(since="2025-08-16", until="2025-08-16").until == Asked(since="2025-08-16").since + DAY_US
    with pytest.raises(ValidationError, match="is not a valid time"):
        Asked(since=5)


# Ranges -----------------------------------------------------------------------------------------------------------

DAY = datetime(2025, 8, 17, tzinfo=UTC)
DAY_BEGIN_US = int(DAY.timestamp()) * 1_000_000
NOW_US = DAY_BEGIN_US + 10 * HOUR_US + 17 * MINUTE_US


def test_without_ends_it_is_the_default_period_on_whole_minutes():
    assert between(None, None, NOW_US) == Period.DAY.range_at(NOW_US)


def test_one_end_leaves_the_other_to_the_default():
    assert between("2025-08-16", None, NOW_US).until_us == NOW_US
    span = between(None, "2025-08-10T12:00:00Z", NOW_US, Period.HOUR)
    assert span.until_us - span.since_us == HOUR_US
    assert requested_range(None, 5, NOW_US).since_us == 0  # nothing was before 1970


@pytest.mark.parametrize("period", Period)
@pytest.mark.parametrize("later_us", [0, MINUTE_US - 1])
def test_the_times_of_a_period_that_has_just_ended_keep_its_name(period, later_us):
    span = period.range_at(NOW_US)
    assert requested_range(span.since_us, span.until_us, NOW_US + later_us) == span
    assert requested_range(span.since_us, span.until_us, NOW_US + MINUTE_US).label.startswith("2025-")
    assert requested_range(span.since_us + 1, span.until_us, NOW_US).label.startswith("2025-")


@pytest.mark.parametrize(
    "since",
    [DAY, DAY.replace(tzinfo=None), DAY.date(), "2025-08-17", DAY.astimezone(timezone(timedelta(hours=2)))],
)
def test_every_form_of_a_time_is_the_same_moment(since):
    assert between(since, None, NOW_US).since_us == DAY_BEGIN_US


def test_a_plain_day_as_the_end_includes_that_day_and_figures_end_now():
    assert between("2025-08-01", date(2025, 8, 16), NOW_US).until_us == DAY_BEGIN_US
    assert between("2025-08-01", date(2025, 8, 17), NOW_US).until_us == NOW_US
    assert requested_range(DAY_BEGIN_US, DAY_BEGIN_US + DAY_US, NOW_US).until_us == DAY_BEGIN_US + DAY_US
    assert past_part(Range(5, 9, ""), 3) == Range(5, 6, "")


@pytest.mark.parametrize(("since", "until"), [("2025-08-18", None), ("2025-08-02", "2025-08-01"), (DAY, DAY)])
def test_ends_in_the_wrong_order_are_named(since, until):
    with pytest.raises(ValueError, match=r"since=2025-08.* is not before until="):
        between(since, until, NOW_US)


def test_a_midnight_that_ends_a_range_is_shown_as_the_last_second_of_the_day():
    shown = TimeRange.of(Range(DAY_BEGIN_US - DAY_US, DAY_BEGIN_US, "")).model_dump(mode="json")
    assert shown == {"since": "2025-08-16T00:00:00Z", "until": "2025-08-16T23:59:59Z"}
