"""Statistics over a range: the guide's dashboard and service statistics, and time series."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pydantic import Field

from cogmeter.diagnosis import ConcernList
from cogmeter.recording.background import paced
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import AlertAnswer, sent_alerts
from cogmeter.schemas.base import Number, Schema, Stats, TimeRange, ms_or_none, rate, rounded, stats_fields
from cogmeter.schemas.health import CheckAnswer  # noqa: TC001 - pydantic evaluates the annotations of Stats, too
from cogmeter.schemas.operations import OperationAnswer
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from cogmeter.diagnosis import Concern
    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Overview, Period, Range, RankedOperation
    from cogmeter_storage.alerting import Alert

    AttentionOf: TypeAlias = Callable[[Overview, Sequence[Alert], Collection[str] | None], Awaitable[ConcernList]]

T = TypeVar("T")
SERVICES_PER_SLICE: Final = 32  # well below a millisecond
RECENT: Final = 20  # operations
MOST_POINTS: Final = 1_500  # each is a histogram of 12 kB while it is computed


class OverallStats(Schema):
    """Key figures of all services together, without the background services."""

    total_operations: int
    average_response_time: Number | None = Field(description="Milliseconds")
    overall_error_rate: Number = Field(description="0 to 1, three decimals")
    active_services: int = Field(description="Services with operations in the range; commands and replies are not")
    successful_operations: int
    failed_operations: int
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    max_response_time: Number | None = Field(description="Milliseconds")
    operations_per_minute: Number
    dropped_operations: int = Field(0, description="Operations of any service dropped because the buffer was full")


class ConcernAnswer(Schema):
    """Something that needs attention."""

    severity: str = Field(description="info, warning or critical")
    people: int | None = Field(description="Users affected; null: not known")
    text: str = Field(description="One sentence, with its number")
    next_step: str
    service: str | None = Field(description="null: the bot as a whole")
    operation: str | None = Field(description="null: the service as a whole")
    target: str = Field(
        description="Shows more: errors, error:12, stats, slow, alerts, running, doctor, report, cost, or compare: and"
        " the period before"
    )
    alert: str | None = Field(None, description="The id of the active alert that it is about")

    @classmethod
    def of(cls, concern: Concern) -> ConcernAnswer:
        """Build it from a finding."""
        service, operation = concern.subject or ("", "")
        return cls(
            severity=concern.severity,
            people=concern.people,
            text=safe.text(concern.text),
            next_step=concern.next_step,
            service=service or None,
            operation=operation or None,
            target=concern.target,
            alert=concern.alert or None,
        )


class CommandStats(Stats):
    """One command, component or reply over a range."""

    name: str = Field(description="As owners know it: /ask, button Shop.buy, reply on_message")
    service: str
    operation: str

    @classmethod
    def named(cls, ranked: RankedOperation) -> CommandStats:
        """Build it from a query's ranked operation."""
        names = {"name": ranked.label, "service": ranked.service, "operation": ranked.operation}
        return cls.model_validate(names | stats_fields(ranked.figures))


class RankedStats(NamedTuple):
    """A command or a service in the order of its operations."""

    name: str
    service: str
    operation: str  # empty for a service
    stats: Stats


