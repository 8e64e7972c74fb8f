"""The alert rules: ``RULES`` names them all. A rule's file has its facts and its pure function."""

from __future__ import annotations

from typing import Final

from cogmeter.alerts.rules import (
    burn,
    connection,
    costs,
    dependency,
    deviation,
    errors,
    guide,
    process,
    process_silent,
    running,
    traffic,
    version_skew,
)
from cogmeter.alerts.rules.rule import AlertKind, Rule

RULES: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        guide.ERROR_RATE,
        guide.RESPONSE_TIME,
        guide.THROUGHPUT,
        traffic.LOW_TRAFFIC,
        burn.BURN_RATE,
        dependency.DEPENDENCY,
        errors.LOGGED_ERRORS,
        errors.UNHANDLED_ERRORS,
        errors.NEW_ERROR,
        connection.FIRST_RESPONSES,
        process.STALL,
        connection.GATEWAY_LATENCY,
        connection.DISCONNECTS,
        process.DEAD_LOOPS,
        running.HUNG,
        connection.RATE_LIMITS,
        connection.INVALID_REQUESTS,
        process.MEMORY_LIMIT,
        process.MEMORY_GROWTH,
        costs.COST,
        costs.COST_GROWTH,
        costs.COST_SHARE,
        deviation.DEVIATION,
        process_silent.PROCESS_SILENT,
        version_skew.VERSION_SKEW,
    )
}

# Alerts that no rule raises: those sent out of band, the alert of a group, and notices about a notifier.
_OTHERS: Final = (
    AlertKind(name="gateway", title="Lost connection to Discord", unit="ms"),
    AlertKind(name="many_services", title="Many alerts at once", unit="alerts"),
    AlertKind(name="alert_target", title="Alert target failed", unit="number"),
    AlertKind(name="test", title="Alert targets", unit="number"),
)
KINDS: Final[dict[str, AlertKind]] = {**RULES, **{kind.name: kind for kind in _OTHERS}}
