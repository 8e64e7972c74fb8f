"""Errors: failures grouped by text, and error groups: lists, details, resolving and muting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from cogmeter.alerts.review.muting import LONGEST_S, SHORTEST_S
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.schemas.errors import (
    ErrorGroupDetail,
    ErrorGroupPage,
    ErrorGroupSummary,
    Errors,
    error_group_detail,
    error_group_page,
    errors,
)
from cogmeter.web.api.bodies import Body, Nothing
from cogmeter.web.api.params import (
    Limit,
    Operation,
    PagedParams,
    QueryParams,
    RangeParams,
    ServiceRangeParams,
    Services,
    cursor_of,
    numbers_of,
)
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route
from cogmeter_storage.errors import ErrorKind, UnknownErrorGroupError

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

Kind = Literal["failed", "logged", "unhandled"]


class ErrorsParams(ServiceRangeParams):
    """Parameters: the range, the service or operation, and the number of groups."""

    limit: Limit = 50


class ErrorGroupsParams(RangeParams, PagedParams):
    """Parameters: the range, the page, and filters."""

    services: Services | None = None
    operation: Operation | None = None
    kinds: Annotated[
        tuple[Kind, ...], Field(max_length=3, description="Only these kinds, separated by commas; default: all")
    ] = ()
    resolved: Annotated[bool | None, Field(description="true: only resolved groups; false: only open ones")] = None


class ErrorGroupParams(QueryParams):
    """Parameters: the error group."""

    id: Annotated[int, Field(ge=1, le=2**53)]


class ErrorMuteBody(Body):
    """Request body: the duration of the mute."""

    seconds: Annotated[int, Field(ge=SHORTEST_S, le=LONGEST_S)] | None = Field(description="null: end the mute")


async def read_errors(monitor: Monitor, params: ErrorsParams) -> Errors:
    """Return failures in groups."""
    span = params.span(now_us())
    query = await params.query_of(monitor)
    return await errors(query, span, service=params.service, operation=params.operation, limit=params.limit)


async def read_error_groups(monitor: Monitor, params: ErrorGroupsParams) -> ErrorGroupPage:
    """Return one page of error groups."""
    span, offset = params.span(now_us()), 0
    numbers = numbers_of(params.cursor, 3)
    if numbers is not None:  # later pages keep the range of the first one
        offset = numbers[0]
        span = Range(numbers[1], numbers[2], span.label)
    page, next_offset = await error_group_page(
        monitor.query,
        span,
        services=params.services,
        operation=params.operation,
        kinds=[ErrorKind(kind) for kind in params.kinds] or None,
        resolved=params.resolved,
        limit=params.limit,
        offset=offset,
    )
    return page.model_copy(update={"next": cursor_of(next_offset, span.since_us, span.until_us)})


async def read_error_group(monitor: Monitor, params: ErrorGroupParams) -> ErrorGroupDetail:
    """Return one error group with its newest errors."""
    detail = await error_group_detail(monitor.query, params.id)
    if detail is None:
        raise _unknown(UnknownErrorGroupError(params.id))
    return detail


async def resolve_error_group(monitor: Monitor, params: ErrorGroupParams, actor: str) -> ErrorGroupSummary:
    """Resolve an error group."""
    try:
        await monitor.store.errors.resolve(params.id, actor=actor, now_us=now_us())
    except UnknownErrorGroupError as error:
        raise _unknown(error) from None
    return (await read_error_group(monitor, params)).group


async def mute_error_group(
    monitor: Monitor, params: ErrorGroupParams, body: ErrorMuteBody, actor: str
) -> ErrorGroupSummary:
    """Mute an error group, or end its mute."""
    at_us = now_us()
    until_us = None if body.seconds is None else at_us + body.seconds * 1_000_000
    try:
        await monitor.store.errors.mute(params.id, until_us=until_us, actor=actor, now_us=at_us)
    except UnknownErrorGroupError as error:
        raise _unknown(error) from None
    return (await read_error_group(monitor, params)).group


def _unknown(error: UnknownErrorGroupError) -> Problem:
    return Problem(404, "Unknown error group", str(error), parameter="id")


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/errors",
        read_errors,
        "List failures grouped by error text, the largest groups first (default: last 24 hours)",
        query=ErrorsParams,
        response=Errors,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/error-groups",
        read_error_groups,
        "List the error groups of a range with place, people and trend, the most frequent first, page by page",
        query=ErrorGroupsParams,
        response=ErrorGroupPage,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/error-groups/{id}",
        read_error_group,
        "Get one error group with the stacks of its newest errors",
        query=ErrorGroupParams,
        response=ErrorGroupDetail,
        problems=(404,),
    ),
    Route(
        "POST",
        "/api/performance/error-groups/{id}/resolve",
        resolve_error_group,
        "Resolve an error group; it reopens when the error comes back",
        query=ErrorGroupParams,
        body=Nothing,
        response=ErrorGroupSummary,
        problems=(404,),
        changes=True,
    ),
    Route(
        "POST",
        "/api/performance/error-groups/{id}/mute",
        mute_error_group,
        "Mute an error group, or end its mute: muted errors are counted, but send no alert",
        query=ErrorGroupParams,
        body=ErrorMuteBody,
        response=ErrorGroupSummary,
        problems=(404,),
        changes=True,
    ),
)