class Dashboard(Schema):
    """All services over a range, the active alerts, and what needs attention."""

    overall_stats: OverallStats
    service_stats: dict[str, Stats] = Field(description="By service name, the busiest first")
    alerts: list[AlertAnswer] = Field(description="Firing and acknowledged alerts")
    time_range: TimeRange
    background: dict[str, Stats] = Field(description="Background services: listeners, loops, requests")
    last_operation_at: Instant | None = Field(description="When the newest stored operation ended")
    commands: list[CommandStats] = Field(
        default_factory=list,
        description="The operations of discord.commands, discord.components and discord.replies, the busiest first",
    )
    attention: list[ConcernAnswer] = Field(
        [], description="What needs attention, the worst first; empty: nothing is wrong"
    )
    attention_left_out: int = Field(0, description="Further findings that are not listed")

    @property
    def ranked_commands(self) -> list[RankedStats]:
        """The commands, the busiest first."""
        return [RankedStats(command.name, command.service, command.operation, command) for command in self.commands]

    @property
    def ranked_services(self) -> list[RankedStats]:
        """The services whose operations are not in ``commands``, the busiest first."""
        by_operation = {command.service for command in self.commands}  # empty from a bot of an older version
        return [
            RankedStats(name, name, "", stats) for name, stats in self.service_stats.items() if name not in by_operation
        ]

    @property
    def ranking(self) -> list[RankedStats]:
        """Commands and services in one ranking, the busiest first."""
        together = [*self.ranked_commands, *self.ranked_services]
        return sorted(together, key=lambda ranked: -ranked.stats.total_operations)


async def dashboard(
    query: Query,
    span: Period | Range,
    *,
    services: Collection[str] | None = None,
    alerts: Sequence[Alert] = (),
    attention: AttentionOf | None = None,
) -> Dashboard:
    """Return the dashboard of all services, or of the named ones.

    ``attention`` returns what needs attention, from an overview, ``alerts`` and the named services.

    Raises:
        UnknownNameError: nothing is stored under one of the names.
        StorageError: the store cannot be read.
    """
    if services is not None:
        await query.require_services(services)
        alerts = [alert for alert in alerts if alert.service in services]
    overview = await query.overview(span, services=services)
    concerns = ConcernList() if attention is None else await attention(overview, alerts, services)
    return await asyncio.to_thread(_dashboard, overview, alerts, concerns)


def _dashboard(overview: Overview, alerts: Sequence[Alert], concerns: ConcernList) -> Dashboard:
    return Dashboard(
        overall_stats=_overall(overview),
        service_stats=_by_name(overview.services),
        commands=[CommandStats.named(ranked) for ranked in _yielding(overview.commands)],
        alerts=sent_alerts(alerts),
        time_range=TimeRange.of(overview.range),
        background=_by_name(overview.background),
        last_operation_at=utc_or_none(overview.last_end_us),
        attention=[ConcernAnswer.of(concern) for concern in concerns],
        attention_left_out=concerns.left_out,
    )


def _by_name(services: Sequence[tuple[str, Figures]]) -> dict[str, Stats]:
    return {name: Stats.of(service_figures) for name, service_figures in _yielding(services)}


def _yielding(rows: Iterable[T]) -> Iterator[T]:
    """Yield rows in a thread; between slices release the interpreter's lock for the event loop's thread."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % SERVICES_PER_SLICE == 0:
            time.sleep(0)


def _overall(overview: Overview) -> OverallStats:
    total = overview.total
    return OverallStats(
        total_operations=total.operations,
        average_response_time=ms_or_none(total.mean_us),
        overall_error_rate=rate(total.error_rate),
        active_services=len(overview.own_services),
        successful_operations=total.operations - total.failures,
        failed_operations=total.failures,
        p50_response_time=ms_or_none(total.p50_us),
        p95_response_time=ms_or_none(total.p95_us),
        p99_response_time=ms_or_none(total.p99_us),
        max_response_time=ms_or_none(total.max_us),
        operations_per_minute=rounded(total.per_minute, 3),
        dropped_operations=overview.dropped,
    )


class ServiceAnswer(Stats):
    """One service, or one operation of it, over a range."""

    service_name: str
    operation: str | None = Field(description="null: all operations of the service")
    recent_operations: list[OperationAnswer] = Field(description="Newest first")
    recent_errors: list[OperationAnswer] = Field(description="Newest first")
    slowest_operations: list[OperationAnswer] = Field(description="Slowest first")
    operations: dict[str, Stats] = Field(description="By operation name, the busiest first")
    before: Stats = Field(description="The previous period of the same length")
    time_range: TimeRange
    last_operation_at: Instant | None = Field(description="When the newest stored operation of all services ended")
    health_now: CheckAnswer | None = Field(
        None, description="Its health in the alert window that ends now, whatever the range; null: not judged"
    )


async def service_stats(query: Query, service: str, operation: str | None, period: Period | Range) -> ServiceAnswer:
    """Return the statistics of one service or operation; ``service`` may be a label such as "/ask".

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    span = query.span(period)
    stats = await query.stats(service, operation, span)
    ids = await query.ids(stats.service, stats.operation) or []
    recent = await query.store.recent(ids, span.since_us, span.until_us, limit=RECENT)
    return ServiceAnswer.model_validate(
        {
            **stats_fields(stats.total),
            "service_name": stats.service,
            "operation": stats.operation,
            "recent_operations": [OperationAnswer.of(operation) for operation in recent],
            "recent_errors": [OperationAnswer.of(operation) for operation in stats.errors],
            "slowest_operations": [OperationAnswer.of(operation) for operation in stats.slowest],
            "operations": {name: Stats.of(operation_figures) for name, operation_figures in stats.operations},
            "before": Stats.of(stats.before),
            "time_range": TimeRange.of(span),
            "last_operation_at": utc_or_none(stats.last_end_us),
        }
    )


