"""The overview page: bot health, key figures and their change, active alerts, commands and services."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator

from cogmeter.alerts.model import BOT, by_urgency
from cogmeter.diagnosis import EVERY, MOST, NO_CONCERN, Status, all_findings_text, left_out_text
from cogmeter.diagnostics.judgement import judge, problem_order
from cogmeter.recording.service_names import in_background
from cogmeter.render import formatting as text
from cogmeter.render.links import comparison_path
from cogmeter.render.palette import WORST_FIRST, look_of
from cogmeter.settings import buffer_setting
from cogmeter.web.pages.chart_context import changes, chart_context, error_limit, latency_limit
from cogmeter.web.pages.errors import top_errors
from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, or_none, page_response
from cogmeter.web.pages.selection import selection
from cogmeter.web.pages.sparks import Spark, sparks
from cogmeter.web.pages.uptime_bars import uptime_bars
from cogmeter_storage.alerting import SENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import web

    from cogmeter.diagnosis import Concern
    from cogmeter.query.records import Figures, Overview, RankedOperation
    from cogmeter_storage.alerting import Alert


LISTED: Final = 200  # rows of each table: the busiest ones
TOP_ERRORS: Final = 5
# The pages that show more about a finding, with their parts, by its target; of a service, its own page.
LINKS: Final = {
    "errors": "errors",
    "running": "running#running",
    "cost": "cost#groups-title",
    "doctor": "discord",
    "alerts": "alerts#active",
    "report": "alerts#thresholds",
}


class OverviewParams(PageParams):
    """Parameters: which findings are listed."""

    findings: Annotated[Literal["all"] | None, BeforeValidator(or_none)] = None


@dataclass(frozen=True, slots=True)
class Row:
    """One command or service in its table."""

    name: str
    url: str
    figures: Figures
    before: Figures | None
    status: Status  # now, in the alert window
    exceeded: str  # the threshold that its operations in the range exceeded; empty: none
    order: tuple[int, int, int, float]  # among problems, the worst largest
    spark: Spark | None


async def show_overview(view: PageView[OverviewParams]) -> web.Response:
    """Show all services, or the selected one."""
    monitor, health, service, span = view.monitor, view.shared.health, view.params.service, view.span
    selected = None if service is None else {service}
    if selected is not None:
        await view.query.require_services(selected)
    overview = await view.query.overview(span, services=selected)
    before = await view.query.overview(span.before, services=selected)
    active = monitor.alerting.engine.active  # one reading for the whole page
    checks, verdict = await health.vital(), await health.verdict(active)
    named = {(ranked.service, ranked.operation) for ranked in overview.commands[:LISTED]}
    present = {(name, ""): one.check.status for name, one in (await health.services()).items()}
    present |= {name: one.check.status for name, one in (await health.operations(named)).items()}
    tables = _Tables(view, before, await _sparks(view, overview), present)
    alerts = _alerts(active, service)
    errors, deploy = await top_errors(view, service=service, limit=TOP_ERRORS)
    looks = [look_of(alert.severity, alert.state) for alert in alerts]
    look = next((look for look in WORST_FIRST if look in looks), None)
    most = EVERY if view.params.findings else MOST
    now = await health.foreground()
    concerns = await monitor.attention.concerns(overview, active, selected, now=now, most=most)
    return await page_response(
        view,
        "overview.html",
        title="Overview",
        overview=overview,
        before=before.total,
        verdict=verdict,
        concerns=concerns,
        no_concern=NO_CONCERN,
        left_out_text=left_out_text,
        all_findings_text=all_findings_text,
        worst_findings=MOST,
        link_of=partial(_link, view),
        checks=checks,
        commands=tables.commands(overview.commands[:LISTED]),
        services=tables.services(overview.own_services[:LISTED]),
        uptime_bars=await uptime_bars(monitor.store, view.now_us),
        background=tables.services(overview.background[:LISTED]),
        active=text.active(overview.commands, len(overview.own_services)),
        commands_title=text.sentence(text.ranking_title(overview.commands)),
        listed=LISTED,
        has_operations=any(not in_background(name) for name in await view.query.names(other=False)),
        alerts=alerts,
        top_errors=errors,
        deploy=deploy,
        look=look,
        alerts_of_look=looks.count(look) if look is not None else 0,
        changes=await changes(view),
        chart_context=await chart_context(view, service),
        selection=await selection(view, service),
        latency=latency_limit(view, service or ""),
        errors=error_limit(view, service or ""),
        buffer_setting=buffer_setting(by_memory=monitor.recorder.buffer.by_memory),
        BOT=BOT,
        Status=Status,
    )


async def _sparks(view: PageView[OverviewParams], overview: Overview) -> dict[tuple[str, str], Spark]:
    """Return the sparklines of commands by service and operation, and of services by their name and an empty one."""
    ids: dict[tuple[str, str], list[int]] = {
        **{(ranked.service, ranked.operation): [] for ranked in overview.commands[:LISTED]},
        **{(name, ""): [] for name, _ in (*overview.own_services[:LISTED], *overview.background[:LISTED])},
    }
    for series in await view.query.store.series():
        for name in ((series.service, series.operation), (series.service, "")):
            if name in ids:
                ids[name].append(series.id)
    return await sparks(view.query.store, ids, await view.query.covered(overview.range))


class _Tables:
    """The rows of the page's tables."""

    def __init__(
        self,
        view: PageView[OverviewParams],
        before: Overview,
        sparks_by_name: Mapping[tuple[str, str], Spark],
        present: Mapping[tuple[str, str], Status],
    ) -> None:
        self._view = view
        self._sparks = sparks_by_name
        self._present = present
        self._before = {(name, ""): figures for name, figures in (*before.services, *before.background)}
        self._before |= {(ranked.service, ranked.operation): ranked.figures for ranked in before.commands}

    def commands(self, commands: Iterable[RankedOperation]) -> list[Row]:
        """Return a row for each command."""
        return [self._row(ranked.label, (ranked.service, ranked.operation), ranked.figures) for ranked in commands]

    def services(self, services: Iterable[tuple[str, Figures]]) -> list[Row]:
        """Return a row for each service."""
        return [self._row(name, (name, ""), figures) for name, figures in services]

    def _row(self, shown: str, name: tuple[str, str], figures: Figures) -> Row:
        service, operation = name
        now = self._present.get(name, Status.UNKNOWN)
        judged = judge(figures, self._view.monitor.alerting.limits, service, operation)
        return Row(
            shown,
            self._view.service(service, operation=operation or None),
            figures,
            self._before.get(name),
            now,
            judged.exceeded,
            problem_order(now, judged.status, figures),
            self._sparks.get(name),
        )


