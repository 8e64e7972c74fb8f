"""The records that queries and reviews of alerts return, and the time ranges that they cover."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cogmeter.recording.service_names import BY_OPERATION, label
from cogmeter.redaction import quoted
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, MINUTE_US, Marker, OperationRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from cogmeter.diagnosis import ConcernList
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.usage import DistinctCounts


STEPS_MINUTES: Final = (1, 5, 15, 30, 60, 120, 360, 720, 1440)  # of a chart's bins
SUBJECT: Final = "service or command"
MOST_BINS: Final = 125  # more are too narrow to distinguish on a phone


class Period(enum.Enum):
    """A time range that ends now: its key, its label, and its length."""

    HOUR = ("1h", "last hour", 60)
    SIX_HOURS = ("6h", "last 6 hours", 360)
    DAY = ("24h", "last 24 hours", 1440)
    WEEK = ("7d", "last 7 days", 7 * 1440)
    MONTH = ("30d", "last 30 days", 30 * 1440)

    def __init__(self, key: str, label: str, minutes: int) -> None:
        self.key = key
        self.label = label
        self.length_us = minutes * MINUTE_US

    def range_at(self, now_us: int) -> Range:
        """Return the range of this period that ends now. It starts where a slot starts.

        A period of more than a day starts on a whole hour, because its minutes may no longer be stored.
        """
        slot_us = MINUTE_US if self.length_us <= 24 * HOUR_US else HOUR_US
        since_us = (now_us - self.length_us) // slot_us * slot_us
        return Range(since_us, now_us, self.label)


@dataclass(frozen=True, slots=True)
class Range:
    """A time range [since_us, until_us) and its label."""

    since_us: int
    until_us: int
    label: str

    @property
    def before(self) -> Range:
        """The previous range of the same length. It ends where this one starts, so that nothing is counted twice."""
        return Range(2 * self.since_us - self.until_us, self.since_us, "previous period")

    @property
    def step_us(self) -> int:
        """The width of a chart's bins: the smallest of STEPS_MINUTES that makes at most MOST_BINS, or whole days."""
        steps_us = (minutes * MINUTE_US for minutes in STEPS_MINUTES)
        length_us = self.until_us - self.since_us
        return next((step_us for step_us in steps_us if step_us * MOST_BINS >= length_us), _days(length_us))


