"""Numbers and names as text, for embeds, charts, pages and the terminal."""

from __future__ import annotations

import math
import re
from datetime import UTC
from typing import TYPE_CHECKING, Protocol

from cogmeter.recording.service_names import COMMANDS, COMPONENTS, REPLIES
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import tzinfo

NOTHING = "\N{EN DASH}"  # in place of an unknown number
ELLIPSIS = "…"
SAME = "no change"
LIVE_WINDOW = "this minute and the last one"  # of live figures, which are of whole minutes
NO_CHANGE_BELOW = 0.005  # a change of less than half a percent is none
RANKED = {COMMANDS: "command", COMPONENTS: "component", REPLIES: "reply listener"}  # what an operation of each is
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Characters that are invisible or turn the text behind them around. Joiners stay: emoji and scripts need them.
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\s]+")


def duration(duration_us: float | None) -> str:
    """Format microseconds: ``850 µs``, ``145 ms``, ``1.2 s``, ``2 min 5 s``, ``3 h 12 min``, ``2 d 4 h``."""
    if duration_us is None or not math.isfinite(duration_us):
        return NOTHING
    if duration_us < 0:
        return f"-{duration(-duration_us)}"
    if duration_us == 0:
        return "0 ms"
    # Each border is where the number in the smaller unit would round up to one in the larger unit.
    for unit, size_us, below_us in (("µs", 1, 999.5), ("ms", 1e3, 999.5e3), ("s", 1e6, 59.5e6)):
        if duration_us < below_us:
            return f"{short(duration_us / size_us)} {unit}"
    return _long(round(duration_us / 1e6))


def _long(seconds: int) -> str:
    """Format at least 60 whole seconds with the two largest units."""
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
    """Format a number of at least 0 with one decimal below ten and none from there on."""
    if 0 < number < 0.1:
        return f"{number:.1g}" if number >= 0.005 else "<0.01"
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:,.0f}"


def count(number: float) -> str:
    """Format an amount briefly, for the axes of charts: ``945``, ``12.4 k``, ``1.2 M``, ``3.1 G``."""
    if number < 0:
        return f"-{count(-number)}"
    if number < 999.5:
        return short(number)
    for unit, size, below in (("k", 1e3, 999.95e3), ("M", 1e6, 999.95e6), ("G", 1e9, math.inf)):
        if number < below:
            return f"{number / size:,.1f}".removesuffix(".0") + f" {unit}"
    return NOTHING


def exact(number: float) -> str:
    """Format an amount as a whole number with all digits: ``1,247``. Sums of tokens are floats."""
    return f"{number:,.0f}"


def counted(number: int, noun: str) -> str:
    """Format a number of things: ``1 alert``, ``1,247 alerts``."""
    return f"{exact(number)} {noun}" + ("" if number == 1 else "s")


def part(number: int, total: int, noun: str) -> str:
    """Format a part of a number of things: ``0 of 1 shard``, ``3 of 1,247 operations``."""
    return f"{exact(number)} of {counted(total, noun)}"


def verb(number: int, plural: str) -> str:
    """Return a verb in the form that goes with a number of things: ``1 job runs``, ``2 jobs run``."""
    return f"{plural}{'es' if plural.endswith('s') else 's'}" if number == 1 else plural


def are(number: int) -> str:
    """Return the verb that goes with a number of things: ``1 of 3 shards is``, ``2 of 3 shards are``."""
    return "is" if number == 1 else "are"


def waiting(number: int, noun: str) -> str:
    """Format how many things wait: ``1 operation waits``, ``1,247 operations wait``."""
    return f"{counted(number, noun)} {verb(number, 'wait')}"


class Ranked(Protocol):
    """An operation that is ranked by its own name, such as ``query.records.RankedOperation``."""

    @property
    def service(self) -> str:
        """One of ``service_names.BY_OPERATION``."""
        ...

    @property
    def operation(self) -> str:
        """Its name."""
        ...


def active(commands: Collection[Ranked], services: int) -> str:
    """Format what had operations: ``12 commands, 2 components, 3 services``; ``3 active services`` without commands."""
    if not commands:
        return counted(services, "active service")
    # A name in parentheses is that of operations without a known name.
    listed = [ranked.service for ranked in commands if not ranked.operation.startswith("(")]
    parts = [counted(listed.count(service), noun) for service, noun in RANKED.items() if service in listed]
    return ", ".join([*parts, counted(services, "service")] if services or not parts else parts)


def ranking_title(commands: Collection[Ranked], *, services: bool = False) -> str:
    """Return what a ranking lists: ``Commands``, ``Commands and Replies``, ``Commands, Replies and Services``."""
    kinds = {ranked.service for ranked in commands}
    listed = (("Commands", bool(kinds - {REPLIES})), ("Replies", REPLIES in kinds), ("Services", services or not kinds))
    *others, last = (name for name, present in listed if present)
    return f"{', '.join(others)} and {last}" if others else last


def percent(share: float) -> str:
    """Format a share of 0 to 1: ``97.2%``; ``100%`` and ``0%`` only for exactly all and nothing."""
    if share <= 0 or share >= 1:
        return "0%" if share <= 0 else "100%"
    value = share * 100
    if 0.05 <= value < 99.95:
        return f"{value:.1f}".removesuffix(".0") + "%"
    if 0.01 <= value <= 99.99:
        return f"{value:.2f}%"
    return "<0.01%" if value < 1 else ">99.99%"


