"""The overview page: bot health, key figures and their change, active alerts, and the services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT
from cogmeter.diagnosis import Status, worst
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.service_names import in_background
from cogmeter.render.palette import WORST_FIRST, look_of
from cogmeter.schemas.alerts import SENT_STATES
from cogmeter.settings import buffer_setting
from cogmeter.web.pages.chart_context import chart_context, error_limit, latency_limit
from cogmeter.web.pages.errors import top_errors
from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, page_response
from cogmeter.web.pages.sparks import Spark, sparks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp import web

    from cogmeter.diagnosis import ServiceHealth
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Figures, Overview
    from cogmeter_storage.alerting import Alert


LISTED: Final = 200  # services in each table: the busiest ones
TOP_ERRORS: Final = 5


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in the table."""

    name: str
    figures: Figures
    before: Figures | None
    health: ServiceHealth | None
    spark: Spark | None


async def show_overview(view: PageView[PageParams]) -> web.Response:
    """Show all services, or the selected one."""
    monitor, health, service, span = view.monitor, view.shared.health, view.params.service, view.span
    selected = None if service is None else {service}
    if selected is not None:
        await monitor.query.require_services(selected)
    overview = await monitor.query.overview(span, services=selected)
    before = await monitor.query.overview(span.before, services=selected)
    checks = await health.vital()
    sparks_by_name = await _sparks(view, overview)
    health_by_name = await health.services()
    alerts = _alerts(monitor, service)
    errors, deploy = await top_errors(view, service=service, limit=TOP_ERRORS)
    looks = {look_of(alert.severity, alert.state) for alert in alerts}
    return await page_response(
        view,
        "overview.html",
        title="Overview",
        overview=overview,
        before=before.total,
        status=worst(check.status for check in checks),
        checks=checks,
        rows=list(_rows(overview.services[:LISTED], dict(before.services), health_by_name, sparks_by_name)),
        background=list(_rows(overview.background[:LISTED], dict(before.background), health_by_name, sparks_by_name)),
        listed=LISTED,
        has_operations=any(name != OTHER and not in_background(name) for name in await monitor.query.names()),
        alerts=alerts,
        top_errors=errors,
        deploy=deploy,
        look=next((look for look in WORST_FIRST if look in looks), None),
        chart_context=await chart_context(view, service),
        latency=latency_limit(view, service or ""),
        errors=error_limit(view, service or ""),
        buffer_setting=buffer_setting(by_memory=monitor.recorder.buffer.by_memory),
        BOT=BOT,
        Status=Status,
    )


async def _sparks(view: PageView[PageParams], overview: Overview) -> dict[str, Spark]:
    listed = (*overview.services[:LISTED], *overview.background[:LISTED])
    ids: dict[str, list[int]] = {name: [] for name, _ in listed}
    for series in await view.monitor.store.series():
        if series.service in ids:
            ids[series.service].append(series.id)
    return await sparks(view.monitor.store, ids, await view.monitor.query.covered(overview.range))


def _rows(
    services: Iterable[tuple[str, Figures]],
    before: Mapping[str, Figures],
    health: Mapping[str, ServiceHealth],
    sparks_by_name: Mapping[str, Spark],
) -> Iterable[ServiceRow]:
    for name, figures in services:
        yield ServiceRow(name, figures, before.get(name), health.get(name), sparks_by_name.get(name))


def _alerts(monitor: Monitor, service: str | None) -> list[Alert]:
    """Return the firing and acknowledged alerts, the most recently changed first."""
    active = monitor.alerting.engine.active
    sent = [alert for alert in active if alert.state in SENT_STATES and service in {None, alert.service}]
    return sorted(sent, key=lambda alert: -alert.changed_us)


PAGE: Final = Page(
    "overview",
    HOME,
    "Overview",
    show_overview,
    PageParams,
    MenuEntry(1, "Overview", "M4 4h6v8H4zM14 4h6v4h-6zM14 12h6v8h-6zM4 16h6v4H4z"),
)
