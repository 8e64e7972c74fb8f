"""The first page: how the bot is, its key figures against the period before, its services, and what stands now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Status, worst
from cogmeter.diagnostics import health_of
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.service_names import BACKGROUND
from cogmeter.render.palette import WORST_FIRST, look_of
from cogmeter.schemas.alerts import TOLD
from cogmeter.settings import buffer_setting
from cogmeter.web.pages.chart_context import around, error_limit, latency_limit
from cogmeter.web.pages.frame import PageParams, PageView, answer
from cogmeter.web.pages.sparks import Spark, sparks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp import web

    from cogmeter.diagnosis import ServiceHealth
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Figures, Overview
    from cogmeter_storage.alerting import Alert


LISTED: Final = 200  # services in each of the tables: the busiest ones


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in the table."""

    name: str
    figures: Figures
    before: Figures | None
    health: ServiceHealth | None
    spark: Spark | None


async def show_overview(monitor: Monitor, ask: PageParams, request: web.Request) -> web.Response:
    """All services, or the one that is chosen."""
    view = PageView(monitor, request, ask, "overview")
    chosen = None if ask.service is None else {ask.service}
    if chosen is not None:
        await monitor.query.known(chosen)
    span = view.span
    found = await monitor.query.overview(span, services=chosen)
    before = await monitor.query.overview(span.before, services=chosen)
    health = health_of(monitor)
    checks = await health.vital()
    drawn = await _sparks(view, found)
    known = await health.services()
    alerts = _alerts(monitor, ask.service)
    looks = {look_of(one.severity, one.state) for one in alerts}
    return await answer(
        view,
        "overview.html",
        title="Overview",
        found=found,
        before=before.total,
        status=worst(one.status for one in checks),
        checks=checks,
        rows=list(_rows(found.services[:LISTED], dict(before.services), known, drawn)),
        background=list(_rows(found.background[:LISTED], dict(before.background), known, drawn)),
        listed=LISTED,
        begun=any(name not in {*BACKGROUND, OTHER} for name in await monitor.query.names()),
        alerts=alerts,
        look=next((one for one in WORST_FIRST if one in looks), None),
        around=await around(view, ask.service),
        latency=latency_limit(view, ask.service or ""),
        errors=error_limit(view, ask.service or ""),
        buffer_setting=buffer_setting(by_memory=monitor.recorder.buffer.by_memory),
        Status=Status,
    )


async def _sparks(view: PageView, found: Overview) -> dict[str, Spark]:
    ids: dict[str, list[int]] = {name: [] for name, _ in (*found.services[:LISTED], *found.background[:LISTED])}
    for one in await view.monitor.store.series():
        if one.service in ids:
            ids[one.service].append(one.id)
    return await sparks(view.monitor.store, ids, await view.monitor.query.covered(found.range))


def _rows(
    services: Iterable[tuple[str, Figures]],
    before: Mapping[str, Figures],
    health: Mapping[str, ServiceHealth],
    drawn: Mapping[str, Spark],
) -> Iterable[ServiceRow]:
    for name, figures in services:
        yield ServiceRow(name, figures, before.get(name), health.get(name), drawn.get(name))


def _alerts(monitor: Monitor, service: str | None) -> list[Alert]:
    """What people are told of now, the newest first."""
    active = monitor.alerting.engine.active
    told = [one for one in active if one.state in TOLD and service in {None, one.service}]
    return sorted(told, key=lambda one: -one.changed_us)
