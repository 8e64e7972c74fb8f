"""Times and durations as text: ISO 8601 in UTC for times, ``30m`` or ``1h 30m`` for durations.

Inside, a time is a number of microseconds since 1970 UTC.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

MILLISECOND_US: Final = 1_000
SECOND_US: Final = 1_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
MIN_US: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_US: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND  # the last moment of the year 9999

UNITS_MS: Final = {  # by the first letters of a unit
    "ms": 1,
    "milli": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "mo": 2_592_000_000,  # a month has 30 days
}
_NUMBER: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_PLAIN: Final = re.compile(_NUMBER, re.IGNORECASE)
_PART: Final = re.compile(rf"({_NUMBER})\s*(ms|milli|mo|[smhdw])[a-z]*\s*", re.IGNORECASE)


def utc(at_us: int) -> datetime:
    """Return a time as a datetime in UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def us_of(value: datetime) -> int:
    """Return the microseconds since 1970 UTC of a datetime; one without an offset is UTC."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return (aware - EPOCH) // MICROSECOND


def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name, such as ``Europe/Berlin``; ``UTC`` needs no time zone data.

    Raises:
        ValueError: there is no such zone on this machine.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found; not a name; a folder of zones
        raise ValueError(f"{name} is not a time zone of this machine") from None


def iso(at_us: int, *, unit_us: int = 1) -> str:
    """Return a time in ISO 8601: ``2025-08-17T10:30:00Z``, with three or six decimals where it has a fraction.

    What is finer than ``unit_us`` is cut off. A time outside the years 1 to 9999 becomes the nearest one inside.
    """
    clamped_us = min(max(at_us, MIN_US), MAX_US)
    seconds, us = divmod(clamped_us - clamped_us % unit_us, SECOND_US)
    return _second(seconds) + (f".{us:06}Z" if us % 1000 else f".{us // 1000:03}Z" if us else "Z")


@lru_cache(maxsize=1024)  # exported operations of one second follow each other
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")[:19]  # without the offset


def parse_iso(text: str) -> int:
    """Return the time of an ISO 8601 text; without an offset it is UTC, and a plain day is its midnight.

    Raises:
        ValueError: the text is not ISO 8601.
    """
    return us_of(datetime.fromisoformat(text))


def parse_duration(text: str, unit: str = "s", *, plain: bool = False) -> float | None:
    """Return a duration such as ``30m``, ``1.5 hours`` or ``1h 30m`` as a number of ``unit``; None if it is not one.

    A unit may be abbreviated to any length: ``m``, ``min``, ``minutes``. ``plain`` also accepts a number without a
    unit, which is then a number of ``unit``.
    """
    words = text.strip()
    if plain and _PLAIN.fullmatch(words):
        return _finite(float(words))
    position, total = 0, 0.0
    while position < len(words):
        part = _PART.match(words, position)
        if part is None:
            return None
        total += float(part[1]) * UNITS_MS[part[2].lower()] / UNITS_MS[unit]
        position = part.end()
    return _finite(total) if words else None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
