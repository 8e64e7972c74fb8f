"""Health of the bot, the monitor and the services, and of the process: blocks of the event loop, loops, gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from cogmeter import __version__
from cogmeter.diagnosis import Check, Status
from cogmeter.query.query import now_us
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import STALLS, TASKS
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, Stats, TimeRange, ms, ms_or_none, rate, rounded
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Self

    from cogmeter.alerts.model import LoopState
    from cogmeter.diagnosis import ServiceHealth, Verdict
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord, SampleStep

POINTS: Final = 200  # points of one gauge; each combines at least one sample
DIGITS: Final = 6


class CheckAnswer(Schema):
    """The result of one check."""

    status: Status
    reason: str
    age_seconds: Number | None = Field(
        description="Age of the data behind it: the last heartbeat, flush, write, sample, run or operation"
    )

    @classmethod
    def of(cls, check: Check) -> Self:
        """Build it from a check."""
        return cls(**_check_fields(check))


class ServiceHealthAnswer(CheckAnswer):
    """Health of one service in the alert window."""

    total_operations: int = Field(description="In the window")
    error_rate: Number | None = Field(description="0 to 1; null without operations in the window")
    average_response_time: Number | None = Field(description="Milliseconds")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    last_seen: Instant | None = Field(description="When its last operation ended, accurate to 1/60 of the window")

    @classmethod
    def of_service(cls, health: ServiceHealth) -> Self:
        """Build it from the health of a service."""
        return cls(
            **_check_fields(health.check),
            total_operations=health.operations,
            error_rate=None if health.error_rate is None else rate(health.error_rate),
            average_response_time=ms_or_none(health.mean_us),
            p95_response_time=ms_or_none(health.p95_us),
            last_seen=utc_or_none(health.last_seen_us),
        )


class VerdictAnswer(Schema):
    """The state of the bot now, which every surface shows."""

    status: Status = Field(description="The worst of the active alerts, the services and the components")
    text: str = Field(examples=["1 active alert (critical); 1 service unhealthy (graph); 9 of 9 component checks pass"])


class _Report(Schema):
    status: Status = Field(
        description="/health: whether the bot can serve, which is the worst of the checks, and degraded while only the "
        "verdict, or an alert about the event loop, is not healthy. The others: the verdict, or the worst of their "
        "checks while the bot starts. Healthy and degraded return 200"
    )
    status_reason: str = Field("", description="What the status follows from")
    verdict: VerdictAnswer | None = Field(None, description="The same on every route; null from an earlier version")
    version: str = Field(description="Version of cogmeter")
    uptime_seconds: Number = Field(description="Since cogmeter started")
    timestamp: Instant


class HealthAnswer(_Report):
    """Health of the bot or of the monitor."""

    checks: dict[str, CheckAnswer]

    @classmethod
    def of(cls, status: Status, checks: Iterable[Check], verdict: Verdict, up_s: float, *, reason: str = "") -> Self:
        """Build it from checks. ``reason`` is what the status follows from, if that is not the verdict."""
        answers = {check.name: CheckAnswer.of(check) for check in checks}
        return cls(checks=answers, **_report_fields(status, verdict, up_s, reason))


class ServicesHealthAnswer(_Report):
    """Health of every recorded service."""

    checks: dict[str, ServiceHealthAnswer] = Field(description="By service name")
    discord: dict[str, ServiceHealthAnswer] = Field(description="Services that cogmeter records for Discord itself")

    @classmethod
    async def of(
        cls,
        status: Status,
        own: Mapping[str, ServiceHealth],
        discord: Mapping[str, ServiceHealth],
        verdict: Verdict,
        up_s: float,
    ) -> Self:
        """Build it from the health of the services, in short slices."""
        fields = _report_fields(status, verdict, up_s)
        return cls(checks=await _by_name(own), discord=await _by_name(discord), **fields)


async def _by_name(services: Mapping[str, ServiceHealth]) -> dict[str, ServiceHealthAnswer]:
    return {safe.text(name): ServiceHealthAnswer.of_service(health) async for name, health in paced(services.items())}


def _check_fields(check: Check) -> dict[str, Any]:
    return {
        "status": check.status,
        "reason": safe.text(check.reason),
        "age_seconds": None if check.age_s is None else rounded(check.age_s, 3),
    }


def _report_fields(status: Status, verdict: Verdict, up_s: float, reason: str = "") -> dict[str, Any]:
    return {
        "status": status,
        "status_reason": reason or f"the verdict is {verdict.status}",
        "verdict": VerdictAnswer(status=verdict.status, text=verdict.text),
        "version": __version__,
        "uptime_seconds": rounded(up_s, 3),
        "timestamp": utc(now_us()),
    }


class Stall(Schema):
    """One block of the event loop."""

    place: str = Field(examples=["cogs/music.py:88 search"])
    start_time: Instant
    duration: Number = Field(description="Milliseconds")
    during: str | None = Field(description="The interaction that was running")
    stack: list[str] = Field(description="The innermost line first")

    @classmethod
    def of(cls, operation: OperationRecord) -> Stall:
        """Build it from its stored operation."""
        stack, during = operation.metadata.get("stack"), operation.metadata.get("during")
        return cls(
            place=operation.operation,
            start_time=utc(operation.start_us),
            duration=ms(operation.duration_us),
            during=safe.text(str(during)) if during else None,
            stack=[safe.text(str(line)) for line in stack] if isinstance(stack, list) else [],
        )


class Stalls(Schema):
    """Blocks of the event loop."""

    time_range: TimeRange
    places: dict[str, Stats] = Field(description="By the line that blocked, the most frequent first")
    recent: list[Stall] = Field(description="Newest first")
    longest: list[Stall] = Field(description="Longest first")


async def stalls(query: Query, span: Range, *, limit: int) -> Stalls:
    """Return the blocks of the event loop in a range.

    Raises:
        StorageError: the store cannot be read.
    """
    ids = [series.id for series in await query.store.series() if series.service == STALLS]
    if not ids:
        return Stalls(time_range=TimeRange.of(span), places={}, recent=[], longest=[])
    selection = (ids, span.since_us, span.until_us)
    places = await query.operations(STALLS, span)
    return Stalls(
        time_range=TimeRange.of(span),
        places={name: Stats.of(figures) for name, figures in places.items()},
        recent=[Stall.of(operation) for operation in await query.store.recent(*selection, limit=limit)],
        longest=[Stall.of(operation) for operation in await query.store.slowest(*selection, limit=limit)],
    )


class Loop(Schema):
    """One background loop or job, by the name of its operations."""

    name: str
    state: str = Field(description="ok, overdue or dead")
    overdue_seconds: Number = Field(description="Time since the next iteration was due; 0 if it is not overdue")
    message: str | None = Field(description="What is wrong; null if nothing is")
    stats: Stats | None = Field(description="Of its iterations; null without an iteration in the range")


class Loops(Schema):
    """Background loops: dead and overdue ones first, then the busiest."""

    time_range: TimeRange
    loops: list[Loop]


async def loops(query: Query, span: Range, failing: Sequence[LoopState]) -> Loops:
    """Return every loop that ran in a range, and the loops that are dead or overdue now.

    Raises:
        StorageError: the store cannot be read.
    """
    stats = {name: Stats.of(figures) for name, figures in (await query.operations(TASKS, span)).items()}
    listed = [_failing_loop(state, stats.pop(state.name, None)) for state in failing]
    listed += [Loop(name=name, state="ok", overdue_seconds=0, message=None, stats=its) for name, its in stats.items()]
    return Loops(time_range=TimeRange.of(span), loops=listed)


def _failing_loop(state: LoopState, stats: Stats | None) -> Loop:
    return Loop(
        name=state.name,
        state="dead" if state.dead else "overdue",
        overdue_seconds=rounded(state.overdue_s, 3),
        message=safe.text(state.text),
        stats=stats,
    )


class Gauge(Schema):
    """One gauge: the mean, lowest and highest sample of each point."""

    timestamps: list[Instant] = Field(description="When the first sample of each point was taken")
    mean: list[Number]
    lowest: list[Number]
    highest: list[Number]


class Gauges(Schema):
    """Gauges by name, and the newest value of every gauge."""

    time_range: TimeRange
    gauges: dict[str, Gauge]
    latest: dict[str, Number] = Field(description="The newest sample of every gauge, by name")


async def gauges(store: Store, span: Range, names: Collection[str], latest: Mapping[str, float]) -> Gauges:
    """Return the gauges with these names over a range, aggregated by the store; an unknown name has no points.

    Raises:
        StorageError: the store cannot be read.
    """
    step_us = max(-(-(span.until_us - span.since_us) // POINTS), 1)
    steps = await store.sample_steps(names, span.since_us, span.until_us, step_us=step_us)
    return Gauges(
        time_range=TimeRange.of(span),
        gauges={name: _gauge(list(steps[name].values())) for name in names},
        latest={name: rounded(value, DIGITS) for name, value in sorted(latest.items())},
    )


def _gauge(points: Sequence[SampleStep]) -> Gauge:
    return Gauge(
        timestamps=[utc(point.first_us) for point in points],
        mean=[rounded(point.mean, DIGITS) for point in points],
        lowest=[rounded(point.lowest, DIGITS) for point in points],
        highest=[rounded(point.highest, DIGITS) for point in points],
    )
