"""What the live stream tells once a second: the figures of the last minute or two, and how things stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.records import Range
from cogmeter.query.statistics import figures
from cogmeter.recording.service_names import BACKGROUND
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.numbers import Number, ms_or_none, rate, rounded
from cogmeter.schemas.times import Instant, at
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from cogmeter_storage.base import Store


class LiveSnapshot(Schema):
    """This moment. Figures are of what people asked for, over the minute that is open and the one before."""

    at: Instant
    time_range: TimeRange
    total_operations: int
    failed_operations: int
    error_rate: Number
    operations_per_second: Number = Field(description="Since the snapshot before; of the first one, over the range")
    failures_per_second: Number
    average_response_time: Number | None = Field(description="Milliseconds")
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    waiting_operations: int = Field(description="Recorded, and not stored yet")
    active_alerts: int = Field(description="Those that people are told of, and that are not over")
    health: str = Field(description="healthy, degraded, unhealthy or unknown: what the bot needs to serve")


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted by a moment: operations and failures by the begin of their minute."""

    at_us: int
    minutes: dict[int, tuple[int, int]]

    def since(self, before: Counted | None) -> tuple[float, float]:
        """Operations and failures a second since an earlier moment; without one, over all minutes that are known."""
        # A minute that the earlier one does not know has begun since; one that this one does not know is long over.
        known = {} if before is None else before.minutes
        new = [
            max(both[0] - both[1], 0)
            for minute, counts in self.minutes.items()
            for both in zip(counts, known.get(minute, (0, 0)), strict=True)
        ]
        begin_us = min(self.minutes, default=self.at_us) if before is None else before.at_us
        seconds = max((self.at_us - begin_us) / 1e6, 1e-3)
        return sum(new[0::2]) / seconds, sum(new[1::2]) / seconds


async def snapshot(
    store: Store, now_us: int, before: Counted | None, *, waiting: int, active_alerts: int, health: str
) -> tuple[LiveSnapshot, Counted]:
    """This moment, and what was counted by it, for the next one.

    Raises:
        StorageError: the store does not answer.
    """
    span = Range(now_us // MINUTE_US * MINUTE_US - MINUTE_US, now_us + 1, "")
    groups = {one.id: 0 for one in await store.series() if one.service not in BACKGROUND}
    totals = await store.totals(span.since_us, span.until_us, groups=groups, step_us=MINUTE_US)
    counts = zip(totals.counts.sum(axis=1).tolist(), totals.failures.sum(axis=1).tolist(), strict=True)
    counted = Counted(now_us, dict(zip(totals.edges_us.tolist(), counts, strict=True)))
    operations, failures = counted.since(before)
    total = figures(totals, span)
    made = LiveSnapshot(
        at=at(now_us),
        time_range=TimeRange(since=at(span.since_us), until=at(now_us)),
        total_operations=total.operations,
        failed_operations=total.failures,
        error_rate=rate(total.error_rate),
        operations_per_second=rounded(operations, 3),
        failures_per_second=rounded(failures, 3),
        average_response_time=ms_or_none(total.mean_us),
        p50_response_time=ms_or_none(total.p50_us),
        p95_response_time=ms_or_none(total.p95_us),
        p99_response_time=ms_or_none(total.p99_us),
        waiting_operations=waiting,
        active_alerts=active_alerts,
        health=health,
    )
    return made, counted
