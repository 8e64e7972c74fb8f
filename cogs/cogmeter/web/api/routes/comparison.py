"""Comparisons: two periods of a command or service, with confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.query.comparison_periods import PeriodOrderError, UnknownPeriodError
from cogmeter.schemas.comparison import ComparisonAnswer, comparison
from cogmeter.web.api.params import Process, ServiceFilterParams, Subject
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

LONGEST: Final = 200  # characters of a period
ComparedPeriodText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST,
        description="A period such as 24h, a range such as 2025-08-16..2025-08-17, or the name of a marker. One marker"
        " alone means the time before and after it",
    ),
]


class ComparisonParams(ServiceFilterParams):
    """Parameters: the service or command, and the two periods."""

    service: Subject | None = None
    process: Process | None = None
    before: ComparedPeriodText | None = None
    after: ComparedPeriodText | None = None


async def read_comparison(monitor: Monitor, params: ComparisonParams) -> ComparisonAnswer:
    """Return a comparison.

    Raises:
        Problem: 404; a text is neither a period nor the name of a marker. 409; the first period is not before the
            second one.
    """
    try:
        query = await monitor.query.of_process(params.process)
        return await comparison(query, params.service, params.operation, before=params.before, after=params.after)
    except UnknownPeriodError as error:
        raise period_problem(error) from None


def period_problem(error: UnknownPeriodError) -> Problem:
    """Return the answer to periods that cannot be compared, of the route and of the page."""
    if isinstance(error, PeriodOrderError):
        return Problem(409, "Periods overlap", str(error), parameter=error.parameter)
    return Problem.of(404, str(error), parameter=error.parameter)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/compare",
        read_comparison,
        "Compare two periods of all services, of one or of a command (default: before and after the last deploy)",
        tag="services",
        query=ComparisonParams,
        response=ComparisonAnswer,
        problems=(404, 409),
    ),
)
