"""ISO 8601 times in requests and responses; inside they are UTC microseconds since 1970.

pydantic's own datetime also accepts numbers. The types here accept only text, in the form that their JSON Schema
describes: ``2025-08-16``, or ``2025-08-16T10:30:00`` with ``Z``, an offset, or nothing for UTC.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from cogmeter.times import MAX_US, MILLISECOND_US, SECOND_US, parse_iso, us_of, utc
from cogmeter.times import iso as full_iso
from cogmeter_storage.model import DAY_US

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


def moment_us(value: object) -> int:
    """Return the time of this text; a plain day is its midnight in UTC. A time before 1970 UTC becomes 1970.

    Raises:
        PydanticCustomError: the value is not text of that form.
    """
    if not isinstance(value, str) or not _ISO.fullmatch(value):
        hint = "; write + as %2B in an address" if isinstance(value, str) and re.search(r" \d\d:\d\d$", value) else ""
        raise PydanticCustomError(
            "iso_time", "is no ISO 8601 date or time of the years 1970 to 9999, like {example}{hint}",
            {"example": EXAMPLE, "hint": hint},
        )  # fmt: skip
    return min(max(parse_iso(value), 0), MAX_US)


def end_us(value: object) -> int:
    """Return the exclusive end of a range that ends with this text; a plain day belongs to the range.

    Raises:
        PydanticCustomError: as ``moment_us``.
    """
    at_us = moment_us(value)
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


def _iso_of(value: datetime) -> str:
    return iso(us_of(value))


def _time_schema(text: str) -> Any:
    return WithJsonSchema(
        {"type": "string", "pattern": f"^{_ISO.pattern}$", "description": text, "examples": EXAMPLE.split(" or ")}
    )


at = utc  # under its name in the models

# Fields of requests, as UTC microseconds.
IsoTime = Annotated[int, BeforeValidator(moment_us), _time_schema("An ISO 8601 date or time, UTC without an offset")]
Since = Annotated[int, BeforeValidator(moment_us), _time_schema("From then on: an ISO 8601 date or time, UTC")]
Until = Annotated[
    int, BeforeValidator(end_us), _time_schema("Up to then: an ISO 8601 date (which includes that day) or time, UTC")
]

# A field of responses: a datetime in Python, ``2025-08-17T10:30:00Z`` in JSON.
Instant = Annotated[
    datetime,
    PlainSerializer(_iso_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
