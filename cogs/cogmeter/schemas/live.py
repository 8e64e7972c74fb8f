"""The live snapshot: the key figures of this minute and the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.records import live_range
from cogmeter.query.statistics import figures
from cogmeter.recording.service_names import in_background
from cogmeter.schemas.base import Number, Schema, TimeRange, ms_or_none, rate, rounded
from cogmeter.schemas.times import Instant
from cogmeter.times import utc
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from cogmeter_storage.base import Store


class LiveSnapshot(Schema):
    """Key figures of the current and the previous minute, without background services, and the current state."""

    at: Instant
    time_range: TimeRange
    total_operations: int
    failed_operations: int
    error_rate: Number
    operations_per_second: Number = Field(description="Since the previous snapshot; in the first one, over the range")
    failures_per_second: Number
    average_response_time: Number | None = Field(description="Milliseconds")
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    waiting_operations: int = Field(description="Recorded and not stored yet")
    active_alerts: int = Field(description="Firing and acknowledged alerts")
    health: str = Field(description="Bot health: healthy, degraded, unhealthy or unknown")


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """Operations and failures counted so far, by the start of their minute."""

    at_us: int
    minutes: dict[int, tuple[int, int]]

    def since(self, previous: MinuteCounts | None) -> tuple[float, float]:
        """Return operations and failures per second since the previous counts; without any, over all known minutes."""
        # A minute that only the newer counts know has started since; one that only the older counts know is over.
        known = {} if previous is None else previous.minutes
        new = [
            max(now - before, 0)
            for minute, counts in self.minutes.items()
            for now, before in zip(counts, known.get(minute, (0, 0)), strict=True)
        ]
        start_us = min(self.minutes, default=self.at_us) if previous is None else previous.at_us
        seconds = max((self.at_us - start_us) / 1e6, 1e-3)
        return sum(new[0::2]) / seconds, sum(new[1::2]) / seconds


async def snapshot(
    store: Store, now_us: int, previous: MinuteCounts | None, *, waiting: int, active_alerts: int, health: str
) -> tuple[LiveSnapshot, MinuteCounts]:
    """Return a snapshot, and its counts for the next one.

    Raises:
        StorageError: the store cannot be read.
    """
    span = live_range(now_us)
    groups = {record.id: 0 for record in await store.series() if not in_background(record.service)}
    totals = await store.totals(span.since_us, span.until_us, groups=groups, step_us=MINUTE_US)
    counts = zip(totals.counts.sum(axis=1).tolist(), totals.failures.sum(axis=1).tolist(), strict=True)
    minutes = MinuteCounts(now_us, dict(zip(totals.edges_us.tolist(), counts, strict=True)))
    operations_per_second, failures_per_second = minutes.since(previous)
    total = figures(totals, span)
    live = LiveSnapshot(
        at=utc(now_us),
        time_range=TimeRange(since=utc(span.since_us), until=utc(now_us)),
        total_operations=total.operations,
        failed_operations=total.failures,
        error_rate=rate(total.error_rate),
        operations_per_second=rounded(operations_per_second, 3),
        failures_per_second=rounded(failures_per_second, 3),
        average_response_time=ms_or_none(total.mean_us),
        p50_response_time=ms_or_none(total.p50_us),
        p95_response_time=ms_or_none(total.p95_us),
        p99_response_time=ms_or_none(total.p99_us),
        waiting_operations=waiting,
        active_alerts=active_alerts,
        health=health,
    )
    return live, minutes
