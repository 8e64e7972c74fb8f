"""Advice on thresholds: a replay finds one with fewer alerts, and still every alert that was acknowledged."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.review.replay import USUAL, episodes
from cogmeter.query.records import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cogmeter.alerts.lifecycle.subject_state import Policy
    from cogmeter.alerts.model import Limit, Subject
    from cogmeter.alerts.review.replay import Episode, Trail

NOISY_FROM: Final = 3  # alerts that nobody acknowledged
WANTED: Final = 0.8  # the share of them that the advised threshold should remove
LEAST: Final = 0.5  # a change that removes less is not advised
FARTHEST: Final = 5.0  # times the current threshold: more would switch the rule off
LASTING_S: Final = (60.0, 120.0, 300.0, 600.0, 900.0)  # candidates for the field "for"


def advise(
    subject: Subject,
    trail: Trail,
    limit: Limit,
    acted: Sequence[tuple[int, int]],
    *,
    most: float = math.inf,
    policy: Policy = USUAL,
) -> Advice | None:
    """Return the smallest change that removes most unacknowledged alerts and no acknowledged one; else None.

    ``acted`` are the (since_us, until_us) of alerts that were acknowledged. ``most`` is the highest threshold that the
    rule takes.
    """

    def fired(changed: Limit) -> list[Episode]:
        return episodes(trail, changed, policy)

    now = fired(limit)
    noise = [one for one in now if not _meets(one, acted)]
    if len(noise) < NOISY_FROM:
        return None
    kept = [span for span in acted if any(_meets(one, [span]) for one in now)]
    ceiling = min(FARTHEST * limit.threshold, most)
    thresholds = sorted({_above(one.worst) for one in noise if _above(one.worst) <= ceiling})
    lasting = [one for one in LASTING_S if one > limit.for_s]
    ways = {
        "threshold": _mildest(thresholds, lambda one: fired(_raised(limit, one)), kept, len(noise)),
        "for": _mildest(lasting, lambda one: fired(dataclasses.replace(limit, for_s=one)), kept, len(noise)),
    }
    found = [(field, *one) for field, one in ways.items() if one is not None]
    if not found:
        return None
    # Of two that remove enough, the threshold: a longer "for" also delays the alert.
    field, value, left = max(found, key=lambda one: min((len(noise) - one[2]) / len(noise), WANTED))
    before = limit.threshold if field == "threshold" else limit.for_s
    return Advice(
        rule=subject.rule,
        service=subject.service,
        operation=subject.operation,
        field=field,
        before=before,
        after=value,
        alerts=len(now),
        removed=len(noise) - left,
        acted=len(now) - len(noise),
    )


def _mildest(
    values: Iterable[float], after_of: Callable[[float], list[Episode]], kept: Sequence[tuple[int, int]], noise: int
) -> tuple[float, int] | None:
    """Return the first value that removes enough, else the one that removes most, and how many alerts are left."""
    best: tuple[float, int] | None = None
    for value in values:
        after = after_of(value)
        if not all(any(_meets(one, [span]) for one in after) for span in kept):
            break  # a higher one keeps even less
        left = sum(not _meets(one, kept) for one in after)
        if best is None or left < best[1]:
            best = (value, left)
        if noise - left >= WANTED * noise:
            break
    return best if best is not None and noise - best[1] >= LEAST * noise else None


def _raised(limit: Limit, threshold: float) -> Limit:
    """Return the limit with another threshold; its recovery stays in proportion."""
    return dataclasses.replace(limit, threshold=threshold, recovery=limit.recovery * threshold / limit.threshold)


def _meets(one: Episode, spans: Iterable[tuple[int, int]]) -> bool:
    return any(one.began_us < until_us and since_us < one.ended_us for since_us, until_us in spans)


def _above(value: float) -> float:
    """Round up to two significant digits: 1830 becomes 1900."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")
