"""The page "Compare": two periods of a command, of a service or of all, next to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field

from cogmeter.query.comparison import compare
from cogmeter.query.comparison_periods import BY_ID, UnknownPeriodError, offered_markers, reference
from cogmeter.render import comparison_text, formatting
from cogmeter.schemas.times import iso
from cogmeter.web.api.routes.comparison import period_problem
from cogmeter.web.pages.chart_context import chart_context
from cogmeter.web.pages.frame import API, HOME, Page, PageParams, PageView, displayed, or_none, page_response, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from cogmeter.query.comparison import Comparison
    from cogmeter_storage.model import Marker

PATH: Final = f"{HOME}/compare"
WIDTH, HEIGHT, TICKS = 960, 160, 5
MARKERS: Final = 40  # newest ones to choose from
LENGTHS: Final = ("24h", "7d", "30d")
PeriodText = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(or_none)]


class ComparisonPageParams(PageParams):
    """Parameters: the operation, and the two periods; the page has no period of its own."""

    covers_selection: ClassVar[bool] = True
    operation: Annotated[str | None, BeforeValidator(or_none)] = None
    before: PeriodText = None
    after: PeriodText = None


@dataclass(frozen=True, slots=True)
class ComparedDistributions:
    """Two outlines in a box of WIDTH x HEIGHT over the same logarithmic axis."""

    before: str
    after: str
    ticks: list[str]
    rows: list[tuple[str, float, float]]  # the upper bound, and the share of both periods


async def show_comparison(view: PageView[ComparisonPageParams]) -> web.Response:
    """Show the comparison that the parameters name.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        Problem: 404 or 409, see ``period_problem``.
    """
    params = view.params
    view = replace(view, own={"operation": params.operation, "before": params.before, "after": params.after})
    try:
        found = await compare(view.query, params.service, params.operation, before=params.before, after=params.after)
    except UnknownPeriodError as error:
        raise period_problem(error) from None
    markers = await offered_markers(view.query)
    first_us = found.recorded_since_us
    since = "" if first_us is None else f"{formatting.clock_time(first_us, with_date=True)} UTC"
    return await page_response(
        view,
        "comparison.html",
        title="Compare",
        comparison=found,
        subject=comparison_text.subject_text(found.service, found.operation),
        headline=comparison_text.headline(found),
        notes=list(comparison_text.notes(found.hours, found.before, found.after, recorded_since=since)),
        verdicts=comparison_text.verdicts(found),
        rows=(*found.percentiles, found.errors, found.throughput),
        words=comparison_text,
        distributions=distributions(found),
        before_choices=_choices(markers, params.before),
        after_choices=_choices(markers, params.after),
        operations=list((await view.query.names()).get(found.service or "", [])),
        **await _chart(view, found),
    )


async def _chart(view: PageView[ComparisonPageParams], found: Comparison) -> dict[str, str]:
    """Return the sources of the chart over both periods, and its markers."""
    names = {"service": found.service, "operation": found.operation}
    times = {"since": iso(found.range.since_us), "until": iso(found.range.until_us)}
    changed = {"since": found.range.since_us, "until": found.range.until_us}
    params = view.params.model_copy(update={**changed, "selected_since": None, "selected_until": None})
    ranged: PageView[ComparisonPageParams] = replace(view, params=params)
    return {
        "marks": await chart_context(ranged, found.service),
        "series": f"{API}/series{query({**times, **names, 'trim': 'true'})}",
        "picture_url": ranged.chart(**names),
    }


def distributions(found: Comparison) -> ComparedDistributions | None:
    """Return the outlines of both distributions; None without operations."""
    if not found.edges_us:
        return None
    most = max(*found.before.shares, *found.after.shares)
    low, high = found.edges_us[0], found.edges_us[-1]
    return ComparedDistributions(
        _outline(found.before.shares, most),
        _outline(found.after.shares, most),
        [formatting.duration(low * (high / low) ** (tick / (TICKS - 1))) for tick in range(TICKS)],
        [
            (formatting.duration(end), before, after)
            for end, before, after in zip(found.edges_us[1:], found.before.shares, found.after.shares, strict=True)
            if before or after
        ],
    )


def _outline(shares: Sequence[float], most: float) -> str:
    """Return the outline of bars as a path that begins and ends at the axis."""
    step = WIDTH / len(shares)
    steps = "".join(
        f"V{HEIGHT - share / most * HEIGHT:.1f}H{(place + 1) * step:.1f}" for place, share in enumerate(shares)
    )
    return f"M0 {HEIGHT}{steps}V{HEIGHT}"


def _choices(markers: Sequence[Marker], chosen: str | None) -> list[tuple[str, str]]:
    """Return the value and label of each period to choose from, with the chosen one."""
    choices = [
        (reference(marker.id), f"{formatting.clock_time(marker.at_us, with_date=True)} UTC, {displayed(marker.name)}")
        for marker in reversed(markers[-MARKERS:])
    ]
    choices += [(length, length) for length in LENGTHS]
    if chosen and chosen not in dict(choices):
        whole, _, length = chosen.removeprefix(BY_ID).partition(":")
        names = [displayed(marker.name) for marker in markers if reference(marker.id) == f"{BY_ID}{whole}"]
        shown = f"{names[0]}, {length} after it" if names and length else (names or [displayed(chosen)])[0]
        choices.insert(0, (chosen, shown))
    return choices


# It is not in the menu: overview, services and markers lead to it.
PAGE: Final = Page(
    "overview",
    PATH,
    "Compare",
    show_comparison,
    ComparisonPageParams,
    None,
    words=("comparison", "deploys", "markers", "versions"),
)
