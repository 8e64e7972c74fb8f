"""The page of one service or operation: statistics, distribution, errors, traces, slow and recent operations."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from aiohttp import web
from pydantic import BeforeValidator

from cogmeter.diagnostics.judgement import exceeded
from cogmeter.query.errors import known_groups, raised_inside
from cogmeter.query.slow import slow_runs
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, BY_OPERATION, label
from cogmeter.render import formatting
from cogmeter.web.pages.chart_context import changes, chart_context, error_limit, latency_limit
from cogmeter.web.pages.discord import response_text
from cogmeter.web.pages.errors import top_errors
from cogmeter.web.pages.frame import HOME, Page, PageParams, PageView, or_none, page_response
from cogmeter.web.pages.histogram import histogram
from cogmeter.web.pages.selection import selection
from cogmeter.web.pages.sparks import sparks
from cogmeter.web.pages.uptime_bars import uptime_bars
from cogmeter.web.pages.waterfall import profile_bars, waterfalls

LISTED: Final = 12  # recent and slowest operations
GROUPS: Final = 15  # of errors, and of failures by message


class ServicePageParams(PageParams):
    """Parameters: the service, and one operation of it or all."""

    operation: Annotated[str | None, BeforeValidator(or_none)] = None


async def show_service(view: PageView[ServicePageParams]) -> web.Response:
    """Show one service or operation; the label of an operation in place of the service leads to its page.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
    """
    assert view.params.service is not None, "it is part of the path"
    service, operation = await view.query.subject_of(view.params.service, view.params.operation)
    if service != view.params.service:
        return web.Response(status=302, headers={"Location": view.service(service, operation=operation)})
    view = replace(view, own={"service": None, "operation": operation})
    span, store, query = view.span, view.query.store, view.query
    ids = await query.ids(service, operation) or []
    stats = await query.stats(service, operation, span)
    stored = (ids, span.since_us, span.until_us)
    ids_by_name = {series.operation: [series.id] for series in await store.series() if series.service == service}
    slow = await slow_runs(query, span, service, operation)
    groups = await store.failure_groups(*stored, limit=GROUPS)
    top, deploy = await top_errors(view, service=service, operation=operation, limit=GROUPS)
    health = view.shared.health
    whole = await health.of(service, None)
    # The table lists all operations, also when one of them is selected.
    operations = stats.operations if operation is None else list((await query.operations(service, span)).items())
    return await page_response(
        view,
        "service.html",
        title=label(service, operation),
        heading=label(service, operation)
        if operation is not None and service in BY_OPERATION
        else operation or service,
        service=service,
        operation=operation,
        stats=stats,
        time_text=response_text if service == ACKNOWLEDGEMENT else formatting.duration,
        uptime_bar=(await uptime_bars(store, view.now_us)).of(service),
        health=whole if operation is None else await health.of(service, operation),
        whole=None if operation is None else whole,
        exceeded=exceeded(stats.total, view.monitor.alerting.limits, service, operation or ""),
        operations=operations,
        sparks=await sparks(store, {name: ids_by_name[name] for name, _ in operations}, await query.covered(span)),
        histogram=await histogram(query, ids, span, stats.total),
        top_errors=top,
        deploy=deploy,
        groups=groups,
        inner_errors=raised_inside(groups, await known_groups(query, span, groups)),
        recent=await store.recent(*stored, limit=LISTED),
        slowest=await store.slowest(*stored, limit=LISTED),
        traces=waterfalls(slow),
        profile=slow.profile,
        profile_bars=profile_bars(slow.profile),
        chart_context=await chart_context(view, service),
        changes=await changes(view),
        selection=await selection(view, service, operation),
        latency=latency_limit(view, service, operation or ""),
        errors=error_limit(view, service, operation or ""),
    )


# It is not in the menu: overview lists the services.
PAGE: Final = Page("overview", f"{HOME}/services/{{service}}", "One service", show_service, ServicePageParams, None)
