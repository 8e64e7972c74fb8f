"""The records that the steps exchange: operations, series, totals, markers and traces.

Names contain their unit. ``*_us`` is microseconds; a time is microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter_storage.alerting import Alert, AlertChange

    Int64Array: TypeAlias = NDArray[np.int64]

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
LAST_US = 253_402_300_799_999_999  # the end of the year 9999: later times cannot be formatted
LONGEST_US = 2**53  # limit of a duration: sums of durations stay within 64 bits


class Outcome(enum.IntEnum):
    """The result of an operation; the store contains these numbers."""

    OK = 0
    ERROR = 1  # the bot's own error
    UPSTREAM = 2  # an error of Discord or another service
    USER = 3  # wrong input, or missing permission
    CANCELLED = 4

    @property
    def label(self) -> str:
        """The name in texts: ``ok``, ``error``, ``upstream``, ``user``, ``cancelled``."""
        return self.name.lower()

    @property
    def failed(self) -> bool:
        """True if the error rate counts it."""
        return self in FAILURES


FAILURES = (Outcome.ERROR, Outcome.UPSTREAM)


class Tier(enum.IntEnum):
    """The width of a slot; the store contains these numbers."""

    MINUTE = 0
    HOUR = 1
    DAY = 2

    @property
    def width_us(self) -> int:
        """The length of one slot of this tier, in microseconds."""
        return (MINUTE_US, HOUR_US, DAY_US)[self]


ERROR_GROUP = "error_group"  # the metadata entry of a failure: the fingerprint of the error group that counts it

# One finished operation to be stored:
# (series id, end_us, duration_us, outcome, error text or None, metadata as JSON or None).
Row: TypeAlias = tuple[int, int, int, int, str | None, str | None]


class BatchId(NamedTuple):
    """Identifies a batch, so that it is stored once even if it is not known whether its commit arrived.

    ``source`` is unique to one start of a writer; ``number`` grows in the order in which its batches are stored.
    """

    source: str
    number: int


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """One pair of service and operation name, with its id in the store."""

    id: int
    service: str
    operation: str


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """One finished unit of work, as read from the store."""

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
        """The start time."""
        return self.end_us - self.duration_us

    @property
    def error_group(self) -> str | None:
        """The fingerprint of the error group that counts its failure; None if its exception is not known."""
        fingerprint = self.metadata.get(ERROR_GROUP)
        return fingerprint if isinstance(fingerprint, str) and self.outcome.failed else None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one service, operation, outcome and error group whose texts differ only in numbers and ids."""

    service: str
    operation: str
    kind: str  # the text with numbers and ids as "#"; "" without a text
    outcome: Outcome
    count: int
    first_us: int  # end times of the oldest and the newest
    last_us: int
    example: OperationRecord  # the newest
    truncated: bool  # older failures were not read: count and first_us may be incomplete


@dataclass(frozen=True, slots=True)
class Totals:
    """Aggregates of a time range, divided into ``bins`` of time and ``groups`` of series.

    ``since_us`` and ``until_us`` are the covered range. It starts on a slot's border, so it can be wider than the
    requested one. ``edges_us`` has the start of each bin. All counts are int64.
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
        """Operations of any outcome: [bins, groups]."""
        counts: Int64Array = self.outcomes.sum(axis=2)
        return counts

    @property
    def failures(self) -> Int64Array:
        """Operations that the error rate counts: [bins, groups]."""
        failures: Int64Array = self.outcomes[:, :, list(FAILURES)].sum(axis=2)
        return failures


@dataclass(frozen=True, slots=True)
class SampleStep:
    """The samples of one gauge in one step of time."""

    first_us: int  # the times of the first and the last sample
    last_us: int
    samples: int
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment drawn on charts: a deploy, a start, a reload, a threshold change."""

    at_us: int
    kind: str  # start, version, extension, threshold, error, mark
    name: str  # as shown: "deployed 1.4"
    id: int = 0  # assigned by the store


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each kind of data is kept, in hours."""

    raw_hours: float = 168.0  # operations and minutes
    hour_hours: float = 90 * 24.0
    day_hours: float = 730 * 24.0
    error_hours: float = 90 * 24.0  # error groups, after their last error


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The numbers of rows that one clean-up removed."""

    operations: int = 0
    slots: int = 0
    traces: int = 0
    samples: int = 0
    alerts: int = 0  # with everything that belongs to them
    errors: int = 0  # groups, with everything that belongs to them


