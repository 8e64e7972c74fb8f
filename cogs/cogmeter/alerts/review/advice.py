"""Which threshold would have told less, and still all that people acted on: found by replaying what is stored."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.review.replay import USUAL, episodes
from cogmeter.query.records import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cogmeter.alerts.lifecycle.policy import Policy
    from cogmeter.alerts.model import Limit, Subject
    from cogmeter.alerts.review.replay import Episode, Trail

NOISY_FROM: Final = 3  # alerts that nobody acted on
WANTED: Final = 0.8  # the share of them that the lowest threshold that is advised removes
LEAST: Final = 0.5  # advice that removes less is none
FARTHEST: Final = 5.0  # times the threshold as it is: what lies beyond would switch the rule off
LASTING_S: Final = (60.0, 120.0, 300.0, 600.0, 900.0)  # how long a breach might have to last before it is told


def advise(
    subject: Subject,
    trail: Trail,
    limit: Limit,
    acted: Sequence[tuple[int, int]],
    *,
    most: float = math.inf,
    policy: Policy = USUAL,
) -> Advice | None:
    """The mildest change that removes most of what nobody acted on, and nothing of what somebody did; else None.

    ``acted`` are the (since_us, until_us) of alerts that were acknowledged. ``most`` is the highest threshold that the
    rule takes.
    """

    def told(changed: Limit) -> list[Episode]:
        return episodes(trail, changed, policy)

    now = told(limit)
    noise = [one for one in now if not _meets(one, acted)]
    if len(noise) < NOISY_FROM:
        return None
    kept = [span for span in acted if any(_meets(one, [span]) for one in now)]
    ceiling = min(FARTHEST * limit.threshold, most)
    thresholds = sorted({_above(one.worst) for one in noise if _above(one.worst) <= ceiling})
    lasting = [one for one in LASTING_S if one > limit.for_s]
    ways = {
        "threshold": _mildest(thresholds, lambda one: told(_raised(limit, one)), kept, len(noise)),
        "for": _mildest(lasting, lambda one: told(dataclasses.replace(limit, for_s=one)), kept, len(noise)),
    }
    found = [(field, *one) for field, one in ways.items() if one is not None]
    if not found:
        return None
    # Of two that remove enough, the threshold: a breach that has to last is also told later.
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
    """The first value that removes enough, else the one that removes most, and how much of the noise is left."""
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
    """The limit with another threshold; its recovery keeps its distance."""
    return dataclasses.replace(limit, threshold=threshold, recovery=limit.recovery * threshold / limit.threshold)


def _meets(one: Episode, spans: Iterable[tuple[int, int]]) -> bool:
    return any(one.began_us < until_us and since_us < one.ended_us for since_us, until_us in spans)


def _above(value: float) -> float:
    """The next number with two digits that is at least this: 1830 gives 1900."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")
