"""The page of one service, or of one operation in it: how fast, how often, how wrong, and where the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from cogmeter.diagnostics import health_of
from cogmeter.web.pages.chart_context import around, error_limit, latency_limit
from cogmeter.web.pages.frame import PageParams, PageView, answer, or_none
from cogmeter.web.pages.histogram import histogram
from cogmeter.web.pages.sparks import sparks
from cogmeter.web.pages.waterfall import waterfalls

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor

LISTED = 12  # recent and slowest operations
GROUPS = 15  # of errors


class ServicePageParams(PageParams):
    """Which operation of the service, if not all."""

    operation: Annotated[str | None, BeforeValidator(or_none)] = None


async def show_service(monitor: Monitor, ask: ServicePageParams, request: web.Request) -> web.Response:
    """One service.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
    """
    assert ask.service is not None, "it stands in the path"
    service, operation = ask.service, ask.operation
    view = PageView(monitor, request, ask, "overview", own={"service": None, "operation": operation})
    span, store, query = view.span, monitor.store, monitor.query
    ids = await query.ids(service, operation) or []
    found = await query.stats(service, operation, span)
    part = (ids, span.since_us, span.until_us)
    by_name = {one.operation: [one.id] for one in await store.series() if one.service == service}
    # The figures of all operations stand in the table, also when one of them is looked at.
    operations = found.operations if operation is None else list((await query.operations(service, span)).items())
    return await answer(
        view,
        "service.html",
        title=service,
        service=service,
        operation=operation,
        found=found,
        health=(await health_of(monitor).services()).get(service),
        operations=operations,
        drawn=await sparks(store, {name: by_name[name] for name, _ in operations}, span),
        histogram=await histogram(store, ids, span),
        groups=await store.error_groups(*part, limit=GROUPS),
        recent=await store.recent(*part, limit=LISTED),
        slowest=await store.slowest(*part, limit=LISTED),
        traces=await waterfalls(store, service, operation, span.since_us),
        around=await around(view, service),
        latency=latency_limit(view, service, operation or ""),
        errors=error_limit(view, service, operation or ""),
    )
