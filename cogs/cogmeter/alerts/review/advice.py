"""Suggests thresholds: a replay finds values with fewer alerts that keep every acknowledged alert."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.values import rounded_up
from cogmeter.alerts.review.replay import DEFAULT_POLICY, episodes
from cogmeter.alerts.thresholds.keys import key_of
from cogmeter.query.records import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cogmeter.alerts.lifecycle.subject_state import Policy
    from cogmeter.alerts.model import Limit, Subject
    from cogmeter.alerts.review.replay import Episode, RuleHistory

NOISY_FROM: Final = 3  # alerts that nobody acknowledged
WANTED: Final = 0.8  # the share of them that the advised threshold should remove
LEAST: Final = 0.5  # share of the unacknowledged alerts that a suggested change must remove
FARTHEST: Final = 5.0  # highest suggestion, as a multiple of the current threshold
RESOLUTION_S: Final = 60.0  # of a replay: it has one value per minute
LASTING_S: Final = (60.0, 120.0, 300.0, 600.0, 900.0)  # candidates for the field "for"


def advise(
    subject: Subject,
    history: RuleHistory,
    limit: Limit,
    acted: Sequence[tuple[int, int]],
    *,
    most: float = math.inf,
    policy: Policy = DEFAULT_POLICY,
) -> Advice | None:
    """Return the smallest change that removes most unacknowledged alerts and no acknowledged one; else None.

    ``acted`` are the (since_us, until_us) of alerts that were acknowledged. ``most`` is the highest threshold that the
    rule allows.
    """

    def fired(changed: Limit) -> list[Episode]:
        return episodes(history, changed, policy)

    now = fired(limit)
    noise = [episode for episode in now if not _meets(episode, acted)]
    if len(noise) < NOISY_FROM:
        return None
    spans = [span for span in acted if any(_meets(episode, [span]) for episode in now)]
    ceiling = min(FARTHEST * limit.threshold, most)
    thresholds = sorted({rounded_up(episode.worst) for episode in noise if rounded_up(episode.worst) <= ceiling})
    delays_s = [delay_s for delay_s in LASTING_S if delay_s > limit.for_s]

    def raised(value: float) -> tuple[list[Episode], list[Episode]]:
        episodes = fired(_raised(limit, value))
        return episodes, episodes

    def delayed(value: float) -> tuple[list[Episode], list[Episode]]:
        # A breach may last a minute longer than its replay: it must not be said to end before it would fire.
        shorter_s = max(value - RESOLUTION_S, limit.for_s)
        return fired(dataclasses.replace(limit, for_s=shorter_s)), fired(dataclasses.replace(limit, for_s=value))

    ways = {
        "threshold": _mildest(thresholds, raised, spans, len(noise)),
        "for": _mildest(delays_s, delayed, spans, len(noise)),
    }
    candidates = [(field, *result) for field, result in ways.items() if result is not None]
    if not candidates:
        return None
    # Of two that remove enough, the threshold: a longer "for" also delays the alert.
    field, value, left = max(candidates, key=lambda candidate: min((len(noise) - candidate[2]) / len(noise), WANTED))
    before = limit.threshold if field == "threshold" else limit.for_s
    return Advice(
        rule=subject.rule,
        service=subject.service,
        operation=subject.operation,
        field=field,
        key=key_of(subject, field),
        before=before,
        after=value,
        alerts=len(now),
        removed=len(noise) - left,
        acted=len(now) - len(noise),
    )


def _mildest(
    values: Iterable[float],
    after_of: Callable[[float], tuple[list[Episode], list[Episode]]],
    spans: Sequence[tuple[int, int]],
    noise: int,
) -> tuple[float, int] | None:
    """Return the first value that removes enough, else the one that removes most, and how many alerts are left.

    ``after_of`` returns the alerts that may still fire with a value, and those of them that certainly do.
    """
    best: tuple[float, int] | None = None
    for value in values:
        after, certain = after_of(value)
        if not all(any(_meets(episode, [span]) for episode in certain) for span in spans):
            break  # a higher one keeps even less
        left = sum(not _meets(episode, spans) for episode in after)
        if best is None or left < best[1]:
            best = (value, left)
        if noise - left >= WANTED * noise:
            break
    return best if best is not None and noise - best[1] >= LEAST * noise else None


def _raised(limit: Limit, threshold: float) -> Limit:
    """Return the limit with another threshold; its recovery stays in proportion."""
    return dataclasses.replace(limit, threshold=threshold, recovery=limit.recovery * threshold / limit.threshold)


def _meets(episode: Episode, spans: Iterable[tuple[int, int]]) -> bool:
    return any(episode.began_us < until_us and since_us < episode.ended_us for since_us, until_us in spans)
