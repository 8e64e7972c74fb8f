"""The judgement on a set of operations: the thresholds in effect, the minimum count, and both rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.model import BOT, Subject
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import Check, Status
from cogmeter.diagnostics.judgement import (
    StoredHealth,
    judge,
    problem_order,
    settings_of_bot,
    store_health,
    stored_health,
    verdict,
    with_blocks,
)
from cogmeter.query.records import Calibrated, Figures
from cogmeter.settings import Settings
from cogmeter_storage import open_store


def limits(overrides=None, **settings):
    defaults = {"alert_threshold_error_rate": 0.05, "alert_threshold_response_time": 5_000, "alert_min_operations": 15}
    return Limits(Settings(_env_file=None, **defaults | settings), overrides or {})


def figures(operations, failures=0, mean_ms=20.0, p95_ms=30.0):
    outcomes = (operations - failures, failures, 0, 0, 0)
    mean_us, p95_us = (mean_ms * 1000, p95_ms * 1000) if operations else (None, None)
    return Figures(operations, outcomes, 3_600_000_000, mean_us, mean_us, p95_us, p95_us, None)


@pytest.mark.parametrize(
    ("operations", "failures", "mean_ms", "status", "failing", "slow"),
    [
        (0, 0, 0, Status.UNKNOWN, False, False),
        (100, 0, 20, Status.HEALTHY, False, False),
        (100, 5, 20, Status.HEALTHY, False, False),  # at the threshold, not above it
        (100, 6, 20, Status.DEGRADED, True, False),
        (100, 9, 20, Status.UNHEALTHY, True, False),  # more than 1.6 times the threshold
        (100, 0, 5_001, Status.DEGRADED, False, True),
        (100, 0, 8_000, Status.UNHEALTHY, False, True),
        (100, 6, 8_000, Status.UNHEALTHY, True, True),
        (14, 0, 4_999, Status.HEALTHY, False, False),  # too few for an alert
        (14, 0, 9_000, Status.UNKNOWN, False, False),
        (14, 7, 9_000, Status.UNKNOWN, False, False),
        (14, 8, 9_000, Status.DEGRADED, True, False),  # but most of them failed
    ],
)
def test_operations_are_compared_with_both_thresholds(operations, failures, mean_ms, status, failing, slow):
    found = judge(figures(operations, failures, mean_ms), limits(), "chat")
    assert (found.status, found.failing, found.slow) == (status, failing, slow)


def test_the_reason_names_the_counts_and_the_thresholds():
    found = judge(figures(1_000, 78, 6_000), limits(), "chat")
    assert found.reason.startswith("78 of 1,000 operations failed, more than 5")
    assert found.reason.endswith("average response time of 6 s, more than 5 s")
    assert judge(figures(100), limits()).reason == "0 of 100 operations failed"


def test_of_slow_operations_without_a_failure_the_reason_names_their_number():
    slow = judge(figures(1_234, mean_ms=9_000), limits())
    assert slow.reason == "average response time of 9 s, more than 5 s; 1,234 operations"
    both = judge(figures(1_000, failures=1, mean_ms=9_000), limits())
    assert both.reason == "average response time of 9 s, more than 5 s; 1 of 1,000 operations failed"


def test_a_response_time_that_reads_like_its_threshold_is_just_over_it():
    assert judge(figures(100, mean_ms=5_004), limits()).reason.startswith(
        "average response time of just over 5 s, more"
    )


def test_the_reason_says_that_there_are_too_few_operations_to_judge():
    rare = judge(figures(4, 2), limits(), "chat")
    assert (rare.status, rare.reason) == (Status.UNKNOWN, "2 of 4 operations failed, too few to judge (15 needed)")
    slow = judge(figures(4, 0, 9_000), limits(), "chat")
    assert (slow.status, slow.reason) == (
        Status.UNKNOWN,
        "average response time of 9 s, more than 5 s; 0 of 4 operations failed, too few to judge (15 needed)",
    )
    none = judge(figures(4, 0), limits(), "chat")
    assert (none.status, none.reason) == (Status.HEALTHY, "0 of 4 operations failed")
    most = judge(figures(4, 3), limits(), "chat")
    assert (most.status, most.reason) == (Status.DEGRADED, "3 of 4 operations failed, too few for an alert (15 needed)")
    assert (most.exceeded, judge(figures(100, 20), limits()).exceeded) == (
        "",
        "20 of 100 operations failed, more than 5%",
    )


def test_the_worst_is_what_is_wrong_now_then_what_was_and_only_then_the_largest():
    large, small = figures(1_000, 900), figures(20, 1)
    orders = [
        problem_order(Status.HEALTHY, Status.HEALTHY, small),
        problem_order(Status.UNKNOWN, Status.HEALTHY, large),
        problem_order(Status.HEALTHY, Status.UNHEALTHY, small),
        problem_order(Status.DEGRADED, Status.HEALTHY, small),
        problem_order(Status.UNHEALTHY, Status.HEALTHY, small),
    ]
    assert orders == sorted(orders)


@given(operations=st.integers(1, 10_000), failures=st.integers(0, 10_000), mean_ms=st.floats(0, 1e6))
def test_thresholds_of_zero_are_switched_off(operations, failures, mean_ms):
    off = limits(alert_threshold_error_rate=0, alert_threshold_response_time=0)
    found = judge(figures(operations, min(failures, operations), mean_ms), off, "chat")
    assert found.status is Status.HEALTHY


def test_a_calibrated_threshold_is_in_effect_and_nothing_is_slow_before_there_is_one():
    settings = Settings(_env_file=None, alert_min_operations=15)
    subjects = [Subject("response_time", *names) for names in (("chat", ""), (BOT, ""), ("discord.commands", "ask"))]
    known = {one: Calibrated({"average": 17_000.0}, 1, 0, 1, settled=True) for one in subjects}
    for calibration, mean_ms, status in (
        ({}, 60_000, Status.HEALTHY),
        (known, 17_000, Status.HEALTHY),
        (known, 17_001, Status.DEGRADED),
        (known, 28_000, Status.UNHEALTHY),
        (None, 6_000, Status.DEGRADED),
    ):
        held = Limits(settings, {}, calibration)
        places = ("chat", "chat", "discord.commands"), ("", "stream", "ask")
        for service, operation in (("", ""), *zip(*places, strict=True)):
            assert judge(figures(100, 0, mean_ms), held, service, operation).status is status


def test_a_threshold_changed_while_running_is_in_effect():
    changed = limits({"error_rate": "0.5", "response_time@chat": "10"})
    assert judge(figures(100, 20), changed, "other").status is Status.HEALTHY
    assert judge(figures(100, 0), changed, "chat").slow
    assert not judge(figures(100, 0), changed, "other").slow


def test_the_statistic_in_effect_is_compared():
    p95 = limits(alert_response_time_statistic="p95")
    assert judge(figures(100, mean_ms=20, p95_ms=6_000), p95, "chat").slow
    assert not judge(figures(100, mean_ms=20, p95_ms=6_000), limits(), "chat").slow


def test_durations_of_background_services_are_not_judged_unless_a_threshold_names_them():
    assert not judge(figures(100, mean_ms=90_000), limits(), "discord.tasks").slow
    assert judge(figures(100, mean_ms=90_000), limits({"response_time@discord.tasks": "1000"}), "discord.tasks").slow


def test_the_limits_own_severity_decides_the_status():
    mild = limits({"error_rate@chat.severity": "warning"})
    assert judge(figures(100, 90), mild, "chat").status is Status.DEGRADED


class Raised:
    """An alert as far as the verdict depends on it."""

    def __init__(self, severity, state="firing"):
        self.severity, self.state = severity, state


FINE = [Check("gateway", Status.HEALTHY, "")]
STARTING = [Check("gateway", Status.UNKNOWN, "")]


@pytest.mark.parametrize(
    ("alerts", "services", "components", "status", "text"),
    [
        ([], [], FINE, Status.HEALTHY, "no active alerts; PASSING"),
        (["info"], [], FINE, Status.HEALTHY, "1 active alert (info); PASSING"),
        (["warning", "info"], [], FINE, Status.DEGRADED, "2 active alerts (1 warning); PASSING"),
        (["critical"], [], FINE, Status.UNHEALTHY, "1 active alert (critical); PASSING"),
        ([], [Status.UNKNOWN], FINE, Status.HEALTHY, "no active alerts; PASSING"),
        (
            ["warning"],
            [Status.UNHEALTHY, Status.DEGRADED, Status.HEALTHY],
            FINE,
            Status.UNHEALTHY,
            "1 active alert (warning); 1 service unhealthy (service-0); 1 service degraded (service-1); PASSING",
        ),
        (
            ["warning"],
            [],
            [*FINE, Check("loop", Status.UNHEALTHY, "")],
            Status.UNHEALTHY,
            "1 active alert (warning); 1 of 2 component checks passes (not: event loop)",
        ),
        (
            [],
            [],
            [Check("gateway", Status.UNKNOWN, "")],
            Status.UNKNOWN,
            "no active alerts; 0 of 1 component check pass",
        ),
    ],
)
def test_the_verdict_is_the_worst_of_alerts_services_and_components(alerts, services, components, status, text):
    checks = [Check(f"service-{number}", one, "") for number, one in enumerate(services)]
    found = verdict([Raised(severity) for severity in alerts], checks, components)
    assert (found.status, found.text) == (status, text.replace("PASSING", "1 of 1 component check passes"))


@pytest.mark.parametrize("state", ["pending", "muted", "resolved"])
def test_an_alert_that_is_not_sent_does_not_change_the_verdict(state):
    assert verdict([Raised("critical", state)], [], FINE).status is Status.HEALTHY
    assert verdict([Raised("critical", "acknowledged")], [], FINE).status is Status.UNHEALTHY


async def test_a_database_is_judged_by_the_settings_of_its_bot_unless_the_environment_sets_them(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    try:
        nothing = await stored_health(store)
        bot = Settings.model_construct(alert_window=60.0, alert_min_operations=15)
        await store_health(store, [Check("flusher", Status.HEALTHY, "fine")], bot, now_us=5)
        health = await stored_health(store)
        await store.set_value("health.components", b"[1]")
        damaged = await stored_health(store)
    finally:
        await store.close()
    assert nothing == damaged == StoredHealth(0, [], {})
    assert (health.at_us, health.components) == (5, [Check("flusher", Status.HEALTHY, "fine")])
    found = settings_of_bot(Settings.model_construct(alert_min_operations=30), health)
    assert (found.alert_window, found.alert_min_operations) == (60.0, 30)
    assert {"alert_window", "alert_min_operations"} <= found.model_fields_set
    assert "alert_threshold_response_time" not in found.model_fields_set  # a default, which can be calibrated


def test_a_verdict_names_three_services_at_most_in_alphabetical_order():
    checks = [Check(f"service-{number}", Status.UNHEALTHY, "") for number in (3, 0, 4, 1, 2)]
    found = verdict([], checks, FINE)
    assert found.text.split("; ")[1] == "5 services unhealthy (service-0, service-1, service-2 and 2 more)"


def test_alerts_about_blocks_are_a_part_of_the_check_of_the_event_loop():
    check = Check("loop", Status.HEALTHY, "p99 lag at most 2 ms")
    assert with_blocks(check, ["info"]) is check
    found = with_blocks(check, ["warning", "critical"])
    assert (found.status, found.serving) == (Status.UNHEALTHY, Status.DEGRADED)
    assert found.reason == "p99 lag at most 2 ms; an alert about blocks is active"
