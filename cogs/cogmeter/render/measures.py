"""What each alert rule measures, in people's words and unit: ``Error rate``, ``7.8 %``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.render import text

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Measure:
    """A rule's name as it stands in titles, and its numbers in words."""

    title: str
    said: Callable[[float], str]


def measure_of(rule: str) -> Measure:
    """The measure of a rule; one that is not known here is named as it is, its numbers without a unit."""
    return MEASURES.get(rule) or Measure(text.clean(rule.replace("_", " ")).capitalize() or "Alert", _plain)


def measured(rule: str, value: float) -> str:
    """A number of this rule's in words, ``8.2 s``; a dash where it is no number."""
    return measure_of(rule).said(value) if math.isfinite(value) else text.NOTHING


def _plain(value: float) -> str:
    return f"{value:g}"


def _milliseconds(value: float) -> str:
    return text.duration(value * 1000)


def _growth(value: float) -> str:
    """A share that may be above 1, which ``text.percent`` holds for all there is."""
    return f"{value * 100:,.0f} %"


def _times_as_fast(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0") + "x"


def _counted(word: str) -> Callable[[float], str]:
    return lambda value: f"{value:,.0f} {word}" + ("" if round(value) == 1 else "s")


def _dollars(value: float) -> str:
    return f"${value:,.2f}"


MEASURES: Final[dict[str, Measure]] = {
    "error_rate": Measure("Error rate", text.percent),
    "response_time": Measure("Response time", _milliseconds),
    "throughput": Measure("Throughput", text.rate),
    "low_traffic": Measure("Low traffic", lambda value: f"{text.percent(value)} of usual"),
    "burn_rate": Measure("Error budget", _times_as_fast),
    "acknowledgement": Measure("Late first responses", text.percent),
    "stall": Measure("Blocked event loop", _milliseconds),
    "gateway_latency": Measure("Gateway latency", _milliseconds),
    "disconnects": Measure("Lost connections", _counted("time")),
    "gateway": Measure("Connection to Discord", _milliseconds),  # as the lifeline sees it: for how long it is lost
    "dead_loops": Measure("Background loop", _counted("loop")),
    "rate_limits": Measure("Rate limits", _counted("time")),
    "invalid_requests": Measure("Invalid requests", text.percent),
    "memory_growth": Measure("Memory growth", _growth),
    "cost": Measure("Cost", _dollars),
    "cost_growth": Measure("Cost growth", _times_as_fast),
    "deviation": Measure("Unusual behaviour", lambda value: f"{value:.2f}"),
    "many_services": Measure("Many alerts at once", _counted("alert")),
    "alert_target": Measure("Alert target given up", _plain),
    "test": Measure("Alert targets", _plain),
}
