"""The two periods of a comparison: around a marker, or as typed: ``24h``, ``2025-08-16..2025-08-17``, a marker's name.

Every surface passes the same two texts. A marker alone means the time before and after it; next to another period, it
means the time from it to the next change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.query.name_matching import suggest
from cogmeter.query.records import Range
from cogmeter.recording.markers import EXTENSION, MARK, START, VERSION
from cogmeter.redaction import quoted
from cogmeter.times import iso, parse_duration, parse_iso
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.query import Query

LONGEST_US: Final = 7 * DAY_US  # on either side of a marker
APART_US: Final = HOUR_US  # markers that are closer belong to the same change
CHANGES: Final = (VERSION, MARK)  # kinds of markers that begin and end a period
OFFERED: Final = (VERSION, MARK, EXTENSION, START)  # kinds that can be chosen, the most useful first
BY_ID: Final = "marker:"  # before the id of a marker; a length may follow: "marker:7:24h"
READ: Final = 1_000  # newest markers that are searched
SETTLED_US: Final = 30 * MINUTE_US  # after a change, before it is the one that is compared unless another is named
SHORTEST_US: Final = 5 * MINUTE_US
EXAMPLES: Final = "24h, 2025-08-16..2025-08-17, or the name of a marker"


class UnknownPeriodError(ValueError):
    """A text is no period; ``parameter`` is ``before`` or ``after``."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class PeriodOrderError(UnknownPeriodError):
    """Both texts are periods, but the first one is not before the second one."""


@dataclass(frozen=True, slots=True)
class ComparisonPeriods:
    """Two periods, the earlier one first, and the marker between them if it was chosen."""

    before: Range
    after: Range
    marker: Marker | None = None


async def comparison_periods(query: Query, before: str | None, after: str | None) -> ComparisonPeriods:
    """Return the periods that two texts mean.

    Without both, they are before and after the last version or deploy that is half an hour old; if there is none, the
    last 24 hours and the 7 days before. A single period is compared with the 7 days before it.

    Raises:
        UnknownPeriodError: a text is no period, or the first period is not before the second.
        StorageError: the store cannot be read.
    """
    markers, now_us = await offered_markers(query), query.now_us()
    stage = None if (after or "").strip() else _stage((before or "").strip(), markers)
    if stage is not None:
        return around(stage[0], markers, now_us, longest_us=stage[1])
    first = await _parsed("before", before, markers, now_us)
    second = await _parsed("after", after, markers, now_us)
    if first is None and second is None:
        changes = [marker for marker in markers if marker.kind in CHANGES]
        settled = [marker for marker in changes if marker.at_us <= now_us - SETTLED_US]
        second = next(reversed(settled or changes), DAY_US)
    chosen = [one for one in (first, second) if one is not None]
    if len(chosen) == 1 and isinstance(chosen[0], Marker):
        return around(chosen[0], markers, now_us)
    later = _later(second, first, markers, now_us)
    earlier = _earlier(first, later, markers)
    if later.until_us <= earlier.since_us or earlier.since_us >= earlier.until_us:
        raise PeriodOrderError("before", "The period before is not earlier than the period after. Swap them.")
    if earlier.until_us > later.since_us:
        end, begin = (iso(at_us)[:16].replace("T", " ") for at_us in (earlier.until_us, later.since_us))
        text = f"the period before ends at {end} UTC, the period after begins at {begin} UTC"
        raise PeriodOrderError("before", f"The periods overlap: {text}. Days include their end.")
    return ComparisonPeriods(earlier, later)