class Series(Schema):
    """One value for each step of time, in lists of equal length; latencies are null in a step without operations."""

    service: str | None = Field(description="null: all services but the background services")
    operation: str | None
    time_range: TimeRange
    step_seconds: int = Field(description="The width of a step")
    timestamps: list[Instant] = Field(description="The start of each step")
    operations_per_minute: list[Number]
    failures_per_minute: list[Number]
    average_response_time: list[Number | None] = Field(description="Milliseconds")
    p50_response_time: list[Number | None] = Field(description="Milliseconds")
    p95_response_time: list[Number | None] = Field(description="Milliseconds")
    p99_response_time: list[Number | None] = Field(description="Milliseconds")


async def series(
    query: Query,
    service: str | None,
    operation: str | None,
    period: Period | Range,
    *,
    step_us: int | None = None,
    trim: bool = False,
) -> Series:
    """Return the time series of a service, of one operation, or of all services but the background services.

    ``service`` may be a label such as "/ask".
    ``step_us`` is rounded up to whole minutes and to at most 1,500 points. Without it, the step is the smallest round
    one with at most 125 points. With ``trim``, the steps begin with the first record.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    span = query.span(period)
    rounded_us = None if step_us is None else _rounded_step_us(span, step_us)
    if service is not None:
        service, operation = await query.subject_of(service, operation)
    timeline = await query.timeline(service, operation, span, step_us=rounded_us, trim=trim)
    return Series(
        service=service,
        operation=operation,
        time_range=TimeRange.of(span),
        step_seconds=timeline.step_us // 1_000_000,
        timestamps=[utc(edge) async for edge in paced(timeline.edges_us)],
        operations_per_minute=[rounded(value, 3) async for value in paced(timeline.per_minute)],
        failures_per_minute=[rounded(value, 3) async for value in paced(timeline.failures_per_minute)],
        average_response_time=await _milliseconds(timeline.mean_us),
        p50_response_time=await _milliseconds(timeline.p50_us),
        p95_response_time=await _milliseconds(timeline.p95_us),
        p99_response_time=await _milliseconds(timeline.p99_us),
    )


def _rounded_step_us(span: Range, step_us: int) -> int:
    """Return the smallest multiple of a minute from ``step_us`` on that results in at most MOST_POINTS."""
    least_us = max(step_us, -(-(span.until_us - span.since_us) // MOST_POINTS))
    return -(-least_us // MINUTE_US) * MINUTE_US


async def _milliseconds(values: Sequence[float | None]) -> list[int | float | None]:
    return [ms_or_none(value) async for value in paced(values)]
