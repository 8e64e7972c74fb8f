"""ISO 8601 times at the border: text outside, UTC microseconds since 1970 inside.

pydantic's own datetime takes numbers for times; the types here take text alone, in exactly the form that their JSON
Schema says: ``2025-08-16``, or ``2025-08-16T10:30:00`` with ``Z``, an offset, or nothing for UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from cogmeter_storage.model import DAY_US

SECOND_US: Final = 1_000_000
EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - offsets are taken off as numbers, which cannot run over
MAX_US: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_999) - EPOCH) // timedelta(microseconds=1)  # noqa: DTZ001 - UTC

# Every day from 1970 to 9999 that there is, and no other: what the schema says is what is taken.
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
    """The time of this text; a plain day is its midnight in UTC.

    Raises:
        PydanticCustomError: it is no text of the wanted form (a number is none). Before 1970 UTC counts as 1970.
    """
    if not isinstance(value, str) or not _ISO.fullmatch(value):
        hint = "; write + as %2B in an address" if isinstance(value, str) and re.search(r" \d\d:\d\d$", value) else ""
        raise PydanticCustomError(
            "iso_time", "is no ISO 8601 date or time of the years 1970 to 9999, like {example}{hint}",
            {"example": EXAMPLE, "hint": hint},
        )  # fmt: skip
    read = datetime.fromisoformat(value)
    offset = read.utcoffset() or timedelta()
    at_us = (read.replace(tzinfo=None) - EPOCH - offset) // timedelta(microseconds=1)
    return min(max(at_us, 0), MAX_US)


def end_us(value: object) -> int:
    """The exclusive end that this text says: a plain day belongs to the range as a whole.

    Raises:
        PydanticCustomError: as ``moment_us``.
    """
    at_us = moment_us(value)
    plain_day = isinstance(value, str) and "T" not in value
    return min(at_us + DAY_US, MAX_US) if plain_day else at_us


def iso(at_us: int) -> str:
    """The time as ``2025-08-17T10:30:00Z``; with milliseconds where it has some."""
    seconds, rest_us = divmod(at_us, SECOND_US)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest_us // 1_000:03d}Z" if rest_us >= 1_000 else f"{text}Z"


def iso_end(until_us: int) -> str:
    """The exclusive end of a range for people: midnight as the last second of the day before, as the guide has it."""
    return iso(until_us - SECOND_US) if until_us and until_us % DAY_US == 0 else iso(until_us)


def at(at_us: int) -> datetime:
    """The time as a datetime in UTC."""
    return datetime.fromtimestamp(at_us // SECOND_US, UTC) + timedelta(microseconds=at_us % SECOND_US)


def _iso_of(value: datetime) -> str:
    return iso((value.astimezone(UTC).replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1))


def _asked(text: str) -> Any:
    return WithJsonSchema(
        {"type": "string", "pattern": f"^{_ISO.pattern}$", "description": text, "examples": EXAMPLE.split(" or ")}
    )


# What is asked, as UTC microseconds.
IsoTime = Annotated[int, BeforeValidator(moment_us), _asked("An ISO 8601 date or time, UTC where it names no offset")]
Since = Annotated[int, BeforeValidator(moment_us), _asked("From then on: an ISO 8601 date or time, UTC")]
Until = Annotated[
    int, BeforeValidator(end_us), _asked("Up to then: an ISO 8601 date (which includes that day) or time, UTC")
]

# What is answered: a datetime for Python, ``2025-08-17T10:30:00Z`` in JSON.
Instant = Annotated[
    datetime,
    PlainSerializer(_iso_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