def around(
    marker: Marker, markers: Sequence[Marker], now_us: int, *, longest_us: int = LONGEST_US
) -> ComparisonPeriods:
    """Return the time before and after a marker, each up to the nearest other change; ``longest_us`` after it."""
    changes = [other.at_us for other in markers if other.kind in CHANGES]
    earlier = [at_us for at_us in changes if at_us < marker.at_us - APART_US]
    since_us = max([marker.at_us - LONGEST_US, *earlier, 0])
    until_us = min(_next_change(marker.at_us, markers), marker.at_us + longest_us, now_us)
    return ComparisonPeriods(
        Range(since_us // MINUTE_US * MINUTE_US, marker.at_us, f'before "{marker.name}"'),
        Range(marker.at_us, max(until_us, marker.at_us + 1), f'since "{marker.name}"'),
        marker,
    )


async def offered_markers(query: Query) -> list[Marker]:
    """Return the newest markers that can be chosen, in order of time.

    Raises:
        StorageError: the store cannot be read.
    """
    markers = await query.store.markers(0, query.now_us() + MINUTE_US, limit=READ)
    return [marker for marker in markers if marker.kind in OFFERED]


def reference(marker: int, length: str = "") -> str:
    """Return the text that means exactly the marker of this id, with at most this length after it: ``24h``."""
    return f"{BY_ID}{marker}:{length}" if length else f"{BY_ID}{marker}"


def _stage(typed: str, markers: Sequence[Marker]) -> tuple[Marker, int] | None:
    """Return the marker of ``marker:7:24h`` and the length; None if the text is not of this form."""
    number, _, length = typed.removeprefix(BY_ID).partition(":")
    length_s = parse_duration(length) if typed.startswith(BY_ID) and length else None
    if length_s is None or not SHORTEST_US <= length_s * 1e6 <= LONGEST_US:
        return None
    found = next((marker for marker in markers if str(marker.id) == number), None)
    return None if found is None else (found, int(length_s * 1e6))


async def _parsed(
    parameter: str, text: str | None, markers: Sequence[Marker], now_us: int
) -> Marker | Range | int | None:
    """Return a marker, a range of time, or the length of a period in microseconds; None without a text."""
    typed = (text or "").strip()
    if not typed:
        return None
    if typed.startswith(BY_ID):
        number, _, length = typed.removeprefix(BY_ID).partition(":")  # next to another period, a length has no effect
        known = not length or parse_duration(length) is not None
        named = [marker for marker in markers if known and str(marker.id) == number]
    else:
        named = [marker for marker in markers if marker.name.casefold() == typed.casefold()]
    if named:
        return named[-1]
    length_s = parse_duration(typed)
    if length_s is not None and SHORTEST_US <= length_s * 1e6 <= 366 * DAY_US:
        return int(length_s * 1e6)
    span = _range(typed, now_us)
    if span is not None:
        return span
    near = await suggest(typed, list(dict.fromkeys(marker.name for marker in reversed(markers))))
    hint = f" Did you mean {' or '.join(near)}?" if near else f" Use {EXAMPLES}."
    raise UnknownPeriodError(parameter, f"{quoted(typed)} is not a period, and no marker has this name.{hint}")


def _range(typed: str, now_us: int) -> Range | None:
    """Return the range of ``2025-08-16T10:00..2025-08-16T12:00``, or of a day; days include their end."""
    since, separator, until = typed.partition("..")
    try:
        since_us = max(parse_iso(since.strip()), 0)
        end = until.strip() if separator else since.strip()
        until_us = parse_iso(end) + (DAY_US if "T" not in end and ":" not in end else 0)
    except (ValueError, OverflowError):
        return None
    until_us = min(until_us, now_us)
    return Range(since_us, until_us, typed) if since_us < until_us else None


def _next_change(at_us: int, markers: Sequence[Marker]) -> int:
    later = (other.at_us for other in markers if other.kind in CHANGES and other.at_us > at_us + APART_US)
    return min(later, default=2**62)


def _since(marker: Marker, markers: Sequence[Marker], now_us: int) -> Range:
    """Return the time from a marker to the next change."""
    until_us = min(_next_change(marker.at_us, markers), marker.at_us + LONGEST_US, now_us)
    return Range(marker.at_us, max(until_us, marker.at_us + 1), f'since "{marker.name}"')


def _later(
    second: Marker | Range | int | None, first: Marker | Range | int | None, markers: Sequence[Marker], now_us: int
) -> Range:
    if isinstance(second, Marker):
        return _since(second, markers, now_us)
    if isinstance(second, Range):
        return second
    if second is None and isinstance(first, Range):  # the time after it, as long as it is
        length_us = first.until_us - first.since_us
        return Range(first.until_us, max(min(first.until_us + length_us, now_us), first.until_us + 1), "after it")
    length_us = second if isinstance(second, int) else first if isinstance(first, int) else DAY_US
    since_us = (now_us - length_us) // MINUTE_US * MINUTE_US
    return Range(since_us, now_us, f"last {_length(length_us)}")


def _earlier(first: Marker | Range | int | None, later: Range, markers: Sequence[Marker]) -> Range:
    if isinstance(first, Marker):
        return _since(first, markers, later.since_us)
    if isinstance(first, Range):
        return first
    length_us = first if first is not None else max(LONGEST_US, later.until_us - later.since_us)
    until_us, label = later.since_us, f"the {_length(length_us)} before"
    if length_us < DAY_US:  # whole days earlier, so that both have the same hours of the day
        longest_us = max(length_us, later.until_us - later.since_us)
        until_us = later.since_us - -(-longest_us // DAY_US) * DAY_US + length_us
        label = f"{_length(length_us)} at the same time of day before"
    return Range(max(until_us - length_us, 0), until_us, label)


def _length(length_us: int) -> str:
    minutes = round(length_us / MINUTE_US)
    if minutes >= 2 * 1440 and minutes % 1440 == 0:
        return f"{minutes // 1440} days"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
