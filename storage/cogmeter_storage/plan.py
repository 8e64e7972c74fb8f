"""Which slots of which tiers cover a range: the coarsest sealed ones, then finer ones at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Extent:
    """What is kept of one tier: the start of its first slot and the end of its last."""

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
    """The range that is really covered, and the pieces that cover it: in order of time, without gap or overlap."""

    since_us: int
    until_us: int
    pieces: tuple[Piece, ...]


def plan(since_us: int, until_us: int, kept: Mapping[Tier, Extent], *, step_us: int | None = None) -> Plan:
    """Cover [since_us, until_us), widened to minutes, or to hours and days where nothing finer is kept.

    ``kept`` says what each tier has; a tier without slots is left out. With ``step_us`` only those tiers are used
    whose slots never straddle two bins, except where nothing finer is kept.
    """
    hours_gone = _gone(kept, Tier.HOUR, Tier.DAY)
    minutes_gone = max(_gone(kept, Tier.MINUTE, Tier.HOUR), hours_gone)
    since_us = _floor(since_us, _border(since_us, minutes_gone, hours_gone))
    until_us = max(since_us, -_floor(-until_us, _border(until_us - 1, minutes_gone, hours_gone)))
    days_until = max(hours_gone, _folded(kept, Tier.DAY, since_us, step_us))
    hours_until = max(minutes_gone, _folded(kept, Tier.HOUR, since_us, step_us))
    pieces = _cover(since_us, until_us, [(Tier.DAY, days_until), (Tier.HOUR, hours_until)])
    return Plan(since_us, until_us, tuple(pieces))


def _gone(kept: Mapping[Tier, Extent], finer: Tier, coarser: Tier) -> int:
    """The time before which the finer tier has been cleaned away, and the coarser stands for it."""
    if coarser not in kept:
        return 0
    width = coarser.width_us
    edge = _floor(kept[finer].first_us, width) if finer in kept else kept[coarser].until_us
    return edge if kept[coarser].first_us < edge else 0


def _border(at_us: int, minutes_gone: int, hours_gone: int) -> int:
    """The width of the finest slots that are kept at this time."""
    if at_us < hours_gone:
        return DAY_US
    return HOUR_US if at_us < minutes_gone else MINUTE_US


def _folded(kept: Mapping[Tier, Extent], tier: Tier, since_us: int, step_us: int | None) -> int:
    """The time up to which slots of this tier may stand for finer ones; 0 if their borders do not suit the bins."""
    suits = step_us is None or (step_us % tier.width_us == 0 and since_us % tier.width_us == 0)
    return kept[tier].until_us if suits and tier in kept else 0


def _cover(since_us: int, until_us: int, tiers: list[tuple[Tier, int]]) -> list[Piece]:
    """Whole slots of the coarsest tier in the middle, the same with finer tiers on both sides of it."""
    if since_us >= until_us:
        return []
    if not tiers:
        return [Piece(Tier.MINUTE, since_us, until_us)]
    (tier, folded_until_us), *finer = tiers
    start = -_floor(-since_us, tier.width_us)
    stop = _floor(min(until_us, folded_until_us), tier.width_us)
    if start >= stop:
        return _cover(since_us, until_us, finer)
    return [*_cover(since_us, start, finer), Piece(tier, start, stop), *_cover(stop, until_us, finer)]


def _floor(at_us: int, width_us: int) -> int:
    return at_us // width_us * width_us
