"""The records that pass between the steps: what an operation, a series, a slot's totals and a trace are.

Units stand in the names. ``*_us`` is microseconds; a time is microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Int64Array: TypeAlias = NDArray[np.int64]

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


class Outcome(enum.IntEnum):
    """How an operation ended; the numbers are what the store keeps."""

    OK = 0
    ERROR = 1  # ours
    UPSTREAM = 2  # Discord's or another service's
    USER = 3  # the user's mistake, or a refusal
    CANCELLED = 4

    @property
    def label(self) -> str:
        """The word that people read and write: ``ok``, ``error``, ``upstream``, ``user``, ``cancelled``."""
        return self.name.lower()

    @property
    def failed(self) -> bool:
        """Whether the error rate counts it."""
        return self in FAILURES


FAILURES = (Outcome.ERROR, Outcome.UPSTREAM)


class Tier(enum.IntEnum):
    """The width of a slot; the numbers are what the store keeps."""

    MINUTE = 0
    HOUR = 1
    DAY = 2

    @property
    def width_us(self) -> int:
        """The length of one slot of this tier, in microseconds."""
        return (MINUTE_US, HOUR_US, DAY_US)[self]


# One finished operation on its way into the store:
# (series id, end_us, duration_us, outcome, error text or None, metadata as JSON or None).
Row: TypeAlias = tuple[int, int, int, int, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One (service, operation name) pair and the store's id for it."""

    id: int
    service: str
    operation: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One finished unit of work, read back from the store."""

    id: int
    service: str
    operation: str
    end_us: int
    duration_us: int
    outcome: Outcome
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def start_us(self) -> int:
        """When it began."""
        return self.end_us - self.duration_us


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures of one service and operation whose texts differ in numbers and ids alone, and that ended alike."""

    service: str
    operation: str
    kind: str  # their text with numbers and ids as "#"; "" for those without a text
    outcome: Outcome
    count: int
    first_us: int  # when the oldest and the newest of them ended
    last_us: int
    example: Operation  # the newest
    truncated: bool  # older failures were not looked at: there may be more, and earlier ones


@dataclass(frozen=True, slots=True)
class Totals:
    """Aggregates of a time range, cut into ``bins`` of time and ``groups`` of series.

    ``since_us`` and ``until_us`` are the range that was really covered: it starts on a slot's border, so it can
    be wider than what was asked for. ``edges_us`` holds the start of each bin. All counts are int64.
    """

    since_us: int
    until_us: int
    edges_us: Int64Array  # [bins]
    outcomes: Int64Array  # [bins, groups, 5], by Outcome
    sum_us: Int64Array  # [bins, groups]
    max_us: Int64Array  # [bins, groups], 0 where there is no operation
    buckets: Int64Array  # [bins, groups, BUCKETS], see histogram.py

    @property
    def counts(self) -> Int64Array:
        """Operations, whatever their outcome: [bins, groups]."""
        counts: Int64Array = self.outcomes.sum(axis=2)
        return counts

    @property
    def failures(self) -> Int64Array:
        """Operations that the error rate counts: [bins, groups]."""
        failures: Int64Array = self.outcomes[:, :, list(FAILURES)].sum(axis=2)
        return failures


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment worth knowing when figures change: a deploy, a reload, a changed threshold."""

    at_us: int
    kind: str  # start, version, extension, threshold, mark
    name: str  # as people read it: "deployed 1.4"
    id: int = 0  # given by the store


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each kind of data is kept, in hours."""

    raw_hours: float = 168.0  # operations and minutes
    hour_hours: float = 90 * 24.0
    day_hours: float = 730 * 24.0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one clean-up removed."""

    operations: int = 0
    slots: int = 0
    traces: int = 0
    samples: int = 0
    alerts: int = 0  # with all that belongs to them


@dataclass(frozen=True, slots=True)
class Person:
    """What leads to one person in stored texts and metadata."""

    member: tuple[str, str]  # a name and a value of metadata, such as ("user", "0a1b2c3d")
    number: str  # digits that stand for the person wherever they stand alone
    name: str | None = None  # of one who acknowledged, muted or changed something


@dataclass(frozen=True, slots=True)
class Damage:
    """How much stored data could not be read. What was repaired or removed is counted until a clean-up forgets it."""

    rebuilt_slots: int = 0  # from finer slots or raw operations, without loss
    lost_slots: int = 0  # at least some of their operations are missing from all figures
    rows: int = 0  # that are skipped: operations, alerts, samples, traces

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.rebuilt_slots or self.lost_slots or self.rows)


@dataclass(frozen=True, slots=True)
class ClockSteps:
    """What steps of the clock did to stored data, until a clean-up forgets it."""

    clamped: int = 0  # operations whose end time was moved forward because the clock jumped back
    operations: int = 0  # set apart, because they were recorded while the clock was ahead
    others: int = 0  # samples, traces and markers that were set apart with them
    first_us: int | None = None  # the times of what was set apart
    last_us: int | None = None

    def __bool__(self) -> bool:
        """Return whether anything was set apart."""
        return bool(self.operations or self.others)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The store's own health, for ``/perf doctor`` and the logs."""

    url: str  # without a password
    size_bytes: int
    schema_version: int
    operations: int  # raw operations kept
    series: int
    first_end_us: int | None  # of the raw operations kept
    last_end_us: int | None
    last_write_us: int | None  # wall time of the last commit
    clock: ClockSteps = ClockSteps()
    damage: Damage = Damage()


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One operation inside a trace; its start counts from the trace's."""

    id: int
    parent: int  # a span's id; 0 is the interaction itself
    service: str
    operation: str
    start_us: int
    duration_us: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """The tree of operations of one slow or failed interaction."""

    at_us: int  # when it arrived
    service: str
    operation: str
    duration_us: int
    outcome: Outcome
    error: str | None
    left_out: int  # spans beyond the limit
    spans: tuple[SpanRecord, ...]
    id: int = 0  # given by the store