def _link(view: PageView[OverviewParams], concern: Concern) -> str:
    """Return the URL of the page that shows more about a finding, at its part."""
    kind, _, more = concern.target.partition(":")
    if concern.page:
        return _at(view, concern.page)
    if kind == "error":
        return view.to(f"{HOME}/errors", group=more)
    if kind in {"stats", "slow"} and concern.subject is not None:
        service, operation = concern.subject
        return view.service(service, operation=operation or None) + ("#slowest-title" if kind == "slow" else "")
    if kind == "compare" and concern.subject is not None:
        return comparison_path(concern.subject[0], concern.subject[1] or None, more or None)
    if kind == "alerts" and concern.alert:
        return _at(view, f"alerts#alert-{concern.alert}")
    return _at(view, LINKS.get(kind, ""))


def _at(view: PageView[OverviewParams], page: str) -> str:
    """Return the URL of a page by its name, and of its part behind a hash."""
    name, mark, part = page.partition("#")
    return f"{view.to(f'{HOME}/{name}' if name else HOME, service=None)}{mark}{part}"


def _alerts(active: Sequence[Alert], service: str | None) -> list[Alert]:
    """Return the firing and acknowledged alerts, the most urgent first."""
    return by_urgency(alert for alert in active if alert.state in SENT and service in {None, alert.service})


PAGE: Final = Page(
    "overview",
    HOME,
    "Overview",
    show_overview,
    OverviewParams,
    MenuEntry(1, "Overview", "M4 4h6v8H4zM14 4h6v4h-6zM14 12h6v8h-6zM4 16h6v4H4z"),
    words=(
        "overview",
        "summary",
        "dashboard",
        "home",
        "live",
        "stats",
        "services",
        "commands",
        "slow",
        "slowest",
        "digest",
    ),
)
