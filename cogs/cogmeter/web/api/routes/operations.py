"""Single operations page by page, and the trees of slow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from cogmeter.query.query import now_us
from cogmeter.query.records import Period, Range
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.operations import OperationAnswer, OperationPage, page
from cogmeter.schemas.times import Since  # noqa: TC001 - pydantic evaluates the annotations
from cogmeter.schemas.traces import Traces, traces
from cogmeter.web.api.params import NamedParams, PagedParams, ServiceFilterParams, cursor_of, numbers_of
from cogmeter.web.api.routing import Route
from cogmeter_storage.model import FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.monitor.monitor import Monitor

FAILED: Final = "failed"
Ending = Literal["ok", "error", "upstream", "user", "cancelled", "failed"]


class OperationsParams(NamedParams, PagedParams):
    """Which operations."""

    outcome: Annotated[
        tuple[Ending, ...],
        Field(max_length=6, description="That ended so, with commas between; failed is error and upstream"),
    ] = ()
    min_duration: Annotated[float, Field(ge=0, le=1e11, description="That took at least so many milliseconds")] = 0.0

    @property
    def outcomes(self) -> Collection[Outcome] | None:
        """The outcomes that are asked for; None: any."""
        if not self.outcome:
            return None
        named = {outcome for outcome in Outcome if outcome.label in self.outcome}
        return named | set(FAILURES) if FAILED in self.outcome else named


class TracesParams(ServiceFilterParams):
    """Which traces."""

    since: Since | None = None
    limit: Annotated[int, Field(ge=1, le=100, description="How many of the slowest")] = 20


async def read_operations(monitor: Monitor, ask: OperationsParams) -> OperationPage:
    """One page of operations, newest first."""
    span, before_id = ask.span(now_us()), None
    known = numbers_of(ask.cursor, 3)
    if known is not None:  # the stretch of time as it was when the first page was asked for
        before_id = known[0]
        span = Range(known[1], known[2], span.label)
    found, last_id = await page(
        monitor.query,
        span,
        service=ask.service,
        operation=ask.operation,
        outcomes=ask.outcomes,
        slower_than_us=round(ask.min_duration * 1000),
        before_id=before_id,
        limit=ask.limit,
    )
    return OperationPage(
        time_range=TimeRange.of(span),
        operations=[OperationAnswer.of(one) for one in found],
        next=cursor_of(last_id, span.since_us, span.until_us),
    )


async def read_traces(monitor: Monitor, ask: TracesParams) -> Traces:
    """The slowest interactions."""
    since_us = now_us() - Period.DAY.length_us if ask.since is None else ask.since
    return await traces(monitor.query, since_us, service=ask.service, operation=ask.operation, limit=ask.limit)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/operations",
        read_operations,
        "Single operations, newest first, page by page (the last 24 hours)",
        query=OperationsParams,
        answer=OperationPage,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/traces",
        read_traces,
        "The slowest interactions with the operations inside them (the last 24 hours)",
        query=TracesParams,
        answer=Traces,
        problems=(404,),
    ),
)
