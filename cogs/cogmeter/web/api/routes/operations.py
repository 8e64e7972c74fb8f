"""Single operations: pages of them, the slowest, those that run now, traces, and exports."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from cogmeter.exporters.base import Export
from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter.query.query import now_us
from cogmeter.query.records import Period, Range
from cogmeter.recording.background import Slicer
from cogmeter.render.rule_text import worded_alerts
from cogmeter.schemas.base import TimeRange
from cogmeter.schemas.operations import (
    OperationAnswer,
    OperationPage,
    RunningPage,
    Slowest,
    Traces,
    operation_page,
    running_page,
    slowest,
    traces,
)
from cogmeter.schemas.selection import SelectionAnswer, selection_answer
from cogmeter.schemas.slow import SlowAnswer, slow_answer
from cogmeter.schemas.times import Since
from cogmeter.times import iso, utc
from cogmeter.web.api.params import (
    Name,
    PagedParams,
    RangeParams,
    ServiceFilterParams,
    ServiceRangeParams,
    Services,
    Subject,
    cursor_of,
    numbers_of,
)
from cogmeter.web.api.routing import Route, Stream
from cogmeter.web.server.negotiation import accepts_gzip
from cogmeter_storage.model import FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor

FAILED: Final = "failed"
GZIP_LEVEL: Final = 3  # compression blocks the loop
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # selects the gzip format in zlib

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[tuple(EXPORTERS)]
OutcomeFilter = Literal["ok", "error", "upstream", "user", "cancelled", "failed"]
SlowestLimit = Annotated[int, Field(ge=1, le=100, description="Number of the slowest ones")]


class OperationsParams(ServiceRangeParams, PagedParams):
    """Parameters: the range, the service or operation, the page, and filters."""

    outcome: Annotated[
        tuple[OutcomeFilter, ...],
        Field(max_length=6, description="Only these outcomes, separated by commas; failed means error and upstream"),
    ] = ()
    min_duration: Annotated[float, Field(ge=0, le=1e11, description="Minimum duration in milliseconds")] = 0.0

    @property
    def outcomes(self) -> Collection[Outcome] | None:
        """The requested outcomes; None for all."""
        if not self.outcome:
            return None
        named = {outcome for outcome in Outcome if outcome.label in self.outcome}
        return named | set(FAILURES) if FAILED in self.outcome else named


class SlowestParams(RangeParams):
    """Parameters: the range, the services, an operation name, and the number of operations."""

    services: Services | None = None
    operation: Annotated[Name | None, Field(description="Only operations with this name")] = None
    limit: SlowestLimit = 20


class SlowParams(RangeParams):
    """Parameters: the range, and one command or service."""

    service: Subject | None = None


class SlowRunsParams(SlowParams, ServiceFilterParams):
    """Parameters: the range, and one command, service or operation of it."""

    service: Subject | None = None


class TracesParams(ServiceFilterParams):
    """Parameters: the start, the service or operation, and the number of traces."""

    since: Since | None = None
    limit: SlowestLimit = 20


class ExportParams(RangeParams):
    """Parameters: the range, the services, and the format."""

    format: Annotated[Format | None, Field(description="Default: PERFORMANCE_EXPORT_FORMAT")] = None
    services: Services | None = None


async def read_operations(monitor: Monitor, params: OperationsParams) -> OperationPage:
    """Return one page of operations, newest first."""
    span, before_id = params.span(now_us()), None
    numbers = numbers_of(params.cursor, 3)
    if numbers is not None:  # later pages keep the range of the first one
        before_id = numbers[0]
        span = Range(numbers[1], numbers[2], span.label)
    operations, last_id = await operation_page(
        await params.query_of(monitor),
        span,
        service=params.service,
        operation=params.operation,
        outcomes=params.outcomes,
        slower_than_us=round(params.min_duration * 1000),
        before_id=before_id,
        limit=params.limit,
    )
    return OperationPage(
        time_range=TimeRange.of(span),
        operations=[OperationAnswer.of(operation) for operation in operations],
        next=cursor_of(last_id, span.since_us, span.until_us),
    )


async def read_slowest(monitor: Monitor, params: SlowestParams) -> Slowest:
    """Return the slowest operations."""
    span = params.span(now_us())
    query = await params.query_of(monitor)
    return await slowest(query, span, services=params.services, operation=params.operation, limit=params.limit)


async def read_slow(monitor: Monitor, params: SlowRunsParams) -> SlowAnswer:
    """Return the slowest runs with their parts and what to do."""
    query, span = await params.query_of(monitor), params.span(now_us())
    return await slow_answer(query, span, service=params.service, operation=params.operation)


async def read_selection(monitor: Monitor, params: SlowParams) -> SelectionAnswer:
    """Return what happened in a range."""
    span = params.span(now_us())
    markers = await monitor.chart_builder.markers(span)
    query = await params.query_of(monitor)
    return worded_alerts(await selection_answer(query, span, service=params.service, markers=markers))


async def read_running(monitor: Monitor, params: PagedParams) -> RunningPage:
    """Return one page of the operations that run now."""
    (offset,) = numbers_of(params.cursor, 1) or (0,)
    reader, at_us = await monitor.running(), now_us()
    operations, next_offset = await running_page(reader, at_us, limit=params.limit, offset=offset)
    return RunningPage(at=utc(at_us), total=len(reader), operations=operations, next=cursor_of(next_offset))


async def read_traces(monitor: Monitor, params: TracesParams) -> Traces:
    """Return the slowest interactions."""
    since_us = now_us() - Period.DAY.length_us if params.since is None else params.since
    return await traces(monitor.query, since_us, service=params.service, operation=params.operation, limit=params.limit)


async def export_operations(monitor: Monitor, params: ExportParams, request: web.Request) -> Stream:
    """Return all operations of a range as a file."""
    if params.services is not None:
        await monitor.query.require_services(params.services)
    store, at_us = (await params.query_of(monitor)).store, now_us()
    span = params.whole_range(at_us)
    writer = exporter(params.format or monitor.settings.export_format)
    export = Export(
        since_us=span.since_us,
        until_us=span.until_us,
        at_us=at_us,
        services=params.services,
        namespace=monitor.settings.metrics_namespace,
    )
    chunks = writer.write(store, export)
    day = iso(at_us)[:10]
    headers = {
        "Content-Disposition": f'attachment; filename="performance-{day}.{writer.suffixes[0]}"',
        "Vary": "Accept-Encoding",
    }
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        chunks = _gzipped(chunks)
    return Stream(chunks, writer.media_type, headers)


async def _gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress chunks; compressed data is yielded as soon as there are some kilobytes."""
    compressor = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    try:
        pace = Slicer()
        async for chunk in chunks:
            compressed = compressor.compress(chunk)
            if compressed:
                yield compressed
            await pace.pause()  # many chunks are compressed before one is yielded
        yield compressor.flush()
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/operations",
        read_operations,
        "List operations, newest first, page by page (default: last 24 hours)",
        query=OperationsParams,
        response=OperationPage,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/traces",
        read_traces,
        "List the slowest interactions with the operations inside them (default: last 24 hours)",
        query=TracesParams,
        response=Traces,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/slowest",
        read_slowest,
        "List the slowest operations; background services only by name (default: last 24 hours)",
        tag="slowest",
        query=SlowestParams,
        response=Slowest,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/slow",
        read_slow,
        "Explain the slowest run of each command and reply, or those of one (default: last 24 hours)",
        tag="slow",
        query=SlowRunsParams,
        response=SlowAnswer,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/selection",
        read_selection,
        "Show what happened in a range: alerts, slowest operations and why, errors, markers (default: last 24 hours)",
        tag="slow",
        query=SlowParams,
        response=SelectionAnswer,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/running",
        read_running,
        "List the operations that run now, longest first, with the line that each waits in",
        tag="running",
        query=PagedParams,
        response=RunningPage,
    ),
    Route(
        "GET",
        "/api/performance/export",
        export_operations,
        "Export all operations of a range as a file (default: last 24 hours)",
        tag="export",
        query=ExportParams,
        media={
            writer.media_type: f"{writer.label} (format={writer.name}): {writer.description}"
            for writer in map(exporter, EXPORTERS)
        },
        problems=(404,),
    ),
)
