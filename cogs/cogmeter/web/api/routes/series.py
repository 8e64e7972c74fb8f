"""What charts draw: time series of operations, and gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.schemas.gauges import Gauges, gauges
from cogmeter.schemas.series import Series, series
from cogmeter.web.api.params import Name, NamedParams, RangeParams
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class SeriesParams(NamedParams):
    """Of what, over which stretch of time, and how fine."""

    step: Annotated[
        int | None,
        Field(
            ge=60,
            le=366 * 86_400,
            description="Seconds of one step at least; it is taken up to whole minutes and to 1,500 points at most",
        ),
    ] = None
    trim: Annotated[
        bool, Field(description="Begin with the first record where nothing was recorded before; the steps are finer")
    ] = False


class GaugesParams(RangeParams):
    """Which gauges, over which stretch of time."""

    names: Annotated[
        tuple[Name, ...], Field(max_length=20, description="Such as loop.lag_p99_ms, with commas between")
    ] = ()


async def read_series(monitor: Monitor, ask: SeriesParams) -> Series:
    """A time series."""
    span = ask.span(now_us(), Period.HOUR)
    step_us = None if ask.step is None else ask.step * 1_000_000
    return await series(monitor.query, ask.service, ask.operation, span, step_us=step_us, trim=ask.trim)


async def read_gauges(monitor: Monitor, ask: GaugesParams) -> Gauges:
    """Gauges over time."""
    span = ask.span(now_us(), Period.HOUR)
    return await gauges(monitor.store, span, set(ask.names), monitor.gauges)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/series",
        read_series,
        "Throughput, failures and latency step by step (the last hour)",
        query=SeriesParams,
        answer=Series,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/gauges",
        read_gauges,
        "Loop lag, gateway, memory and other gauges over time (the last hour), thinned; and the newest of all",
        query=GaugesParams,
        answer=Gauges,
    ),
)
