"""ISO times at the border: exactly the documented text is taken, and what is shown can be read again."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cogmeter.schemas.times import Instant, IsoTime, Since, Until, at, end_us, iso, iso_end, moment_us
from cogmeter.times import MAX_US
from cogmeter_storage.model import DAY_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=offsets)  # noqa: DTZ001 - hypothesis adds the zone


class Asked(BaseModel):
    since: Since | None = None
    until: Until | None = None
    moment: IsoTime | None = None


class Shown(BaseModel):
    at: Instant


def us(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


@given(times)
def test_every_time_of_these_years_is_read_with_its_offset(when):
    assert moment_us(when.isoformat()) == us(when)


@given(st.dates(date(1970, 1, 1), date(9999, 12, 31)))
def test_every_day_there_is_is_its_midnight_in_utc(day):
    assert at(moment_us(day.isoformat())) == datetime(day.year, day.month, day.day, tzinfo=UTC)


@given(st.integers(1970, 9999), st.integers(0, 13), st.integers(0, 32))
def test_no_day_is_taken_that_there_is_not(year, month, day):
    try:
        date(year, month, day)
    except ValueError:
        with pytest.raises(Exception, match="is no ISO 8601 date"):
            moment_us(f"{year:04d}-{month:02d}-{day:02d}")
    else:
        moment_us(f"{year:04d}-{month:02d}-{day:02d}")


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
    with pytest.raises(Exception, match="is no ISO 8601 date or time"):
        moment_us(value)
    with pytest.raises(Exception, match="is no ISO 8601 date or time"):
        end_us(value)


def test_a_plus_that_an_address_turned_into_a_space_is_explained():
    with pytest.raises(Exception, match="write \\+ as %2B"):
        moment_us("2025-08-16T10:30:00 02:00")


def test_a_plain_day_as_end_includes_that_day_and_shows_as_its_last_second():
    until_us = end_us("2025-08-17")
    assert at(until_us) == datetime(2025, 8, 18, tzinfo=UTC)
    assert iso_end(until_us) == "2025-08-17T23:59:59Z"


def test_a_time_as_end_is_that_time():
    until_us = end_us("2025-08-17T10:30:00Z")
    assert at(until_us) == datetime(2025, 8, 17, 10, 30, tzinfo=UTC)
    assert iso_end(until_us) == "2025-08-17T10:30:00Z"


def test_the_ends_of_time_stay_where_python_can_count():
    assert moment_us("1970-01-01T00:00:00+14:00") == 0
    assert moment_us("9999-12-31T23:59:59-12:00") == end_us("9999-12-31") == MAX_US
    assert at(MAX_US).year == 9999
    assert iso(0) == iso_end(0) == "1970-01-01T00:00:00Z"


@given(st.integers(0, MAX_US // 1000).map(lambda ms: ms * 1000))
def test_what_is_shown_can_be_read_again_to_the_millisecond(at_us):
    assert moment_us(iso(at_us)) == at_us
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", iso(at_us))


@given(st.integers(0, MAX_US))
def test_an_instant_is_a_datetime_in_python_and_the_same_text_in_json(at_us):
    shown = Shown(at=at(at_us))
    assert us(shown.at) == at_us
    assert shown.model_dump_json() == f'{{"at":"{iso(at_us)}"}}'


def test_an_instant_says_its_format_in_the_schema():
    schema = Shown.model_json_schema(mode="serialization")["properties"]["at"]
    assert (schema["type"], schema["format"]) == ("string", "date-time")


def test_a_model_takes_text_and_refuses_numbers():
    assert Asked(since="2025-08-16", until="2025-08-16").until == Asked(since="2025-08-16").since + DAY_US
    with pytest.raises(ValidationError, match="is no ISO 8601"):
        Asked(moment=5)
