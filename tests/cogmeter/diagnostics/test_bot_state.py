"""The state of the bot: every part is judged by its alerts or its figures, and problems come first."""

import dataclasses

import pytest

from cogmeter.alerts.model import LoopState
from cogmeter.diagnosis import Check, ServiceHealth, ShardState, Status, Verdict
from cogmeter.diagnostics.bot_state import StateFacts, judge_state
from cogmeter.query.records import Figures
from cogmeter_storage.alerting import Alert, AlertState

NOW = 1_755_454_020_000_000
HEALTHY = Verdict(Status.HEALTHY, "no active alerts; 2 of 2 component checks pass")


def facts(**parts):
    return StateFacts(**({"verdict": HEALTHY, "components": [], "services": [], "alerts": []} | parts))


def service(name, operations=0, error_rate=None, status=Status.HEALTHY, reason="no operations"):
    seen = (operations, error_rate, 1_000.0, 2_000.0) if operations else ()
    return ServiceHealth(Check(name, status if operations else Status.UNKNOWN, reason), *seen)


def figures(operations, failures=0, longest_us=9_000):
    return Figures(operations, (operations - failures, failures, 0, 0, 0), 1, 5.0, 5.0, 7_000.0, 8.0, longest_us)


@pytest.fixture
def alert():
    """``alert(rule, service)``: an alert that fires."""

    def made(rule, of="(bot)", operation="", severity="warning", state=AlertState.FIRING):
        return Alert(
            uid="1", rule=rule, service=of, operation=operation, severity=severity, state=state,
            message=f"{rule} is bad", threshold=1.0, current=2.0, worst=2.0, started_us=NOW, seen_us=NOW,
            changed_us=NOW,
        )  # fmt: skip

    return made


def items(state):
    return {item.name: item for area in state.areas for item in area.items}


def judged(**parts):
    return judge_state(facts(**parts), at_us=NOW)


def test_nothing_known_is_no_area():
    state = judged()
    assert (state.areas, state.problems, state.verdict) == ((), [], HEALTHY)


def test_problems_come_first_in_each_area_and_in_the_list():
    state = judged(
        components=[Check("gateway", Status.HEALTHY, "ok"), Check("jobs", Status.DEGRADED, "late")],
        services=[
            service("idle"),
            service("busy", 50),
            service("bad", 10, 0.9, Status.UNHEALTHY, "9 of 10 operations failed"),
        ],
    )
    assert [item.name for item in state.areas[0].items] == ["jobs", "gateway"]
    assert [item.name for item in state.areas[1].items] == ["bad", "busy", "idle"]
    assert [(area, item.name) for area, item in state.problems] == [("Services", "bad"), ("Components", "jobs")]
    assert items(state)["bad"].text == "9 of 10 operations failed"
    assert list(state.areas[1].counts.items()) == [(Status.UNHEALTHY, 1), (Status.HEALTHY, 1), (Status.UNKNOWN, 1)]


def test_a_single_operation_is_written_in_the_singular():
    state = items(judged(services=[service("one", 1), service("two", 2)]))
    assert state["one"].text.startswith("1 op, ")
    assert state["two"].text.startswith("2 ops, ")


def test_the_event_loop_has_one_row_with_one_status():
    late = [Check("loop", Status.DEGRADED, "p99 lag at most 300 ms")]
    state = judged(components=late, gauges={"loop.lag_p99_ms": 300.0})
    rows = [item for area in state.areas for item in area.items if "loop" in item.name]
    assert [(row.name, row.status, row.text) for row in rows] == [
        ("event loop", Status.DEGRADED, "p99 lag at most 300 ms")
    ]


def test_a_shard_without_connection_is_degraded_and_unknown_while_the_bot_starts():
    shards = [ShardState(0, "", 45_000.0), ShardState(1, "is not connected")]
    running = items(judged(shards=shards))
    assert (running["shard 0"].text, running["shard 1"].status) == ("latency 45 ms", Status.DEGRADED)
    starting = items(judged(shards=shards, components=[Check("gateway", Status.UNKNOWN, "not yet")]))
    assert starting["shard 1"].status is Status.UNKNOWN


