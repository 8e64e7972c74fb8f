"""Tokens and money: by day, service and model, against the budget, and what the month may come to."""

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
from cogmeter.schemas.costs import Sum
from cogmeter.schemas.times import iso
from cogmeter.times import utc
from cogmeter.web.pages.frame import API, PageParams, PageView, answer, or_default, query
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from cogmeter.alerts.measurement.spending import Spent
    from cogmeter.monitor.monitor import Monitor

BASIS: Final = 7  # whole days that a forecast looks at
LEAST_BASIS: Final = 3
LISTED: Final = 200  # services and models in the table
CHOICES: Final = ("7", "30", "90")  # days


class CostPageParams(PageParams):
    """Over how many days, unless a stretch of time is asked for."""

    days: Annotated[Literal["7", "30", "90"], BeforeValidator(or_default("30"))] = "30"


@dataclass(frozen=True, slots=True)
class Spendings:
    """What was spent on the days of a range."""

    total: Sum = field(default_factory=Sum)
    days: dict[int, Sum] = field(default_factory=lambda: defaultdict(Sum))  # by days since 1970 UTC
    pairs: dict[tuple[str, str], Sum] = field(default_factory=lambda: defaultdict(Sum))  # by service and model

    @classmethod
    async def of(
        cls, days: Mapping[int, Mapping[tuple[str, str], Spent]], first: int, last: int, service: str | None
    ) -> Spendings:
        """Return those of the days from ``first`` to ``last``, of one service if given.

        They are added up in short pieces; ``days`` may change meanwhile.
        """
        made = cls()
        async for day in paced([day for day in sorted(days) if first <= day <= last]):
            for (name, model), spent in days.get(day, {}).items():
                if service in {None, name}:
                    for part in (made.total, made.days[day], made.pairs[name, model]):
                        part.add(spent)
        return made

    @property
    def dearest(self) -> list[tuple[tuple[str, str], Sum]]:
        """By service and model, the most expensive first; no more than LISTED."""
        return heapq.nsmallest(
            LISTED, self.pairs.items(), key=lambda one: (-one[1].dollars, -one[1].operations, one[0])
        )


@dataclass(frozen=True, slots=True)
class CostForecast:
    """What a month may come to, in dollars, if its other days are like the last whole ones."""

    spent: float  # in this month so far
    since: int  # the first day that is known of it, in days since 1970
    days: int  # whole ones that it looks at
    expected: float | None  # by their mean; None when they are too few
    least: float = 0.0  # by the cheapest and the dearest of them
    most: float = 0.0


def forecast(daily: Mapping[int, float], known_us: int, now_us: int) -> CostForecast:
    """Of the month that ``now_us`` lies in. ``daily`` are dollars by days since 1970 UTC; others are 0.

    From ``known_us`` on, costs are known; the day that it lies in is no basis, unless it is its first moment.
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


async def show_cost(monitor: Monitor, ask: CostPageParams, request: web.Request) -> web.Response:
    """What operations cost whose metadata says so."""
    view = PageView(monitor, request, ask, "cost")
    if ask.service is not None:
        await monitor.query.known([ask.service])
    spending = monitor.alerting.evaluator.spending
    span = _span(view, int(ask.days))
    today = view.now_us // DAY_US
    ever = await Spendings.of(spending.days, 0, today, ask.service)
    known_us = view.now_us if spending.since_us is None else spending.since_us
    found = await Spendings.of(spending.days, span.since_us // DAY_US, (span.until_us - 1) // DAY_US, ask.service)
    return await answer(
        view,
        "cost.html",
        title="Cost",
        span=span,
        src=_source(view, span),
        counted_us=spending.since_us,
        found=found,
        dearest=found.dearest,
        today=ever.days.get(today, Sum()),
        yesterday=ever.days.get(today - 1, Sum()),
        forecast=forecast({day: one.dollars for day, one in ever.days.items()}, known_us, view.now_us),
        last_day=_last_day(monitor, ask.service),
        budget=monitor.alerting.limits.of(Subject("cost", ask.service or "")).threshold,
        day_us=DAY_US,
        choices=[(days, f"last {days} days") for days in CHOICES],
        dollars=dollars,
        rough=rough,
    )


def _span(view: PageView, days: int) -> Range:
    """Whole days, the last of them today unless a stretch was asked for."""
    if view.zoomed:
        return view.span
    tomorrow_us = (view.now_us // DAY_US + 1) * DAY_US
    return Range(tomorrow_us - days * DAY_US, view.now_us, f"last {days} days")


def _source(view: PageView, span: Range) -> str:
    """Where the chart's numbers are; it begins with the first day of which something is known."""
    known_us = (view.monitor.alerting.evaluator.spending.since_us or 0) // DAY_US * DAY_US
    since_us = max(span.since_us, min(known_us, span.until_us - 1))
    until = view.times()["until"]
    return f"{API}/costs{query({'since': iso(since_us), 'until': until, 'service': view.ask.service})}"


def _last_day(monitor: Monitor, service: str | None) -> float | None:
    """The dollars of the last 24 hours, which are what the budget's alert looks at; None while they are not known."""
    costs = monitor.alerting.evaluator.costs
    if costs.known_hours < 24:
        return None
    by_service = costs.day()
    return sum(by_service.values()) if service is None else by_service.get(service, 0.0)


def dollars(amount: float) -> str:
    """Money as people write it: $18.40, $1,204, $0.0042."""
    if amount >= 1_000:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 0.1 or not amount else f"${amount:.4f}"


def rough(amount: float) -> str:
    """Money that is not known to the cent: $265."""
    return dollars(amount) if amount < 10 else f"${amount:,.0f}"