def live_range(now_us: int, label: str = "") -> Range:
    """Return the range of live figures: this minute and the last one, as sums are of whole minutes."""
    return Range(now_us // MINUTE_US * MINUTE_US - MINUTE_US, now_us + 1, label)


def _days(length_us: int) -> int:
    return -(-length_us // (MOST_BINS * DAY_US)) * DAY_US


@dataclass(frozen=True, slots=True)
class Figures:
    """The key figures of a set of operations. Durations are in microseconds, and None without operations."""

    operations: int
    outcomes: tuple[int, ...]  # by Outcome
    span_us: int  # the length of the range, from the first record on
    mean_us: float | None
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    max_us: int | None

    @property
    def failures(self) -> int:
        """Operations that the error rate counts (outcome ``error`` or ``upstream``)."""
        return sum(self.outcomes[outcome] for outcome in FAILURES)

    @property
    def error_rate(self) -> float:
        """Failures over operations, 0 to 1; 0 without operations."""
        return self.failures / self.operations if self.operations else 0.0

    @property
    def success_rate(self) -> float:
        """1 - error rate."""
        return 1.0 - self.error_rate

    def response_us(self, statistic: str) -> float | None:
        """Return ``average``, ``p50``, ``p95`` or ``p99`` of the durations in microseconds; None without operations."""
        return {"average": self.mean_us, "p50": self.p50_us, "p95": self.p95_us, "p99": self.p99_us}[statistic]

    @property
    def per_minute(self) -> float:
        """Operations per minute, of the part of the range from the first record on."""
        return self.operations * MINUTE_US / self.span_us if self.span_us else 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """The data of a chart: one value per bin. Latencies are in microseconds, and None in a bin without operations."""

    title: str
    range: Range
    step_us: int
    edges_us: list[int]  # the start of each bin; the first one can be later than the range's: see Query.covered
    per_minute: list[float]  # operations per minute
    failures_per_minute: list[float]
    p50_us: list[float | None]
    p95_us: list[float | None]
    p99_us: list[float | None]
    service: str | None = None  # None: all services
    alias: str = ""  # used where the characters of the title cannot be drawn
    operation: str | None = None  # None: all operations
    mean_us: list[float | None] = field(default_factory=list)

    def response_us(self, statistic: str) -> list[float | None]:
        """Return ``average``, ``p50``, ``p95`` or ``p99`` of the durations of each bin; see ``Figures.response_us``."""
        return {"average": self.mean_us, "p50": self.p50_us, "p95": self.p95_us, "p99": self.p99_us}[statistic]

    @property
    def partial(self) -> bool:
        """True if the last bin is still filling: it ends after the range."""
        return bool(self.edges_us) and self.edges_us[-1] + self.step_us > self.range.until_us


@dataclass(frozen=True, slots=True)
class RankedOperation:
    """A command, component or reply with its figures."""

    service: str  # one of BY_OPERATION
    operation: str
    figures: Figures

    @property
    def label(self) -> str:
        """The name by which an owner knows it, such as "/ask"."""
        return label(self.service, self.operation)


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of all services over a range. Background services are counted separately."""

    range: Range
    total: Figures
    services: list[tuple[str, Figures]]  # with operations in the range, busiest first
    background: list[tuple[str, Figures]]
    last_end_us: int | None  # when the newest stored operation ended
    dropped: int = 0  # operations of all services that were not stored because the buffer was full
    commands: list[RankedOperation] = field(default_factory=list)  # the operations of BY_OPERATION, busiest first

    @property
    def own_services(self) -> list[tuple[str, Figures]]:
        """The services that are not ranked by operation."""
        return without_ranked(self.services)


@dataclass(frozen=True, slots=True)
class Summary:
    """An overview with the previous range and a timeline."""

    range: Range
    total: Figures
    before: Figures
    services: list[tuple[str, Figures]]  # with operations in the range, busiest first
    timeline: Timeline
    last_end_us: int | None  # when the newest stored operation ended
    background: list[tuple[str, Figures]] = field(default_factory=list)
    dropped: int = 0  # see Overview
    commands: list[RankedOperation] = field(default_factory=list)  # see Overview

    @property
    def own_services(self) -> list[tuple[str, Figures]]:
        """See Overview."""
        return without_ranked(self.services)


def without_ranked(services: list[tuple[str, Figures]]) -> list[tuple[str, Figures]]:
    """Return the services that are not ranked by operation."""
    return [pair for pair in services if pair[0] not in BY_OPERATION]


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """The statistics of one service, or of one operation in it, over a range."""

    range: Range
    service: str
    operation: str | None
    total: Figures
    before: Figures
    operations: list[tuple[str, Figures]]  # busiest first
    slowest: list[OperationRecord]
    errors: list[OperationRecord]  # newest first
    timeline: Timeline
    last_end_us: int | None  # when the newest stored one of these operations in the range ended


@dataclass(frozen=True, slots=True)
class IncidentContext:
    """Who and what an alert affects, from the start of its window on. A count is None where it is not known."""

    since_us: int
    until_us: int
    operations: int
    failures: int
    users: int | None = None  # distinct users whose interactions failed, or were slow for a latency alert
    guilds: int | None = None
    most_common_error: str | None = None
    most_common_count: int = 0
    error_group: ErrorGroup | None = None  # of the most common error
    example: OperationRecord | None = None  # the newest failure, or the slowest operation
    example_url: str | None = None  # its place in Discord; in memory only, never stored
    markers: tuple[Marker, ...] = ()  # recent changes, newest first


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The alerts that a rule would have fired in a range with another limit; ``now_*`` with the current one."""

    since_us: int
    until_us: int
    times: int
    length_us: int  # of all these alerts together
    now_times: int
    now_length_us: int
    subjects: int  # services or operations that were checked
    left_out: int = 0  # quieter ones that were not checked
    windows: int = 0  # windows with operations, one at the end of each minute
    too_few: int = 0  # of these, with fewer operations than an alert needs


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The threshold of a subject that was learned from its own operations, see ``alerts.thresholds.calibration``."""

    thresholds: Mapping[str, float]  # by statistic; of a rule without a statistic under ``average``
    operations: int
    since_us: int
    until_us: int
    settled: bool  # False: provisional, from less than three days or few operations


@dataclass(frozen=True, slots=True)
class EffectiveLimit:
    """A limit in effect, and where it comes from."""

    key: str  # error_rate@knowledge-graph, response_time.for
    rule: str
    field: str  # threshold, recovery, for, recovery_delay, min_operations, severity, statistic
    value: float | str
    origin: str  # default, calibrated, .env, changed
    changed_by: str = ""
    changed_us: int | None = None
    calibrated: Calibrated | None = None  # of the origin ``calibrated``


@dataclass(frozen=True, slots=True)
class Advice:
    """A suggested change of one subject's limit, and its effect on the alerts of a range."""

    rule: str
    service: str
    operation: str
    field: str  # threshold or for
    key: str  # of the override that applies the change
    before: float
    after: float
    alerts: int  # with the current limit
    removed: int  # of these, with the suggested limit
    acted: int  # of these, that somebody acted on; none of them is removed

    @property
    def share(self) -> float:
        """The share of the alerts that are removed."""
        return self.removed / self.alerts if self.alerts else 0.0


@dataclass(frozen=True, slots=True)
class AlertLine:
    """The alerts of one rule for one service in a range. ``*_us`` are medians, counted from the first notification."""

    rule: str
    service: str
    fired: int
    acknowledged: int
    muted: int
    flaps: int
    resolved: int
    acknowledge_us: float | None
    resolve_us: float | None


@dataclass(frozen=True, slots=True)
class AlertReport:
    """A review of the alerts of a range, with advice on how to improve them."""

    range: Range
    total: AlertLine  # without rule and service
    lines: tuple[AlertLine, ...]  # most alerts first
    ignored: tuple[AlertLine, ...]  # nobody acted on any of their alerts
    advice: tuple[Advice, ...]  # the change that removes most alerts first


@dataclass(frozen=True, slots=True)
class PeriodCost:
    """The dollars of the whole UTC days that ended in a period, and of as many days before."""

    dollars: float
    before: float
    days: tuple[date, date]  # the first and the last one


@dataclass(frozen=True, slots=True)
class Digest:
    """What happened in a period."""

    summary: Summary
    people: DistinctCounts | None  # None: nobody is counted
    people_before: DistinctCounts | None  # in the previous period of the same length
    concerns: ConcernList
    changes: tuple[Marker, ...]  # deploys, starts, changed thresholds; in order of time
    new_errors: tuple[ErrorGroup, ...]  # most frequent first
    reopened_errors: tuple[ErrorGroup, ...]
    resolved_errors: tuple[ErrorGroup, ...]
    report: AlertReport
    cost: PeriodCost | None  # None: nothing was spent


class UnknownNameError(LookupError):
    """No service, operation or process of this name is stored; ``near`` has similar stored names, best first.

    ``kind`` is "service", "operation", "process", or SUBJECT where both a service and a label such as "/ask" are
    accepted.
    """

    def __init__(self, kind: str, name: str, near: Sequence[str]) -> None:
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"No {kind} {quoted(name)} has been recorded.{hint}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)

    @property
    def parameter(self) -> str:
        """The parameter that has the name: ``service``, ``operation`` or ``process``."""
        return "service" if self.kind == SUBJECT else self.kind
