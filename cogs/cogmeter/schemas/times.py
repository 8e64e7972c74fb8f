"""Times and ranges of time: ISO 8601 text outside, UTC microseconds since 1970 inside.

pydantic's own datetime accepts numbers as times. The types here accept only text in the form of their JSON Schema:
``2025-08-16``, or ``2025-08-16T10:30:00`` followed by ``Z``, an offset, or nothing for UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from cogmeter.query.records import Period, Range
from cogmeter.times import MAX_US, MILLISECOND_US, SECOND_US, parse_iso, us_of, utc
from cogmeter.times import iso as full_iso
from cogmeter_storage.model import DAY_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable

# Every valid day from 1970 to 9999 and no other, so that the schema's pattern accepts exactly what the parser does.
_YEAR = "(?:19[7-9][0-9]|[2-9][0-9]{3})"
_LEAP = "(?:19(?:7[26]|8[048]|9[26])|[2-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[3579][26])00)"
_DAY = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"T{_HOUR_MINUTE}(?::[0-5][0-9](?:\.[0-9]{{1,6}})?)?(?:Z|[+-]{_HOUR_MINUTE})?"
_ISO: Final = re.compile(f"{_DAY}(?:{_TIME})?")

EXAMPLE: Final = "2025-08-16 or 2025-08-16T10:30:00Z"


def parse_time(value: object) -> int:
    """Parse a time; a day without a time is its midnight in UTC. An offset that leads before 1970 UTC counts as 1970.

    Raises:
        PydanticCustomError: it is not text in this form; a number is not accepted either.
    """
    if not isinstance(value, str) or not _ISO.fullmatch(value):
        hint = ". Write + as %2B in a URL" if isinstance(value, str) and re.search(r" \d\d:\d\d$", value) else ""
        raise PydanticCustomError(
            "iso_time", "is not a valid time. Use an ISO 8601 date or time from 1970 on, for example {example}{hint}",
            {"example": EXAMPLE, "hint": hint},
        )  # fmt: skip
    return min(max(parse_iso(value), 0), MAX_US)


def parse_end(value: object) -> int:
    """Parse the exclusive end of a range; a day without a time is included.

    Raises:
        PydanticCustomError: see ``parse_time``.
    """
    at_us = parse_time(value)
    plain_day = isinstance(value, str) and "T" not in value
    return min(at_us + DAY_US, MAX_US) if plain_day else at_us


def iso(at_us: int) -> str:
    """Return the time as ``2025-08-17T10:30:00Z``, with milliseconds if it has some."""
    return full_iso(at_us, unit_us=MILLISECOND_US)


def last_us(until_us: int) -> int:
    """Return the end of a range as it is shown: midnight becomes the last second of the day before, as in the guide."""
    return until_us - SECOND_US if until_us and until_us % DAY_US == 0 else until_us


def iso_end(until_us: int) -> str:
    """Return the exclusive end of a range as it is shown."""
    return iso(last_us(until_us))


def utc_or_none(at_us: int | None) -> datetime | None:
    """Convert microseconds since 1970 to a datetime in UTC; return None for None."""
    return None if at_us is None else utc(at_us)


def _iso_of(value: datetime) -> str:
    return iso(us_of(value))


def _described(text: str) -> Any:
    return WithJsonSchema(
        {"type": "string", "pattern": f"^{_ISO.pattern}$", "description": text, "examples": EXAMPLE.split(" or ")}
    )


# Times in requests, as UTC microseconds.
Since = Annotated[int, BeforeValidator(parse_time), _described("Start: an ISO 8601 date or time, UTC")]
Until = Annotated[
    int, BeforeValidator(parse_end), _described("End: an ISO 8601 date (that day is included) or time, UTC")
]

# A time in a response: a datetime in Python, ``2025-08-17T10:30:00Z`` in JSON.
Instant = Annotated[
    datetime,
    PlainSerializer(_iso_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]

# A time that Python code passes in; a datetime without an offset is UTC, text is ISO 8601.
Moment: TypeAlias = datetime | date | str


def requested_range(since_us: int | None, until_us: int | None, now_us: int, default: Period = Period.DAY) -> Range:
    """Return the range between two optional ends; its end may lie in the future. Without an end it ends now.

    Without a start it is as long as the default period. The range of a period that has just ended has its label: the
    command line sends the times of a period.
    """
    if since_us is None and until_us is None:
        return default.range_at(now_us)
    until = now_us if until_us is None else until_us
    since = max(min(until, now_us) - default.length_us, 0) if since_us is None else since_us
    ends_now = now_us - MINUTE_US < until < now_us + MINUTE_US
    period = next((one for one in Period if ends_now and one.range_at(until).since_us == since), None)
    return Range(since, until, f"{iso(since)} to {iso_end(until)}" if period is None else period.label)


def past_part(span: Range, now_us: int) -> Range:
    """Return the part of a range that has passed; figures cover only this part."""
    return Range(span.since_us, max(min(span.until_us, now_us), span.since_us + 1), span.label)


def between(since: Moment | None, until: Moment | None, now_us: int, default: Period = Period.DAY) -> Range:
    """Return the past part of the range that Python code passes in; a day as ``until`` is included.

    Raises:
        ValueError: a time is not valid, or ``since`` is not before ``until`` and now.
    """
    since_us, until_us = _parsed("since", since, parse_time), _parsed("until", until, parse_end)
    span = requested_range(since_us, until_us, now_us, default)
    if not span.since_us < min(span.until_us, now_us):
        raise ValueError(f"since={iso(span.since_us)} is not before until={iso_end(span.until_us)} and now")
    return past_part(span, now_us)


def _parsed(name: str, value: Moment | None, parse: Callable[[object], int]) -> int | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else _isoformat(value)
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}={value!s} {error}") from None


def _isoformat(value: date) -> str:
    if not isinstance(value, datetime):
        return value.isoformat()
    return (value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)).isoformat()