def heat_map(heat: Sequence[Sequence[int]], shades: str) -> list[str]:
    """Format operations by weekday (Monday first) and hour: a line for each day with any, a character for each hour.

    The first of ``shades`` is for none, the others are for equal parts up to the busiest hour.
    """
    most = max(map(max, heat)) or 1
    head = "    " + "".join(f"{hour:02}".ljust(6) for hour in range(0, 24, 6)).rstrip()
    days = zip(WEEKDAYS, heat, strict=True)
    return [
        head,
        *(
            f"{day} {''.join(shades[-(-count * (len(shades) - 1) // most)] for count in row)}"
            for day, row in days
            if any(row)
        ),
    ]


def size(amount: float) -> str:
    """Format bytes: ``512 MB``, ``77.7 GB``."""
    for unit, unit_bytes in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= unit_bytes:
            value = amount / unit_bytes
            number = f"{value:.1f}".removesuffix(".0") if value < 99.95 else f"{value:,.0f}"
            return f"{number} {unit}"
    return f"{amount:.0f} B"


def dropped(operations: int, setting: str) -> str:
    """Return a line about operations that were lost because the buffer was full; ``setting`` is its limit."""
    noun = "operation was" if operations == 1 else "operations were"
    return f"{exact(operations)} {noun} dropped in this period because the buffer was full. Raise {setting}."


def rate(per_minute: float, other: float | None = None) -> str:
    """Format operations per minute: ``20/min``; below one per minute ``3/h`` or ``2/day``.

    ``other`` is a rate in the same row: both have the unit of the lower one that is not 0.
    """
    lowest = min((one for one in (per_minute, other) if one), default=0.0)
    if lowest == 0 or lowest >= 0.95:
        return f"{short(per_minute)}/min"
    if lowest * 60 >= 0.95:
        return f"{short(per_minute * 60)}/h"
    return f"{short(per_minute * 1440)}/day"


def change(now: float | None, before: float | None, *, previous: str = "") -> str:
    """Compare a number with the previous period: ``▲ 12% vs previous 24 h``, ``no change``, ``New``.

    ``previous`` is the length of the periods; without it the text ends after the percentage.
    """
    if now is None or before is None or (not before and not now):
        return "nothing to compare with"
    if not before:
        return "New"
    ratio = now / before - 1
    if abs(ratio) < NO_CHANGE_BELOW:
        return SAME
    if ratio >= 9.995:
        return f"▲ {round(min(now / before, 1e6)):,}x{_versus(previous)}"
    # 100% less is only for a number that fell to 0.
    rounded = round(abs(ratio) * 100) if not -1 < ratio < -0.99 else 99
    return f"{'▲' if ratio > 0 else '▼'} {rounded}%{_versus(previous)}"


def change_of_share(now: float, before: float | None, *, previous: str = "") -> str:
    """Compare a share with the previous period in percentage points: ``▲ 1.2 points vs previous 24 h``.

    The difference is that of the shares as ``percent`` shows them: from 8.7% to 0.7% it is 8 points.
    """
    if before is None:
        return "nothing to compare with"
    points = _shown(now) - _shown(before)
    if abs(points) < 0.05:
        return SAME
    amount = f"{abs(points):.1f}".removesuffix(".0")
    unit = "point" if amount == "1" else "points"
    return f"{'▲' if points > 0 else '▼'} {amount} {unit}{_versus(previous)}"


def _shown(share: float) -> float:
    """Return the percentage that ``percent`` shows."""
    return float(percent(share).strip("<>%"))


def _versus(previous: str) -> str:
    return f" vs previous {previous}" if previous else ""


def length(length_us: int) -> str:
    """Format the length of a period in one unit where possible: ``45 min``, ``24 h``, ``7 days``."""
    minutes = length_us // 60_000_000
    if minutes >= 2 * 1440:
        return f"{minutes // 1440} days"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def last(length_s: float) -> str:
    """Format a length after "the last": ``minute``, ``5 min``, ``24 h``."""
    return "minute" if length_s == 60 else duration(length_s * 1e6)


def clean(text: str) -> str:
    """Return one printable line: control characters, line ends and broken surrogates become single spaces.

    Invisible characters and those that change the direction of text are removed.
    """
    return _UNPRINTABLE.sub(" ", _INVISIBLE.sub("", text)).strip()


def sentence(text: str) -> str:
    """Return the text with a capital first letter; ``str.capitalize`` would also change ``UTC`` and names."""
    return text[:1].upper() + text[1:]


def cut(text: str, limit: int) -> str:
    """Return at most ``limit`` characters; an ellipsis replaces what was cut off."""
    if len(text) <= limit:
        return text
    return text[: max(limit - 1, 0)].rstrip() + ELLIPSIS if limit > 0 else ""


def clock_time(at_us: int, *, with_date: bool = False, zone: tzinfo = UTC) -> str:
    """Format a time of day, ``10:30``, or with its date, ``17 Aug 10:30``."""
    moment = utc(at_us).astimezone(zone)
    return f"{moment.day} {moment:%b %H:%M}" if with_date else f"{moment:%H:%M}"


def day(at_us: int, zone: tzinfo = UTC) -> str:
    """Format a day, ``17 Aug``."""
    moment = utc(at_us).astimezone(zone)
    return f"{moment.day} {moment:%b}"
