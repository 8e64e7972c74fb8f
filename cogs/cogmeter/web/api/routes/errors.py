"""Failures, grouped by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter.schemas.errors import Errors, errors
from cogmeter.web.api.params import Limit, NamedParams
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class ErrorsParams(NamedParams):
    """Which failures, and how many groups of them."""

    limit: Limit = 50


async def read_errors(monitor: Monitor, ask: ErrorsParams) -> Errors:
    """Groups of failures."""
    span = ask.span(now_us())
    return await errors(monitor.query, span, service=ask.service, operation=ask.operation, limit=ask.limit)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/errors",
        read_errors,
        "Failures grouped by what they say, the largest groups first (the last 24 hours)",
        query=ErrorsParams,
        answer=Errors,
        problems=(404,),
    ),
)
