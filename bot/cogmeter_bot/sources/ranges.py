"""Reads ``--since``, ``--until`` and ``--period`` into a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticCustomError

from cogmeter.query.records import Period, Range
from cogmeter.redaction import quoted, shown
from cogmeter.schemas.times import end_us, iso, iso_end, moment_us
from cogmeter.times import SECOND_US, parse_duration, parse_iso, utc
from cogmeter_bot.sources.base import RequestError
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES: Final = "2025-08-16, 2025-08-16T10:30:00Z, 90m, 6h, 2d, today or yesterday"
EVERYTHING: Final = "everything"  # the label of the range of all that is kept


def span_of(
    since: str | None, until: str | None, period: str | None, *, now_us: int, default: Period | None = Period.DAY
) -> Range:
    """The range that was asked for, up to now at most; without a default and without a question, all that is kept.

    Raises:
        AskedError: one of them cannot be read, or they contradict each other.
    """
    if since is None and until is None:
        chosen = default if period is None else _period(period)
        return Range(0, now_us, EVERYTHING) if chosen is None else chosen.range_at(now_us)
    if since is not None and until is not None and period is not None:
        raise RequestError("--period with both --since and --until says the range twice; leave one of the three out.")
    length_us = (_period(period) if period else default or Period.DAY).length_us
    given_until = None if until is None else _read("--until", until, end_us, now_us)
    given_since = None if since is None else _read("--since", since, moment_us, now_us)
    if given_since is not None and given_since >= now_us:
        raise RequestError(f"--since {shown(since)} has not come yet; it is {iso(now_us)} (times are UTC).")
    if given_since is None:
        assert given_until is not None
        given_since = max(min(given_until, now_us) - length_us, 0)
    elif given_until is None:
        given_until = now_us if period is None else given_since + length_us
    if given_since >= given_until:
        raise RequestError(f"--since {shown(since)} is not before --until {shown(until)}; swap them.")
    return Range(given_since, min(given_until, now_us), f"{_day(given_since)} to {_day_end(given_until)}")


def _period(key: str) -> Period:
    return next(one for one in Period if one.key == key)


def _read(option: str, text: str, reader: Callable[[object], int], now_us: int) -> int:
    """The time of an option; besides ISO 8601, how long ago it was and two words for days."""
    plain = text.strip()
    ago_s = parse_duration(plain)
    if ago_s is not None:
        return max(now_us - int(ago_s * SECOND_US), 0)
    if plain in {"today", "yesterday"}:
        plain = iso(now_us - (DAY_US if plain == "yesterday" else 0))[:10]
    try:
        return reader(plain.replace(" ", "T", 1))
    except PydanticCustomError:
        raise RequestError(f"{option} {quoted(text, strict=True)} is not a valid time. Use {EXAMPLES}.") from None


def _day(at_us: int) -> str:
    return _words(iso(at_us))


def _day_end(at_us: int) -> str:
    return _words(iso_end(at_us).replace("T23:59:59Z", "T00:00:00Z"))


def _words(text: str) -> str:
    """A time for people: a plain day where it is a midnight."""
    moment = utc(parse_iso(text))
    return f"{moment:%Y-%m-%d}" if text.endswith("T00:00:00Z") else f"{moment:%Y-%m-%d %H:%M}"
