"""The records that queries answer with, and the periods they are asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cogmeter_storage.model import FAILURES, HOUR_US, MINUTE_US, Marker, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence


class Period(enum.Enum):
    """A range that ends now: its name, its words, its length and the width of a chart's bin in minutes."""

    HOUR = ("1h", "last hour", 60, 1)
    SIX_HOURS = ("6h", "last 6 hours", 360, 5)
    DAY = ("24h", "last 24 hours", 1440, 15)
    WEEK = ("7d", "last 7 days", 7 * 1440, 120)
    MONTH = ("30d", "last 30 days", 30 * 1440, 360)

    def __init__(self, key: str, label: str, minutes: int, bin_minutes: int) -> None:
        self.key = key
        self.label = label
        self.length_us = minutes * MINUTE_US
        self.step_us = bin_minutes * MINUTE_US

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

    @property
    def per_minute(self) -> float:
        """Operations a minute over the whole range."""
        return self.operations * MINUTE_US / self.span_us if self.span_us else 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a chart draws: one value a bin. Latencies in microseconds, None in a bin without operations."""

    title: str
    range: Range
    step_us: int
    edges_us: list[int]  # the start of each bin
    per_minute: list[float]  # operations a minute
    failures_per_minute: list[float]
    p50_us: list[float | None]
    p95_us: list[float | None]
    p99_us: list[float | None]


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


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """One service, or one operation of it, over a range."""

    range: Range
    service: str
    operation: str | None
    total: Figures
    before: Figures
    operations: list[tuple[str, Figures]]  # busiest first
    slowest: list[Operation]
    errors: list[Operation]  # newest first
    timeline: Timeline
    last_end_us: int | None


@dataclass(frozen=True, slots=True)
class Story:
    """The circumstances of a breach, from its window's beginning on. Counts are None where nothing is known."""

    since_us: int
    until_us: int
    operations: int
    failures: int
    users: int | None = None  # different people whose interactions were touched (failed, or for slowness: slow)
    guilds: int | None = None
    commonest_error: str | None = None
    commonest_count: int = 0
    example: Operation | None = None  # the newest failure, or the slowest operation
    example_url: str | None = None  # leads to its place in Discord; kept in memory only, never stored
    markers: tuple[Marker, ...] = ()  # what changed shortly before, newest first


class UnknownNameError(LookupError):
    """No such service or operation is stored; ``near`` holds stored names like it, best first."""

    def __init__(self, kind: str, name: str, near: Sequence[str]) -> None:
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"No {kind} {name!r} has been recorded.{hint}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)