@dataclass(frozen=True, slots=True)
class Person:
    """The data that identifies one person in stored texts and metadata; the repr, which aiosqlite logs, does not."""

    metadata_entry: tuple[str, str] = field(repr=False)  # name and value, such as ("user", "0a1b2c3d")
    user_id: str = field(repr=False)  # digits; replaced where they are not part of a longer number
    display_name: str | None = field(default=None, repr=False)  # as recorded for acknowledgements, mutes and changes


@dataclass(frozen=True, slots=True)
class Erased:
    """The numbers of rows from which the data of one person was erased."""

    operations: int = 0
    traces: int = 0
    errors: int = 0  # groups, their examples, and the users that they count
    alerts: int = 0  # alerts, their changes and deliveries, and mutes
    others: int = 0  # the audit log, thresholds, markers, sums of costs, and rows that were set apart

    @property
    def rows(self) -> int:
        """All rows together."""
        return self.operations + self.traces + self.errors + self.alerts + self.others


@dataclass(frozen=True, slots=True)
class Damage:
    """The amount of stored data that could not be read. Repaired and removed data is counted until a clean-up."""

    rebuilt_slots: int = 0  # from finer slots or raw operations, without loss
    lost_slots: int = 0  # some of their operations are missing from all totals
    rows: int = 0  # skipped rows: operations, alerts, samples, traces

    def __bool__(self) -> bool:
        """Return True if there is any damage."""
        return bool(self.rebuilt_slots or self.lost_slots or self.rows)


@dataclass(frozen=True, slots=True)
class ClockSteps:
    """The effect of clock steps on stored data, counted until a clean-up."""

    clamped: int = 0  # operations whose end time was moved forward because the clock jumped back
    operations: int = 0  # moved to set_apart: recorded while the clock was ahead
    others: int = 0  # samples, traces and markers moved with them
    first_us: int | None = None  # the times of the moved rows
    last_us: int | None = None

    def __bool__(self) -> bool:
        """Return True if anything was set apart."""
        return bool(self.operations or self.others)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The store's own health, for ``/perf doctor`` and the logs."""

    url: str  # without a password
    size_bytes: int
    schema_version: int
    operations: int  # stored raw operations
    series: int
    first_end_us: int | None  # of the stored raw operations
    last_end_us: int | None
    last_write_us: int | None  # wall time of the last commit
    clock: ClockSteps = ClockSteps()
    damage: Damage = Damage()


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One operation inside a trace; its start is relative to the trace's start."""

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

    at_us: int  # start of the interaction
    service: str
    operation: str
    duration_us: int
    outcome: Outcome
    error: str | None
    left_out: int  # spans beyond the limit
    spans: tuple[SpanRecord, ...]
    id: int = 0  # assigned by the store


@dataclass(frozen=True, slots=True)
class RecordPosition:
    """How far a reader has read the records that are stored once: the ids of the last of each kind."""

    trace: int = 0
    change: int = 0  # of an alert
    marker: int = 0


@dataclass(frozen=True, slots=True)
class NewRecords:
    """The records after a position, and the position after them."""

    position: RecordPosition
    traces: tuple[TraceRecord, ...] = ()
    changes: tuple[tuple[AlertChange, Alert], ...] = ()  # with the alerts in their present state
    markers: tuple[Marker, ...] = ()

    def __bool__(self) -> bool:
        """Return True if there are any."""
        return bool(self.traces or self.changes or self.markers)