def test_first_responses_are_shown_as_a_share_of_the_limit():
    seen = dataclasses.replace(service("discord.acknowledgement", 20, 0.05), p95_us=300_000.0)
    item = items(judged(services=[seen]))["first responses"]
    assert (item.status, item.text) == (Status.HEALTHY, "p95 300 ms, 10% of the 3 s limit; 5% missed")


def test_limits_and_the_event_loop_are_judged_by_their_alerts(alert):
    gauges = {
        "rest.rate_limited.user": 2.0,
        "rest.rate_limited.shared": 1.0,
        "rest.rate_limit_wait_s": 3.0,
        "rest.invalid_share": 0.001,
        "loop.lag_p99_ms": 3.0,
    }
    parts = {
        "components": [Check("loop", Status.HEALTHY, "")],
        "gauges": gauges,
        "stalls": {"a.py:1": figures(2, longest_us=310_000)},
    }
    calm = items(judged(**parts))
    assert calm["rate limits"].text == "3 limits hit, 3 s waited in 10 min"
    assert calm["invalid requests"].text == "0.1% of Discord's limit in 10 min"
    assert calm["event loop"].text == "p99 lag 3 ms; 2 blocks in 1 h, longest 310 ms"
    assert {item.status for item in calm.values()} == {Status.HEALTHY}
    alerts = [alert("rate_limits"), alert("stall", severity="critical"), alert("invalid_requests", severity="info")]
    bad = items(judged(**parts, alerts=alerts))
    assert [bad[name].status for name in ("rate limits", "event loop", "invalid requests")] == [
        Status.DEGRADED,
        Status.UNHEALTHY,
        Status.HEALTHY,
    ]
    assert bad["rate limits"].text == "rate_limits is bad"


def test_an_alert_that_was_not_sent_changes_nothing(alert):
    pending = alert("rate_limits", state=AlertState.PENDING)
    state = items(judged(gauges={"rest.rate_limited.user": 1.0}, alerts=[pending]))
    assert state["rate limits"].status is Status.HEALTHY


def test_a_dead_loop_is_a_problem_also_before_its_alert_and_with_it_as_bad_as_the_alert(alert):
    loops = {"feed": figures(12), "backup": figures(1, 1)}
    dead = [LoopState("backup", dead=True, overdue_s=0.0, text="ended by KeyError")]
    state = items(judged(loops=loops, failing_loops=dead))
    assert (state["backup"].status, state["backup"].text) == (Status.DEGRADED, "ended by KeyError")
    assert state["feed"].text == "12 runs in 24 h, p95 7 ms"
    alerts = [alert("dead_loops", "discord.tasks", "backup", "critical")]
    assert items(judged(loops=loops, failing_loops=dead, alerts=alerts))["backup"].status is Status.UNHEALTHY


def test_dependencies_are_not_judged_by_their_response_time(alert):
    slow = service("http.slow", 50, 0.0, Status.UNHEALTHY, "p95 response time of 9 s")
    failing = service("http.failing", 10, 0.8)
    state = judged(services=[slow, failing, service("http.idle")])
    (area,) = state.areas
    assert area.name == "Dependencies"
    assert [(item.name, item.status) for item in area.items] == [
        ("http.failing", Status.DEGRADED),
        ("http.slow", Status.HEALTHY),
        ("http.idle", Status.UNKNOWN),
    ]
    alerts = [alert("dependency", "http.slow")]
    assert items(judged(services=[slow], alerts=alerts))["http.slow"].status is Status.DEGRADED


def test_background_services_of_discord_are_no_services_of_the_bot():
    state = judged(services=[service("discord.rest", 9), service("discord.commands", 9)])
    assert [item.name for area in state.areas for item in area.items] == ["discord.commands"]
