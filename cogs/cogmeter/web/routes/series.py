"""What charts draw: time series of operations, and gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.answers.gauges import Gauges, gauges
from cogmeter.answers.series import Series, series
from cogmeter.query import now_us
from cogmeter.records import Period
from cogmeter.web.api import Route
from cogmeter.web.asks import Name, NamedAsk
from cogmeter.web.spans import SpanAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class SeriesAsk(NamedAsk):
    """Of what, over which stretch of time, and how fine."""

    step: Annotated[
        int | None,
        Field(
            ge=60,
            le=366 * 86_400,
            description="Seconds of one step at least; it is taken up to whole minutes and to 1,500 points at most",
        ),
    ] = None


class GaugesAsk(SpanAsk):
    """Which gauges, over which stretch of time."""

    names: Annotated[
        tuple[Name, ...], Field(max_length=20, description="Such as loop.lag_p99_ms, with commas between")
    ] = ()


async def read_series(monitor: Monitor, ask: SeriesAsk) -> Series:
    """A time series."""
    span = ask.span(now_us(), Period.HOUR)
    step_us = None if ask.step is None else ask.step * 1_000_000
    return await series(monitor.query, ask.service, ask.operation, span, step_us=step_us)


async def read_gauges(monitor: Monitor, ask: GaugesAsk) -> Gauges:
    """Gauges over time."""
    span = ask.span(now_us(), Period.HOUR)
    return await gauges(monitor.store, span, set(ask.names), monitor.gauges)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/series",
        read_series,
        "Throughput, failures and latency step by step (the last hour)",
        query=SeriesAsk,
        answer=Series,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/gauges",
        read_gauges,
        "Loop lag, gateway, memory and other gauges over time (the last hour), thinned; and the newest of all",
        query=GaugesAsk,
        answer=Gauges,
    ),
)
