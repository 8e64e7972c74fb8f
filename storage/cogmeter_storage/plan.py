"""Plans which slots cover a range: the coarsest sealed ones, then finer ones at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Extent:
    """The stored part of one tier: the start of its first slot and the end of its last."""

    first_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Piece:
    """All slots of one tier that start in [since_us, until_us)."""

    tier: Tier
    since_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The covered range, and the pieces that cover it: in order of time, without gap or overlap."""

    since_us: int
    until_us: int
    pieces: tuple[Piece, ...]


def floor_us(at_us: int, width_us: int) -> int:
    """Return the start of the slot of this width that contains a time."""
    return at_us // width_us * width_us


def plan(since_us: int, until_us: int, stored: Mapping[Tier, Extent], *, step_us: int | None = None) -> Plan:
    """Cover [since_us, until_us), widened to minutes, or to hours and days where nothing finer is stored.

    ``stored`` is the time range of each tier that has slots. With ``step_us``, only tiers whose slots never overlap two
    bins are used, except where nothing finer is stored.
    """
    hours_removed_us = _removed_before(stored, Tier.HOUR, Tier.DAY)
    minutes_removed_us = max(_removed_before(stored, Tier.MINUTE, Tier.HOUR), hours_removed_us)
    since_us = floor_us(since_us, _finest_width(since_us, minutes_removed_us, hours_removed_us))
    until_us = max(since_us, -floor_us(-until_us, _finest_width(until_us - 1, minutes_removed_us, hours_removed_us)))
    days_until_us = max(hours_removed_us, _usable_until(stored, Tier.DAY, since_us, step_us))
    hours_until_us = max(minutes_removed_us, _usable_until(stored, Tier.HOUR, since_us, step_us))
    pieces = _cover(since_us, until_us, [(Tier.DAY, days_until_us), (Tier.HOUR, hours_until_us)])
    return Plan(since_us, until_us, tuple(pieces))


def first_start_us(stored: Mapping[Tier, Extent]) -> int | None:
    """Return the start of the first slot: of the coarsest tier that has slots of removed finer ones; None without."""
    for finer, coarser in ((Tier.HOUR, Tier.DAY), (Tier.MINUTE, Tier.HOUR)):
        if _removed_before(stored, finer, coarser):
            return stored[coarser].first_us
    return stored[Tier.MINUTE].first_us if Tier.MINUTE in stored else None


def _removed_before(stored: Mapping[Tier, Extent], finer: Tier, coarser: Tier) -> int:
    """Return the time before which the finer tier has been cleaned up, so that the coarser one replaces it."""
    if coarser not in stored:
        return 0
    width = coarser.width_us
    removed_before_us = floor_us(stored[finer].first_us, width) if finer in stored else stored[coarser].until_us
    return removed_before_us if stored[coarser].first_us < removed_before_us else 0


def _finest_width(at_us: int, minutes_removed_us: int, hours_removed_us: int) -> int:
    """Return the width of the finest slots that are stored for this time."""
    if at_us < hours_removed_us:
        return DAY_US
    return HOUR_US if at_us < minutes_removed_us else MINUTE_US


def _usable_until(stored: Mapping[Tier, Extent], tier: Tier, since_us: int, step_us: int | None) -> int:
    """Return the time until which slots of this tier may replace finer ones; 0 if their borders do not fit the bins."""
    bins_fit = step_us is None or (step_us % tier.width_us == 0 and since_us % tier.width_us == 0)
    return stored[tier].until_us if bins_fit and tier in stored else 0


def _cover(since_us: int, until_us: int, tiers: list[tuple[Tier, int]]) -> list[Piece]:
    """Return whole slots of the coarsest tier in the middle, and finer tiers on both sides of it."""
    if since_us >= until_us:
        return []
    if not tiers:
        return [Piece(Tier.MINUTE, since_us, until_us)]
    (tier, folded_until_us), *finer = tiers
    start = -floor_us(-since_us, tier.width_us)
    stop = floor_us(min(until_us, folded_until_us), tier.width_us)
    if start >= stop:
        return _cover(since_us, until_us, finer)
    return [*_cover(since_us, start, finer), Piece(tier, start, stop), *_cover(stop, until_us, finer)]
