"""The alert rules: pure functions from what a check sees to what is beyond a threshold. ``RULES`` names them all."""

from __future__ import annotations

from typing import Final

from cogmeter.alerts.rules import burn, connection, costs, deviation, guide, process, traffic
from cogmeter.alerts.rules.rule import CRITICAL_FROM, LOOP, OPERATION, WHOLE_BOT, Rule
from cogmeter.recording.service_names import ACKNOWLEDGEMENT

__all__ = ["CRITICAL_FROM", "RULES", "Rule"]

_TABLE: Final = (
    Rule("error_rate", "alert_threshold_error_rate", "share", guide.error_rate, OPERATION),
    Rule("response_time", "alert_threshold_response_time", "ms", guide.response_time, OPERATION, background=False),
    Rule(
        "throughput", "alert_threshold_operations_per_minute", "a minute", guide.throughput, OPERATION, background=False
    ),
    Rule(
        "low_traffic",
        "alert_threshold_low_traffic",
        "share",
        traffic.low_traffic,
        recovery=traffic.recovered,
        background=False,
    ),
    Rule(
        "burn_rate",
        "alert_slo_target",
        "share",
        burn.burn_rate,
        recovery=burn.recovered,
        min_operations=100,
        background=False,
    ),
    Rule("acknowledgement", "alert_threshold_acknowledgement", "share", connection.acknowledgement, ACKNOWLEDGEMENT),
    Rule("stall", "alert_threshold_stall", "ms", process.stall, WHOLE_BOT, min_operations=0),
    Rule(
        "gateway_latency",
        "alert_threshold_gateway_latency",
        "ms",
        connection.gateway_latency,
        WHOLE_BOT,
        for_s=60,
        min_operations=0,
    ),
    Rule(
        "disconnects", "alert_threshold_disconnects", "in 10 min", connection.disconnects, WHOLE_BOT, min_operations=0
    ),
    Rule(
        "dead_loops",
        "alert_threshold_dead_loops",
        "loops",
        process.dead_loops,
        LOOP,
        min_operations=0,
    ),
    Rule(
        "rate_limits", "alert_threshold_rate_limits", "in 10 min", connection.rate_limits, WHOLE_BOT, min_operations=0
    ),
    Rule(
        "invalid_requests",
        "alert_threshold_invalid_requests",
        "share",
        connection.invalid_requests,
        WHOLE_BOT,
        min_operations=0,
    ),
    Rule(
        "memory_growth",
        "alert_threshold_memory_growth",
        "share",
        process.memory_growth,
        WHOLE_BOT,
        min_operations=0,
    ),
    Rule("cost", "alert_threshold_cost", "USD", costs.cost, "bot, service", min_operations=0),
    Rule("cost_growth", "alert_threshold_cost_growth", "times", costs.cost_growth, "bot, service", min_operations=0),
    Rule(
        "deviation",
        "alert_threshold_deviation",
        "score",
        deviation.deviation,
        for_s=600,  # twice the usual window: what happened once is in it for five minutes
        background=False,
    ),
)

RULES: Final[dict[str, Rule]] = {rule.name: rule for rule in _TABLE}
