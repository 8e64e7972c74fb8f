"""The alert rules: pure functions from what a check sees to what is beyond a threshold. ``RULES`` names them all."""

from __future__ import annotations

from typing import Final

from cogmeter.alerts.rules import guide
from cogmeter.alerts.rules.before import CRITICAL_FROM, STATISTICS, Breach, Thresholds, breaches
from cogmeter.alerts.rules.rule import Rule

__all__ = ["CRITICAL_FROM", "RULES", "STATISTICS", "Breach", "Rule", "Thresholds", "breaches"]

_TABLE: Final = (
    Rule("error_rate", "alert_threshold_error_rate", "share", guide.error_rate),
    Rule("response_time", "alert_threshold_response_time", "ms", guide.response_time, background=False),
    Rule("throughput", "alert_threshold_operations_per_minute", "a minute", guide.throughput, background=False),
)

RULES: Final[dict[str, Rule]] = {rule.name: rule for rule in _TABLE}
