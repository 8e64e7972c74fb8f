"""What each alert rule measures, in people's words and unit: ``Error rate``, ``7.8%``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class RuleLabel:
    """A rule's name as it stands in titles, and its numbers in words."""

    title: str
    said: Callable[[float], str]


def measure_of(rule: str) -> RuleLabel:
    """The measure of a rule; one that is not known here is named as it is, its numbers without a unit."""
    return MEASURES.get(rule) or RuleLabel(formatting.clean(rule.replace("_", " ")).capitalize() or "Alert", _plain)


def measured(rule: str, value: float) -> str:
    """A number of this rule's in words, ``8.2 s``; a dash where it is no number."""
    return measure_of(rule).said(value) if math.isfinite(value) else formatting.NOTHING


def _plain(value: float) -> str:
    return f"{value:g}"


def _milliseconds(value: float) -> str:
    return formatting.duration(value * 1000)


def _growth(value: float) -> str:
    """A share that may be above 1, which ``text.percent`` holds for all there is."""
    return f"{value * 100:,.0f}%"


def _times_as_fast(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0") + "x"


def _counted(word: str) -> Callable[[float], str]:
    return lambda value: f"{value:,.0f} {word}" + ("" if round(value) == 1 else "s")


def _dollars(value: float) -> str:
    return f"${value:,.2f}"


MEASURES: Final[dict[str, RuleLabel]] = {
    "error_rate": RuleLabel("Error rate", formatting.percent),
    "response_time": RuleLabel("Response time", _milliseconds),
    "throughput": RuleLabel("Throughput", formatting.rate),
    "low_traffic": RuleLabel("Low traffic", lambda value: f"{formatting.percent(value)} of usual"),
    "burn_rate": RuleLabel("Error budget", _times_as_fast),
    "acknowledgement": RuleLabel("Late first responses", formatting.percent),
    "stall": RuleLabel("Blocked event loop", _milliseconds),
    "gateway_latency": RuleLabel("Gateway latency", _milliseconds),
    "disconnects": RuleLabel("Lost connections", _counted("time")),
    "gateway": RuleLabel("Connection to Discord", _milliseconds),  # as the lifeline sees it: for how long it is lost
    "dead_loops": RuleLabel("Background loop", _counted("loop")),
    "rate_limits": RuleLabel("Rate limits", _counted("time")),
    "invalid_requests": RuleLabel("Invalid requests", formatting.percent),
    "memory_growth": RuleLabel("Memory growth", _growth),
    "cost": RuleLabel("Cost", _dollars),
    "cost_growth": RuleLabel("Cost growth", _times_as_fast),
    "deviation": RuleLabel("Unusual behaviour", lambda value: f"{value:.2f}"),
    "many_services": RuleLabel("Many alerts at once", _counted("alert")),
    "alert_target": RuleLabel("Alert target failed", _plain),
    "test": RuleLabel("Alert targets", _plain),
}
