"""The rules find what is beyond a threshold, and say it in the guide's words."""

import numpy as np
import pytest

from cogmeter.alerts.rules import Thresholds, breaches
from cogmeter.alerts.window import Totals

GUIDE = Thresholds(error_rate=0.05, response_time_ms=5_000, operations_per_minute=100)


def totals(*, operations=1_000, failures=0, response_ms=100.0, span_s=300.0, services=("knowledge-graph",)):
    return Totals(
        services=services,
        span_s=span_s,
        operations=np.full(len(services), operations),
        failures=np.full(len(services), failures),
        response_us=np.full(len(services), response_ms * 1000),
    )


def found(thresholds=GUIDE, **seen):
    return list(breaches(totals(**seen), thresholds))


def test_nothing_is_found_where_nothing_is_wrong():
    assert found(operations=400) == []


@pytest.mark.parametrize(
    ("seen", "rule", "message", "severity"),
    [
        ({"operations": 500, "failures": 39}, "error_rate", "Error rate of 7.8% exceeds threshold of 5%", "warning"),
        (
            {"operations": 400, "response_ms": 8234},
            "response_time",
            "Average response time of 8.2s exceeds threshold of 5s",
            "critical",
        ),
        ({"operations": 600}, "throughput", "120 operations/minute exceeds threshold of 100", "warning"),
    ],
)
def test_the_guides_examples_come_out_as_the_guide_has_them(seen, rule, message, severity):
    (breach,) = found(**seen)
    assert (breach.rule, breach.message, breach.severity) == (rule, message, severity)


def test_a_value_on_the_threshold_is_no_breach():
    assert found(operations=500, failures=25, response_ms=5_000) == []


def test_severity_is_critical_from_one_point_six_times_the_threshold_on():
    thresholds = Thresholds(error_rate=0.5, response_time_ms=0, operations_per_minute=0)
    assert [one.severity for one in found(thresholds, operations=100, failures=79)] == ["warning"]
    assert [one.severity for one in found(thresholds, operations=100, failures=80)] == ["critical"]


def test_too_few_operations_raise_nothing():
    assert found(operations=19, failures=19, response_ms=60_000) == []
    assert len(found(operations=20, failures=20, response_ms=60_000)) == 2


def test_a_threshold_of_zero_switches_its_rule_off():
    off = Thresholds(error_rate=0, response_time_ms=0, operations_per_minute=0)
    assert found(off, operations=10_000, failures=10_000, response_ms=60_000) == []


@pytest.mark.parametrize(
    ("statistic", "words"), [("p50", "Median"), ("p95", "95th percentile"), ("p99", "99th percentile")]
)
def test_other_statistics_are_named(statistic, words):
    thresholds = Thresholds(error_rate=0, response_time_ms=800, operations_per_minute=0, statistic=statistic)
    (breach,) = found(thresholds, response_ms=900)
    assert breach.message == f"{words} response time of 900ms exceeds threshold of 800ms"


def test_the_first_minute_is_not_blown_up_to_a_rate():
    assert found(operations=90, span_s=5) == []
    assert [one.rule for one in found(operations=110, span_s=5)] == ["throughput"]


def test_every_service_in_breach_is_found():
    assert [one.service for one in found(operations=500, failures=500, services=("a", "b"))] == ["a", "b"]


def test_what_runs_in_the_background_alerts_by_its_error_rate_alone():
    services = ("discord.listeners", "discord.commands")
    seen = found(operations=600, failures=600, response_ms=60_000, services=services)
    assert [(one.rule, one.service) for one in seen] == [
        ("error_rate", "discord.listeners"),
        ("error_rate", "discord.commands"),
        ("response_time", "discord.commands"),
        ("throughput", "discord.commands"),
    ]
