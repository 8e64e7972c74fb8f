"""Numbers and names in people's form, for embeds, charts, pages and the terminal alike."""

from __future__ import annotations

import math
import re

from cogmeter.times import utc

NOTHING = "\N{EN DASH}"  # where there is no figure
ELLIPSIS = "…"
NO_CHANGE_BELOW = 0.005  # a change of less than half a percent is none
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\s]+")


def duration(duration_us: float | None) -> str:
    """A duration in microseconds: ``850 µs``, ``145 ms``, ``1.2 s``, ``2 min 5 s``, ``3 h 12 min``, ``2 d 4 h``."""
    if duration_us is None or not math.isfinite(duration_us):
        return NOTHING
    if duration_us < 0:
        return f"-{duration(-duration_us)}"
    if duration_us == 0:
        return "0 ms"
    # Each border lies where the smaller unit's figure would round up to one of the larger.
    for unit, size_us, below_us in (("µs", 1, 999.5), ("ms", 1e3, 999.5e3), ("s", 1e6, 59.5e6)):
        if duration_us < below_us:
            return f"{short(duration_us / size_us)} {unit}"
    return _long(round(duration_us / 1e6))


def _long(seconds: int) -> str:
    """Whole seconds from a minute on, as the two largest units."""
    if seconds < 3600:
        return _pair(seconds, 60, "min", 1, "s")
    minutes = (seconds + 30) // 60
    if minutes < 24 * 60:
        return _pair(minutes, 60, "h", 1, "min")
    return _pair((minutes + 30) // 60, 24, "d", 1, "h")


def _pair(amount: int, per_large: int, large: str, per_small: int, small: str) -> str:
    rest = amount % per_large // per_small
    return f"{amount // per_large:,} {large}" + (f" {rest} {small}" if rest else "")


def short(number: float) -> str:
    """A number of at least 0 with two digits that matter below ten and none after the point from there on."""
    if 0 < number < 0.1:
        return f"{number:.1g}" if number >= 0.005 else "<0.01"
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:,.0f}"


def count(number: float) -> str:
    """An amount, short: ``945``, ``12.4 k``, ``1.2 M``, ``3.1 G``."""
    if number < 0:
        return f"-{count(-number)}"
    if number < 999.5:
        return short(number)
    for unit, size, below in (("k", 1e3, 999.95e3), ("M", 1e6, 999.95e6), ("G", 1e9, math.inf)):
        if number < below:
            return f"{number / size:,.1f}".removesuffix(".0") + f" {unit}"
    return NOTHING


def exact(number: int) -> str:
    """An amount to the last digit: ``1,247``."""
    return f"{number:,}"


def percent(share: float) -> str:
    """A share of 0 to 1: ``97.2%``; ``100%`` and ``0%`` only when it is all or nothing."""
    if share <= 0 or share >= 1:
        return "0%" if share <= 0 else "100%"
    value = share * 100
    if 0.05 <= value < 99.95:
        return f"{value:.1f}".removesuffix(".0") + "%"
    if 0.01 <= value <= 99.99:
        return f"{value:.2f}%"
    return "<0.01%" if value < 1 else ">99.99%"


def size(amount: float) -> str:
    """Bytes: ``512 MB``, ``1.4 GB``."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= one:
            return f"{short(amount / one)} {unit}"
    return f"{amount:.0f} B"


def dropped(operations: int, setting: str) -> str:
    """A line about operations that were lost because the buffer was full; ``setting`` bounds it."""
    noun = "operation was" if operations == 1 else "operations were"
    return f"{exact(operations)} {noun} dropped in this period because the buffer was full. Raise {setting}."


def rate(per_minute: float) -> str:
    """Operations a minute: ``20 a minute``; where that is less than one, ``3 an hour`` or ``2 a day``."""
    if per_minute == 0 or per_minute >= 0.95:
        return f"{count(per_minute)} a minute"
    if per_minute * 60 >= 0.95:
        return f"{count(per_minute * 60)} an hour"
    return f"{count(per_minute * 1440)} a day"


def change(now: float | None, before: float | None, *, more: str = "more", less: str = "less") -> str:
    """A figure against the period before: ``▲ 12% more``, ``▼ 3% less``, ``no change``.

    The words say what the arrows show, for those who listen. They can be ``slower`` and ``faster``.
    """
    if now is None or before is None or (not before and not now):
        return "nothing to compare with"
    if not before:
        return f"▲ {more}, from 0"
    ratio = now / before - 1
    if abs(ratio) < NO_CHANGE_BELOW:
        return "no change"
    if ratio >= 9.995:
        return f"▲ over {int(min(now / before, 1e6)):,} times {more}"
    # A figure that fell to almost nothing did not fall by all of it.
    rounded = round(abs(ratio) * 100) if not -1 < ratio < -0.99 else 99
    return f"▲ {rounded}% {more}" if ratio > 0 else f"▼ {rounded}% {less}"


def change_of_share(now: float, before: float | None, *, more: str = "higher", less: str = "lower") -> str:
    """A share against the period before, in percentage points: ``▲ 1.2 points higher``."""
    if before is None:
        return "nothing to compare with"
    points = (now - before) * 100
    if abs(points) < 0.05:
        return "no change"
    amount = f"{abs(points):.1f}".removesuffix(".0")
    points_word = "point" if amount == "1" else "points"
    return f"▲ {amount} {points_word} {more}" if points > 0 else f"▼ {amount} {points_word} {less}"


def clean(text: str) -> str:
    """One printable line: control characters, line ends and broken surrogates become single spaces."""
    return _UNPRINTABLE.sub(" ", text).strip()


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, the last one an ellipsis when something was left out."""
    if len(text) <= limit:
        return text
    return text[: max(limit - 1, 0)].rstrip() + ELLIPSIS if limit > 0 else ""


def clock_time(at_us: int, *, with_date: bool = False) -> str:
    """A time of day in UTC, ``10:30``, or with its day, ``17 Aug 10:30``."""
    moment = utc(at_us)
    return f"{moment.day} {moment:%b %H:%M}" if with_date else f"{moment:%H:%M}"


def day(at_us: int) -> str:
    """A day in UTC, ``17 Aug``."""
    moment = utc(at_us)
    return f"{moment.day} {moment:%b}"
