"""The guide's dashboard: all services over a stretch of time, and the alerts that stand."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from pydantic import Field

from cogmeter.schemas.alerts import AlertAnswer, told
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import Stats, TimeRange, moment
from cogmeter.schemas.numbers import Number, ms_or_none, rate, rounded
from cogmeter.schemas.times import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Overview, Period, Range
    from cogmeter_storage.alerting import Alert

TURN: Final = 32  # services: well below a millisecond


class OverallStats(Schema):
    """The key figures of all services together, without what runs in the background."""

    total_operations: int
    average_response_time: Number | None = Field(description="Milliseconds")
    overall_error_rate: Number = Field(description="0 to 1, with three decimals")
    active_services: int = Field(description="With operations in the range")
    successful_operations: int
    failed_operations: int
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    max_response_time: Number | None = Field(description="Milliseconds")
    operations_per_minute: Number
    dropped_operations: int = Field(0, description="Of any service, not stored because the buffer was full")


class Dashboard(Schema):
    """All services over a stretch of time, and the alerts that stand now."""

    overall_stats: OverallStats
    service_stats: dict[str, Stats] = Field(description="By the service's name, the busiest first")
    alerts: list[AlertAnswer] = Field(description="Those that people are told of, and that are not over")
    time_range: TimeRange
    background: dict[str, Stats] = Field(description="What runs beside what people ask for: listeners, loops, REST")
    last_operation_at: Instant | None = Field(description="When the newest stored operation ended")


async def dashboard(
    query: Query, span: Period | Range, *, services: Collection[str] | None = None, alerts: Sequence[Alert] = ()
) -> Dashboard:
    """The dashboard of all services, or of those named.

    Raises:
        UnknownNameError: nothing is stored under one of the names.
        StorageError: the store does not answer.
    """
    if services is not None:
        await query.known(services)
        alerts = [one for one in alerts if one.service in services]
    view = await query.overview(span, services=services)
    return await asyncio.to_thread(_made, view, alerts)


def _made(view: Overview, alerts: Sequence[Alert]) -> Dashboard:
    return Dashboard(
        overall_stats=_overall(view),
        service_stats=_by_name(view.services),
        alerts=told(alerts),
        time_range=TimeRange.of(view.range),
        background=_by_name(view.background),
        last_operation_at=moment(view.last_end_us),
    )


def _by_name(pairs: Sequence[tuple[str, Figures]]) -> dict[str, Stats]:
    made: dict[str, Stats] = {}
    for name, figures in pairs:
        made[name] = Stats.of(figures)
        if len(made) % TURN == 0:
            time.sleep(0)  # in a thread: the loop's own thread gets the interpreter's lock in between
    return made


def _overall(view: Overview) -> OverallStats:
    total = view.total
    return OverallStats(
        total_operations=total.operations,
        average_response_time=ms_or_none(total.mean_us),
        overall_error_rate=rate(total.error_rate),
        active_services=len(view.services),
        successful_operations=total.operations - total.failures,
        failed_operations=total.failures,
        p50_response_time=ms_or_none(total.p50_us),
        p95_response_time=ms_or_none(total.p95_us),
        p99_response_time=ms_or_none(total.p99_us),
        max_response_time=ms_or_none(total.max_us),
        operations_per_minute=rounded(total.per_minute, 3),
        dropped_operations=view.dropped,
    )
