"""Parses ``--since``, ``--until`` and ``--period``."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticCustomError

from cogmeter.query.records import Period, Range
from cogmeter.redaction import quoted, shown
from cogmeter.schemas.times import parse_end, parse_time
from cogmeter.times import SECOND_US, parse_duration, us_of, utc
from cogmeter_bot.errors import RequestError
from cogmeter_bot.zones import moment_us, shown_at, zone_label

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES: Final = "2025-08-16, 2025-08-16T10:30:00Z, 90m, 6h, 2d, today or yesterday"
ALL_DATA: Final = "everything"  # label


def parse_range(
    since: str | None, until: str | None, period: str | None, *, now_us: int, default: str | None = Period.DAY.key
) -> Range:
    """Return the requested range, which ends now at the latest.

    Without a request, return the ``default`` period; if that is None, the range of all stored data.

    Raises:
        RequestError: a time cannot be parsed, or the options contradict each other.
    """
    key = period or default
    if since is None and until is None:
        return Range(0, now_us, ALL_DATA) if key is None else _period(key).range_at(now_us)
    if since is not None and until is not None and period is not None:
        raise RequestError("--period is not allowed with both --since and --until. Remove one of the three.")
    length_us = _period(key or Period.DAY.key).length_us
    until_us = None if until is None else _parse("--until", until, parse_end, now_us)
    since_us = None if since is None else _parse("--since", since, parse_time, now_us)
    if since_us is not None and since_us >= now_us:
        raise RequestError(f"--since {shown(since)} is in the future. It is now {_wall(now_us)} {zone_label()}.")
    if since_us is None:
        assert until_us is not None
        since_us = max(min(until_us, now_us) - length_us, 0)
    elif until_us is None:
        until_us = now_us if period is None else since_us + length_us
    if since_us >= until_us:
        raise RequestError(f"--since {shown(since)} is not before --until {shown(until)}. Swap them.")
    label = f"{_wall(since_us)} to {_wall(until_us, end=True)}"
    # As in the guide's headings, days in UTC are dates only.
    zone = "" if zone_label() == "UTC" and ":" not in label else f" {zone_label()}"
    return Range(since_us, min(until_us, now_us), label + zone)


def _period(key: str) -> Period:
    return next(period for period in Period if period.key == key)


def _parse(option: str, text: str, parser: Callable[[object], int], now_us: int) -> int:
    """Return the time of an option: ISO 8601, an age such as ``6h``, ``today`` or ``yesterday``."""
    value = text.strip()
    age_s = parse_duration(value)
    if age_s is not None:
        return max(now_us - int(age_s * SECOND_US), 0)
    if value in {"today", "yesterday"}:
        day = shown_at(utc(now_us)).date() - timedelta(days=value == "yesterday")
        value = day.isoformat()
    value = value.replace(" ", "T", 1)
    try:
        at = utc(parser(value))
    except PydanticCustomError:
        raise RequestError(f"{option} {quoted(text, strict=True)} is not a valid time. Use {EXAMPLES}.") from None
    # The parser reads a time without an offset as UTC.
    has_offset = datetime.fromisoformat(value).tzinfo is not None
    return us_of(at) if has_offset else max(moment_us(at.replace(tzinfo=None)), 0)


def _wall(at_us: int, *, end: bool = False) -> str:
    """Return a time for a heading; midnight is only a date, and as an end the day before it."""
    at = shown_at(utc(at_us))
    if at.time() == time.min:
        return f"{at - timedelta(seconds=end):%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M}"
