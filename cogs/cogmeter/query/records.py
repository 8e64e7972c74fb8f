"""The records that queries answer with, and the periods they are asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cogmeter.redaction import quoted
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, MINUTE_US, Marker, OperationRecord

if TYPE_CHECKING:
    from collections.abc import Sequence


STEPS_MINUTES: Final = (1, 5, 15, 30, 60, 120, 360, 720, 1440)  # of a chart's bins
MOST_BINS: Final = 125  # more are too narrow to be told apart at the width of a phone


class Period(enum.Enum):
    """A range that ends now: its name, its words, and its length."""

    HOUR = ("1h", "last hour", 60)
    SIX_HOURS = ("6h", "last 6 hours", 360)
    DAY = ("24h", "last 24 hours", 1440)
    WEEK = ("7d", "last 7 days", 7 * 1440)
    MONTH = ("30d", "last 30 days", 30 * 1440)

    def __init__(self, key: str, label: str, minutes: int) -> None:
        self.key = key
        self.label = label
        self.length_us = minutes * MINUTE_US

    def range_at(self, now: int) -> Range:
        """The range of this period that ends now, beginning on a border that slots have.

        Long periods start on a whole hour: their minutes may be gone already, and nobody reads a week to the minute.
        """
        border = MINUTE_US if self.length_us <= 24 * HOUR_US else HOUR_US
        since = (now - self.length_us) // border * border
        return Range(since, now, self.label)


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time [since_us, until_us) and the words for it."""

    since_us: int
    until_us: int
    label: str

    @property
    def before(self) -> Range:
        """The stretch of the same length just before."""
        # Up to this one's start, so that nothing is counted twice.
        return Range(2 * self.since_us - self.until_us, self.since_us, "the period before")

    @property
    def step_us(self) -> int:
        """The width of a chart's bin: the least of some round ones that makes no more than MOST_BINS."""
        steps_us = (minutes * MINUTE_US for minutes in STEPS_MINUTES)
        length_us = self.until_us - self.since_us
        return next((step_us for step_us in steps_us if step_us * MOST_BINS >= length_us), _days(length_us))


def _days(length_us: int) -> int:
    """Whole days, for ranges of many months."""
    return -(-length_us // (MOST_BINS * DAY_US)) * DAY_US


@dataclass(frozen=True, slots=True)
class Figures:
    """The key figures of a set of operations. Durations in microseconds, None where there was no operation."""

    operations: int
    outcomes: tuple[int, ...]  # by Outcome
    span_us: int  # the length of the range
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
        """Operations a minute over the whole range."""
        return self.operations * MINUTE_US / self.span_us if self.span_us else 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """One value per bin. Latencies are in microseconds, None in a bin without operations."""

    title: str
    range: Range
    step_us: int
    edges_us: list[int]  # the start of each bin; the first one can be later than the range's: see Query.covered
    per_minute: list[float]  # operations a minute
    failures_per_minute: list[float]
    p50_us: list[float | None]
    p95_us: list[float | None]
    p99_us: list[float | None]
    service: str | None = None  # None: all of them
    alias: str = ""  # the title where its characters cannot be drawn


@dataclass(frozen=True, slots=True)
class Overview:
    """All services over a range. What runs in the background (services.BACKGROUND) is counted apart."""

    range: Range
    total: Figures
    services: list[tuple[str, Figures]]  # with operations in the range, busiest first
    background: list[tuple[str, Figures]]
    last_end_us: int | None  # when the newest stored operation ended
    dropped: int = 0  # operations of any service that were not stored, because the buffer was full


@dataclass(frozen=True, slots=True)
class Summary:
    """All services over a range. What runs in the background (services.BACKGROUND) is counted apart."""

    range: Range
    total: Figures
    before: Figures
    services: list[tuple[str, Figures]]  # with operations in the range, busiest first
    timeline: Timeline
    last_end_us: int | None  # when the newest stored operation ended
    background: list[tuple[str, Figures]] = field(default_factory=list)
    dropped: int = 0  # see Overview


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """One service, or one operation of it, over a range."""

    range: Range
    service: str
    operation: str | None
    total: Figures
    before: Figures
    operations: list[tuple[str, Figures]]  # busiest first
    slowest: list[OperationRecord]
    errors: list[OperationRecord]  # newest first
    timeline: Timeline
    last_end_us: int | None


@dataclass(frozen=True, slots=True)
class IncidentContext:
    """The circumstances of a breach, from its window's beginning on. Counts are None where nothing is known."""

    since_us: int
    until_us: int
    operations: int
    failures: int
    users: int | None = None  # different people whose interactions were touched (failed, or for slowness: slow)
    guilds: int | None = None
    commonest_error: str | None = None
    commonest_count: int = 0
    example: OperationRecord | None = None  # the newest failure, or the slowest operation
    example_url: str | None = None  # leads to its place in Discord; kept in memory only, never stored
    markers: tuple[Marker, ...] = ()  # what changed shortly before, newest first


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a rule would have told in a range, were a limit another one; ``now_*`` is what it told as it is."""

    since_us: int
    until_us: int
    times: int
    length_us: int  # of all that would have been told
    now_times: int
    now_length_us: int
    subjects: int  # services or operations that were looked at
    left_out: int = 0  # quieter ones that were not


@dataclass(frozen=True, slots=True)
class EffectiveLimit:
    """One limit that holds, and where it comes from."""

    key: str  # error_rate@knowledge-graph, response_time.for
    rule: str
    field: str  # threshold, recovery, for, recovery_delay, min_operations, severity, statistic
    value: float | str
    origin: str  # default, .env, changed
    changed_by: str = ""
    changed_us: int | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of one subject's limit and what it would have done to the alerts of a range."""

    rule: str
    service: str
    operation: str
    field: str  # threshold or for
    before: float
    after: float
    alerts: int  # that would have been told as it is
    removed: int  # of them
    acted: int  # of them people acted on; none of these is lost

    @property
    def key(self) -> str:
        """The key of the override that makes the change."""
        place = f"@{self.service}" + (f"/{self.operation}" if self.operation else "")
        return f"{self.rule}{place}" + ("" if self.field == "threshold" else f".{self.field}")

    @property
    def share(self) -> float:
        """The share of the alerts that go."""
        return self.removed / self.alerts if self.alerts else 0.0


@dataclass(frozen=True, slots=True)
class AlertLine:
    """What one rule did at one service in a range. ``*_us`` are medians, counted from when an alert was first told."""

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
    """How good the alerts of a range were, and what would make them better."""

    range: Range
    total: AlertLine  # without rule and service
    lines: tuple[AlertLine, ...]  # the most alerts first
    ignored: tuple[AlertLine, ...]  # that nobody ever acted on
    advice: tuple[Advice, ...]  # what removes most first


class UnknownNameError(LookupError):
    """No such service or operation is stored; ``near`` holds stored names like it, best first."""

    def __init__(self, kind: str, name: str, near: Sequence[str]) -> None:
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"No {kind} {quoted(name)} has been recorded.{hint}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)
