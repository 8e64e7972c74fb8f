"""The cost page: tokens and dollars by day, service and model, the budget, and the month's forecast."""

from __future__ import annotations

import calendar
import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator

from cogmeter.alerts.model import Subject
from cogmeter.query.records import Range
from cogmeter.recording.background import paced
from cogmeter.schemas.costs import CostSum
from cogmeter.schemas.times import iso
from cogmeter.times import utc
from cogmeter.web.pages.frame import API, HOME, MenuEntry, Page, PageParams, PageView, or_default, page_response, query
from cogmeter.web.pages.selection import selection
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from cogmeter.alerts.measurement.spending import Spent
    from cogmeter.monitor.monitor import Monitor

BASIS: Final = 7  # whole days that a forecast is based on
LEAST_BASIS: Final = 3
LISTED: Final = 200  # services and models in the table
CHOICES: Final = ("7", "30", "90")  # days


class CostPageParams(PageParams):
    """Parameters: the number of days, unless there is a range of time."""

    days: Annotated[Literal["7", "30", "90"], BeforeValidator(or_default("30"))] = "30"

    def default_range(self, now_us: int) -> Range:
        """Return the last whole days up to now."""
        tomorrow_us, days = (now_us // DAY_US + 1) * DAY_US, int(self.days)
        return Range(tomorrow_us - days * DAY_US, now_us, f"last {days} days")


@dataclass(frozen=True, slots=True)
class Spendings:
    """The costs of a range of days."""

    total: CostSum = field(default_factory=CostSum)
    days: dict[int, CostSum] = field(default_factory=lambda: defaultdict(CostSum))  # by days since 1970 UTC
    pairs: dict[tuple[str, str], CostSum] = field(default_factory=lambda: defaultdict(CostSum))  # by service and model

    @classmethod
    async def of(
        cls, days: Mapping[int, Mapping[tuple[str, str], Spent]], first: int, last: int, service: str | None
    ) -> Spendings:
        """Add up the costs of the days from ``first`` to ``last``, of all services or one.

        It is done in short slices; ``days`` may change in the meantime.
        """
        spendings = cls()
        async for day in paced([day for day in sorted(days) if first <= day <= last]):
            for (name, model), spent in days.get(day, {}).items():
                if service in {None, name}:
                    for cost_sum in (spendings.total, spendings.days[day], spendings.pairs[name, model]):
                        cost_sum.add(spent)
        return spendings

    @property
    def most_expensive(self) -> list[tuple[tuple[str, str], CostSum]]:
        """The costs by service and model, the most expensive first; at most LISTED."""
        return heapq.nsmallest(
            LISTED, self.pairs.items(), key=lambda pair: (-pair[1].dollars, -pair[1].operations, pair[0])
        )


@dataclass(frozen=True, slots=True)
class CostForecast:
    """The expected dollars of a month, if its other days are like the last whole ones."""

    spent: float  # in this month so far
    since: int  # its first day with known costs, in days since 1970
    days: int  # whole ones that it is based on
    expected: float | None  # by their mean; None if they are too few
    least: float = 0.0  # by the cheapest and the most expensive of them
    most: float = 0.0


def forecast(daily: Mapping[int, float], known_us: int, now_us: int) -> CostForecast:
    """Return the forecast of the present month. ``daily`` are dollars by days since 1970 UTC; other days are 0.

    Costs are known from ``known_us`` on. Its day is not part of the basis, unless it is known from its start.
    """
    today, moment = now_us // DAY_US, utc(now_us)
    first = today - moment.day + 1
    spent = sum(dollars for day, dollars in daily.items() if first <= day <= today)
    basis = [daily.get(day, 0.0) for day in range(max(today - BASIS, -(-known_us // DAY_US)), today)]
    since = max(first, known_us // DAY_US)
    if len(basis) < LEAST_BASIS:
        return CostForecast(spent, since, len(basis), None)
    last = first + calendar.monthrange(moment.year, moment.month)[1]
    left = last - now_us / DAY_US
    mean = sum(basis) / len(basis)
    return CostForecast(
        spent, since, len(basis), spent + mean * left, spent + min(basis) * left, spent + max(basis) * left
    )


async def show_cost(view: PageView[CostPageParams]) -> web.Response:
    """Show the costs in the metadata of operations."""
    monitor, params = view.monitor, view.params
    if params.service is not None:
        await monitor.query.require_services([params.service])
    spending = monitor.alerting.evaluator.spending
    span = view.span
    today = view.now_us // DAY_US
    ever = await Spendings.of(spending.days, 0, today, params.service)
    known_us = view.now_us if spending.since_us is None else spending.since_us
    first, last = span.since_us // DAY_US, (span.until_us - 1) // DAY_US
    spendings = await Spendings.of(spending.days, first, last, params.service)
    return await page_response(
        view,
        "cost.html",
        title="Cost",
        span=span,
        src=_source(view, span),
        selection=await selection(view, params.service),
        counted_us=spending.since_us,
        spendings=spendings,
        most_expensive=spendings.most_expensive,
        today=ever.days.get(today, CostSum()),
        yesterday=ever.days.get(today - 1, CostSum()),
        forecast=forecast({day: cost_sum.dollars for day, cost_sum in ever.days.items()}, known_us, view.now_us),
        last_day=_last_day(monitor, params.service),
        budget=monitor.alerting.limits.of(Subject("cost", params.service or "")).threshold,
        day_us=DAY_US,
        choices=[(days, f"last {days} days") for days in CHOICES],
        dollars=dollars,
        rough=rough,
    )


def _source(view: PageView[CostPageParams], span: Range) -> str:
    """Return the URL of the chart's data; it starts with the first day with known costs."""
    known_us = (view.monitor.alerting.evaluator.spending.since_us or 0) // DAY_US * DAY_US
    since_us = max(span.since_us, min(known_us, span.until_us - 1))
    until = view.times()["until"]
    return f"{API}/costs{query({'since': iso(since_us), 'until': until, 'service': view.params.service})}"


def _last_day(monitor: Monitor, service: str | None) -> float | None:
    """Return the dollars of the last 24 hours, which the cost rule checks; None while they are not known."""
    costs = monitor.alerting.evaluator.costs
    if costs.known_hours < 24:
        return None
    by_service = costs.day()
    return sum(by_service.values()) if service is None else by_service.get(service, 0.0)


def dollars(amount: float) -> str:
    """Format dollars: $18.40, $1,204, $0.0042."""
    if amount >= 1_000:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 0.1 or not amount else f"${amount:.4f}"


def rough(amount: float) -> str:
    """Format an estimate of dollars: $265."""
    return dollars(amount) if amount < 10 else f"${amount:,.0f}"


PAGE: Final = Page(
    "cost",
    f"{HOME}/cost",
    "Cost",
    show_cost,
    CostPageParams,
    MenuEntry(6, "Cost", "M12 3v18M17 7H9.5a3 3 0 0 0 0 5h5a3 3 0 0 1 0 5H6"),
)
