"""Stretches of time as they are asked for: by two ends, by one, or by none."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeAlias

from cogmeter.query.records import Period, Range
from cogmeter.schemas.times import end_us, iso, iso_end, moment_us

if TYPE_CHECKING:
    from collections.abc import Callable

# A time as Python code gives it; a datetime without an offset is UTC, text is ISO 8601.
Moment: TypeAlias = datetime | date | str


def asked(since_us: int | None, until_us: int | None, now_us: int, default: Period = Period.DAY) -> Range:
    """The stretch as it was asked; its end may lie ahead. Without an end it ends now.

    Without a beginning it is as long as the default period.
    """
    if since_us is None and until_us is None:
        return default.range_at(now_us)
    until = now_us if until_us is None else until_us
    since = max(min(until, now_us) - default.length_us, 0) if since_us is None else since_us
    return Range(since, until, f"{iso(since)} to {iso_end(until)}")


def passed(span: Range, now_us: int) -> Range:
    """The part of it that has passed, which is what figures are over."""
    return Range(span.since_us, max(min(span.until_us, now_us), span.since_us + 1), span.label)


def between(since: Moment | None, until: Moment | None, now_us: int, default: Period = Period.DAY) -> Range:
    """The part that has passed of what Python code asks for; ``until`` as a plain day includes that day.

    Raises:
        ValueError: a time cannot be read, or ``since`` is not before ``until`` and now; the text says which.
    """
    since_us, until_us = _read("since", since, moment_us), _read("until", until, end_us)
    span = asked(since_us, until_us, now_us, default)
    if not span.since_us < min(span.until_us, now_us):
        raise ValueError(f"since={iso(span.since_us)} is not before until={iso_end(span.until_us)} and now")
    return passed(span, now_us)


def _read(name: str, value: Moment | None, read: Callable[[object], int]) -> int | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else _iso(value)
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{name}={value!s} {error}") from None


def _iso(value: date) -> str:
    if not isinstance(value, datetime):
        return value.isoformat()
    return (value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)).isoformat()
