"""What a rule would have told: slides the alert window over stored minutes and holds each value against a limit.

The live rules look every half minute at a window that ends now; a replay looks at the end of each whole minute, so it
can differ by a minute, and misses what came and went between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.lifecycle.policy import Policy
from cogmeter.alerts.measurement.history import THREE_DAYS_S
from cogmeter.alerts.review.minutes import histograms, minutes_of, windowed
from cogmeter.alerts.rules.failures import HELD, Failures
from cogmeter.alerts.rules.guide import LONGER_S
from cogmeter.alerts.rules.values import STATISTICS, values_of
from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.model import Limit
    from cogmeter.alerts.review.minutes import Minutes
    from cogmeter_storage.model import Int64Array, Totals

# Rules that are measured by the counts of one window alone. The others look at gauges, at what the bot is doing now, at
# several windows, or at what they learned, none of which the slots hold.
REPLAYED: Final = ("error_rate", "response_time", "throughput", "acknowledgement", "stall")
USUAL: Final = Policy()
_BY_DURATIONS: Final = frozenset({"acknowledgement", "stall"})


class NotReplayableError(LookupError):
    """The rule cannot be replayed from what is stored."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"{rule} cannot be replayed: it is not measured by stored operations alone")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Trail:
    """The values of one subject, one at the end of each minute, in the rule's unit."""

    at_us: Int64Array  # [n]
    values: NDArray[np.float64]  # [n]
    operations: Int64Array  # [n] in the window
    failures: Failures | None = None  # of an error rate, which takes more of them than chance brings

    def since(self, since_us: int) -> Trail:
        """The part from this time on."""
        first = int(np.searchsorted(self.at_us, since_us, side="right"))
        failures = None if self.failures is None else self.failures.since(first)
        return Trail(self.at_us[first:], self.values[first:], self.operations[first:], failures)


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert that would have been told: from the first measurement of the breach to its recovery."""

    began_us: int
    fired_us: int
    ended_us: int  # resolved, or the end of what is stored
    worst: float

    @property
    def length_us(self) -> int:
        """How long it would have stood."""
        return self.ended_us - self.fired_us


def replay(
    totals: Totals, group: int, rule: str, limit: Limit, *, window_s: float, statistic: str = "average"
) -> list[Episode]:
    """What this rule would have told of one group of totals whose bins are minutes.

    Raises:
        NotReplayableError: the rule is none of ``REPLAYED``.
    """
    return episodes(trail_of(minutes_of(totals, group), rule, window_s=window_s, statistic=statistic), limit)


def trail_of(minutes: Minutes, rule: str, *, window_s: float, statistic: str = "average") -> Trail:
    """The values that a rule would have seen; ``statistic`` is that of the response time.

    Raises:
        NotReplayableError: the rule is none of ``REPLAYED``.
    """
    if rule not in REPLAYED:
        raise NotReplayableError(rule)
    width = max(round(window_s * 1e6 / MINUTE_US), 1)
    operations, failures, sum_us = (
        windowed(one, width) for one in (minutes.operations, minutes.failures, minutes.sum_us)
    )
    values = np.zeros(operations.size)
    by_durations = rule in _BY_DURATIONS or (rule == "response_time" and STATISTICS[statistic][0] is not None)
    whole = slice(0, operations.size), np.zeros((0, BUCKETS), dtype=np.int64)
    for part, buckets in histograms(minutes, width) if by_durations else [whole]:
        values[part] = values_of(
            rule,
            operations=operations[part],
            failures=failures[part],
            sum_us=sum_us[part],
            buckets=buckets,
            span_s=width * 60.0,
            statistic=statistic,
        )
    return Trail(minutes.ends_us, values, operations, _failures(minutes, width) if rule == "error_rate" else None)


def _failures(minutes: Minutes, width: int) -> Failures:
    """What failed at the end of each minute; the days before are as far as they were read."""
    spans = [
        (windowed(minutes.operations, length), windowed(minutes.failures, length))
        for length in (width, *(length_s // 60 for length_s in (*LONGER_S, THREE_DAYS_S)))
    ]
    return Failures(spans[:-1], spans[-1])


def episodes(trail: Trail, limit: Limit, policy: Policy = USUAL) -> list[Episode]:
    """What would have been told under this limit, in order of time, as ``transitions.py`` has it."""
    if limit.threshold <= 0 or not trail.at_us.size:
        return []
    enough = kept = trail.operations >= limit.min_operations
    breached = trail.values > limit.threshold
    if trail.failures is not None:
        enough, kept = (trail.failures.enough(limit.min_operations, share=share) for share in (1.0, HELD))
        breached &= trail.failures.no_chance(limit.recovery, limit.min_operations)
    course = _Course(trail, enough & breached, ~(kept & (trail.values > limit.recovery)))
    found: list[Episode] = []
    place: int | None = 0
    while place is not None and (began := _first(course.breached, place)) is not None:
        told = _told(course, began, limit, policy, found)
        if told is None:
            place = _first(course.well, began)  # over before it would have been told
            continue
        fires = [one.fired_us for one in found] + [int(trail.at_us[told])]
        recent = sum(fires[-1] - one < policy.flap_window_s * 1e6 for one in fires)
        calm_s = limit.recovery_s
        if recent >= policy.flap_from:
            calm_s = max(policy.flap_calm_factor * calm_s, policy.flap_calm_s)
        end = _calm(course, told, calm_s)
        worst = float(trail.values[began : end + 1].max())
        found.append(Episode(int(trail.at_us[began]), fires[-1], int(trail.at_us[end]), worst))
        place = end + 1
    return found


@dataclass(frozen=True, slots=True)
class _Course:
    """A trail held against a limit. What is neither breached nor well is between threshold and recovery threshold."""

    trail: Trail
    breached: NDArray[np.bool_]
    well: NDArray[np.bool_]


def _told(course: _Course, began: int, limit: Limit, policy: Policy, before: Sequence[Episode]) -> int | None:
    """Where a breach that began here is told: it lasts for long enough, and no cooldown runs; None if it is not."""
    at_us = course.trail.at_us
    from_us = int(at_us[began]) + int(limit.for_s * 1e6)
    if before:
        from_us = max(from_us, before[-1].fired_us + int(policy.cooldown_s * 1e6))
    told = _first(course.breached, int(np.searchsorted(at_us, from_us)))
    over = _first(course.well, began)
    return None if told is None or (over is not None and over < told) else told


def _calm(course: _Course, place: int, calm_s: float) -> int:
    """Where it has been well for so long since it last was not; the last minute if it never is."""
    at_us = course.trail.at_us
    last = at_us.size - 1
    while (well := _first(course.well, place)) is not None:
        ill = _first(~course.well, well)
        enough = max(int(np.searchsorted(at_us, at_us[well - 1] + int(calm_s * 1e6))), well)
        if ill is None or enough < ill:
            return min(enough, last)
        place = ill
    return last


def _first(flags: NDArray[np.bool_], place: int) -> int | None:
    """The first set flag from this place on."""
    ahead = flags[place:]
    found = int(ahead.argmax()) if ahead.size else 0
    return place + found if ahead.size and ahead[found] else None
