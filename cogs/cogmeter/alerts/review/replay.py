"""Replays a rule: slides the alert window over stored minutes, and compares each value with a limit.

The live rules check a window that ends now every half minute; a replay checks the end of each whole minute. So it can
differ by a minute, and misses a breach between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.measurement.history import THREE_DAYS_S
from cogmeter.alerts.measurement.values import STATISTICS
from cogmeter.alerts.review.minutes import histograms, minutes_of, windowed
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.failures import LONGER_S, Failures
from cogmeter.alerts.rules.rule import KEPT, WindowCounts
from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.model import Limit
    from cogmeter.alerts.review.minutes import Minutes
    from cogmeter_storage.model import Int64Array, Totals

DEFAULT_POLICY: Final = Policy()


class NotReplayableError(LookupError):
    """The rule cannot be replayed from what is stored."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"{rule} cannot be replayed: it needs more than stored operations")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class RuleHistory:
    """The values of one subject, one at the end of each minute, in the rule's unit."""

    at_us: Int64Array  # [n]
    values: NDArray[np.float64]  # [n]
    operations: Int64Array  # [n] in the window
    failures: Failures | None = None  # of a rule that ignores chance

    def since(self, since_us: int) -> RuleHistory:
        """Return the part from this time on."""
        first = int(np.searchsorted(self.at_us, since_us, side="right"))
        failures = None if self.failures is None else self.failures.since(first)
        return RuleHistory(self.at_us[first:], self.values[first:], self.operations[first:], failures)


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that would have fired: from the first measurement of the breach to its recovery."""

    began_us: int
    fired_us: int
    ended_us: int  # resolved, or the end of the stored minutes
    worst: float

    @property
    def length_us(self) -> int:
        """How long the alert would have been active."""
        return self.ended_us - self.fired_us


def replay(
    totals: Totals, group: int, rule: str, limit: Limit, *, window_s: float, statistic: str = "average"
) -> list[Episode]:
    """Return the alerts of one group of totals whose bins are minutes.

    Raises:
        NotReplayableError: the rule has no ``replay``.
    """
    return episodes(history_of(minutes_of(totals, group), rule, window_s=window_s, statistic=statistic), limit)


def history_of(minutes: Minutes, rule: str, *, window_s: float, statistic: str = "average") -> RuleHistory:
    """Return the values that a rule would have compared; ``statistic`` is that of the response time.

    Raises:
        NotReplayableError: the rule has no ``replay``.
    """
    method = RULES[rule].replay
    if method is None:
        raise NotReplayableError(rule)
    width = max(round(window_s * 1e6 / MINUTE_US), 1)
    operations, failures, sum_us = (
        windowed(column, width) for column in (minutes.operations, minutes.failures, minutes.sum_us)
    )
    values = np.zeros(operations.size)
    by_average = bool(RULES[rule].statistic_setting) and STATISTICS[statistic][0] is None
    whole = slice(0, operations.size), np.zeros((0, BUCKETS), dtype=np.int64)
    for part, buckets in histograms(minutes, width) if method.buckets and not by_average else [whole]:
        counts = (operations[part], failures[part], sum_us[part])
        values[part] = method.values(WindowCounts(*counts, buckets, width * 60.0, statistic))
    return RuleHistory(minutes.ends_us, values, operations, _failures(minutes, width) if method.chance else None)


def _failures(minutes: Minutes, width: int) -> Failures:
    """Return the failures at the end of each minute; the days before are as far as they were read."""
    spans = [
        (windowed(minutes.operations, length), windowed(minutes.failures, length))
        for length in (width, *(length_s // 60 for length_s in (*LONGER_S, THREE_DAYS_S)))
    ]
    return Failures(spans[:-1], spans[-1])


def episodes(history: RuleHistory, limit: Limit, policy: Policy = DEFAULT_POLICY) -> list[Episode]:
    """Return the alerts under this limit, in order of time, by the rules of ``lifecycle/transitions.py``."""
    if limit.threshold <= 0 or not history.at_us.size:
        return []
    enough, continues = (history.operations >= share * limit.min_operations for share in (1.0, KEPT))
    breached = history.values > limit.threshold
    if history.failures is not None:
        enough, continues = (history.failures.enough(limit.min_operations, share=share) for share in (1.0, KEPT))
        breached &= history.failures.no_chance(limit.recovery, limit.min_operations)
    course = _Course(history, enough & breached, ~(continues & (history.values > limit.recovery)))
    past: list[Episode] = []
    place: int | None = 0
    while place is not None and (began := _first(course.breached, place)) is not None:
        fired = _fires(course, began, limit, policy, past)
        if fired is None:
            place = _first(course.recovered, began)  # over before the alert would have fired
            continue
        fires = [episode.fired_us for episode in past] + [int(history.at_us[fired])]
        recent = sum(fires[-1] - fired_us < policy.flap_window_s * 1e6 for fired_us in fires)
        calm_s = limit.recovery_s
        if recent >= policy.flap_from:
            calm_s = max(policy.flap_calm_factor * calm_s, policy.flap_calm_s)
        end = _calm(course, fired, calm_s)
        worst = float(np.where(course.recovered, 0.0, history.values)[began : end + 1].max())
        past.append(Episode(int(history.at_us[began]), fires[-1], int(history.at_us[end]), worst))
        place = end + 1
    return past


@dataclass(frozen=True, slots=True)
class _Course:
    """A history compared with a limit. Between threshold and recovery threshold, a value is neither."""

    history: RuleHistory
    breached: NDArray[np.bool_]
    recovered: NDArray[np.bool_]


def _fires(course: _Course, began: int, limit: Limit, policy: Policy, before: Sequence[Episode]) -> int | None:
    """Return where a breach that began here fires: after the field "for" and the cooldown; None if it does not."""
    at_us = course.history.at_us
    from_us = int(at_us[began]) + int(limit.for_s * 1e6)
    if before:
        from_us = max(from_us, before[-1].fired_us + int(policy.cooldown_s * 1e6))
    fired = _first(course.breached, int(np.searchsorted(at_us, from_us)))
    over = _first(course.recovered, began)
    return None if fired is None or (over is not None and over < fired) else fired


def _calm(course: _Course, place: int, calm_s: float) -> int:
    """Return the minute at which the value has been recovered for ``calm_s``; the last minute if it never is."""
    at_us = course.history.at_us
    last = at_us.size - 1
    while (since := _first(course.recovered, place)) is not None:
        relapse = _first(~course.recovered, since)
        enough = max(int(np.searchsorted(at_us, at_us[since - 1] + int(calm_s * 1e6))), since)
        if relapse is None or enough < relapse:
            return min(enough, last)
        place = relapse
    return last


def _first(flags: NDArray[np.bool_], place: int) -> int | None:
    """Return the first set flag from this place on."""
    ahead = flags[place:]
    offset = int(ahead.argmax()) if ahead.size else 0
    return place + offset if ahead.size and ahead[offset] else None
