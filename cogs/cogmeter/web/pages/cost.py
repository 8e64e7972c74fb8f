"""The cost page: tokens and money by a grouping, the budget, and the month's forecast."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator

from cogmeter.alerts.model import Subject
from cogmeter.alerts.rules.costs import COST
from cogmeter.query.costs import GROUPINGS, TITLES, CostGrouping, cost_report
from cogmeter.query.records import Range
from cogmeter.render import cost_text
from cogmeter.schemas.times import iso
from cogmeter.watch.people_names import names_of
from cogmeter.web.pages.frame import (
    API,
    HOME,
    MenuEntry,
    Page,
    PageParams,
    PageView,
    displayed,
    or_default,
    page_response,
    query,
)
from cogmeter.web.pages.selection import selection
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.costs import CostReport

LISTED: Final = 200  # groups in the table
CHARTED: Final = 20  # groups whose names the chart gets
CHOICES: Final = ("7", "30", "90")  # days


class CostPageParams(PageParams):
    """Parameters: the number of days, unless there is a range of time, and the grouping."""

    days: Annotated[Literal["7", "30", "90"], BeforeValidator(or_default("30"))] = "30"
    by: Annotated[CostGrouping, BeforeValidator(or_default("command"))] = "command"

    def default_range(self, now_us: int) -> Range:
        """Return the last whole days up to now."""
        tomorrow_us, days = (now_us // DAY_US + 1) * DAY_US, int(self.days)
        return Range(tomorrow_us - days * DAY_US, now_us, f"last {days} days")


async def show_cost(view: PageView[CostPageParams]) -> web.Response:
    """Show the costs in the metadata of operations."""
    monitor, params = view.monitor, view.params
    services = None if params.service is None else [params.service]
    if services is not None:
        await monitor.query.require_services(services)
    await monitor.alerting.keep_costs()  # what was counted in the last seconds
    span = view.span
    report = await cost_report(monitor.store, span, params.by, now_us=view.now_us, services=services)
    hashes = [name for name, _ in report.groups[:LISTED]]
    names = await names_of(monitor.bot, monitor.watcher.tracker.people, params.by, hashes)
    own = {"by": None if params.by == "command" else params.by, "days": None if params.days == "30" else params.days}
    return await page_response(
        replace(view, own=own),
        "cost.html",
        title="Cost",
        span=span,
        src=_source(view, span, report),
        selection=await selection(view, params.service),
        report=report,
        listed=report.groups[:LISTED],
        name_of=lambda name: displayed(cost_text.group_text(params.by, name, names)),
        chart_names=json.dumps(
            {name: displayed(cost_text.group_text(params.by, name, names)) for name, _ in report.groups[:CHARTED]}
        ),
        last_day=_last_day(monitor, params.service),
        budget=_budget(monitor, params.service),
        people_budgets={"server": monitor.settings.budget_guild, "user": monitor.settings.budget_user},
        day_us=DAY_US,
        choices=[(days, f"last {days} days") for days in CHOICES],
        groupings=[(by, TITLES[by]) for by in GROUPINGS],
        group_title=TITLES[params.by],
        cost=cost_text,
    )


def _source(view: PageView[CostPageParams], span: Range, report: CostReport) -> str:
    """Return the URL of the chart's data; it starts with the first day with known costs."""
    known_us = (report.since_us or 0) // DAY_US * DAY_US
    since_us = max(span.since_us, min(known_us, span.until_us - 1))
    until, params = view.times()["until"], view.params
    return f"{API}/costs{query({'since': iso(since_us), 'until': until, 'service': params.service, 'by': params.by})}"


def _budget(monitor: Monitor, service: str | None) -> float | None:
    """Return the dollars a day of the bot, or those that were set for a service; that of the bot is no service's."""
    limits, subject = monitor.alerting.limits, Subject(COST.name, service or "")
    own = service is None or subject in limits.explicit(COST.name, "threshold")
    return limits.of(subject).threshold if own else None


def _last_day(monitor: Monitor, service: str | None) -> float | None:
    """Return the dollars of the last 24 hours, which the cost rule checks; None while they are not known."""
    costs = monitor.alerting.evaluator.costs
    if costs.known_hours < 24:
        return None
    by_service = costs.day()
    return sum(by_service.values()) if service is None else by_service.get(service, 0.0)


PAGE: Final = Page(
    "cost",
    f"{HOME}/cost",
    "Cost",
    show_cost,
    CostPageParams,
    MenuEntry(6, "Cost", "M12 3v18M17 7H9.5a3 3 0 0 0 0 5h5a3 3 0 0 1 0 5H6"),
    words=("costs", "tokens", "money", "models", "spending"),
)
