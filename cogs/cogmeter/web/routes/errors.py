"""Failures, grouped by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.answers.errors import Errors, errors
from cogmeter.query import now_us
from cogmeter.web.api import Route
from cogmeter.web.asks import Limit, NamedAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class ErrorsAsk(NamedAsk):
    """Which failures, and how many groups of them."""

    limit: Limit = 50


async def read_errors(monitor: Monitor, ask: ErrorsAsk) -> Errors:
    """Groups of failures."""
    span = ask.span(now_us())
    return await errors(monitor.query, span, service=ask.service, operation=ask.operation, limit=ask.limit)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/errors",
        read_errors,
        "Failures grouped by what they say, the largest groups first (the last 24 hours)",
        query=ErrorsAsk,
        answer=Errors,
        problems=(404,),
    ),
)
