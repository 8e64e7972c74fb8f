"""Every setting of .env.example has an effect: two of its values lead to different behaviour of a real part."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from setting_effects import alerts, commands, delivery, push, recording, web
from setting_effects.alerts import finds, history
from setting_effects.place import Place

ENV_EXAMPLE = Path(__file__).parents[3] / ".env.example"
NAME = re.compile(r"^(?:# )?([A-Z][A-Z_]*)=", re.MULTILINE)
OURS = ("PERFORMANCE_", "ENABLE_", "DISCORD_", "DATADOG_", "DD_", "OTEL_")
HOSTS = {"PORT", "SERVER_PORT"}


@dataclass(frozen=True)
class Effect:
    """What ``observe`` finds with each value; None: the setting is not set. ``others`` are other settings."""

    observe: Callable[[Place], Awaitable[object]]
    expected: Mapping[str | None, object]
    others: Mapping[str, str] = field(default_factory=dict)


def effect(
    observe: Callable[[Place], Awaitable[object]], expected: Mapping[str | None, object], **others: str
) -> Effect:
    """An effect, with other settings by their names without the prefix."""
    return Effect(observe, expected, {f"PERFORMANCE_{name}": value for name, value in others.items()})


SERIES = "/api/v2/series"
KEYS = {"DATADOG_API_KEY": "key-1", "DD_SITE": "<first>"}
DATADOG = {
    "PERFORMANCE_EXPORT_DATADOG": Effect(
        push.datadog_requests, {"true": {("first", SERIES, "key-1")}, "false": set()}, KEYS
    ),
    "DATADOG_API_KEY": Effect(
        push.datadog_requests,
        {"key-1": {("first", SERIES, "key-1")}, "key-2": {("first", SERIES, "key-2")}},
        {**KEYS, "PERFORMANCE_EXPORT_DATADOG": "true"},
    ),
    "DATADOG_APP_KEY": Effect(push.checked_application_keys, {None: [], "key-3": ["key-3"]}, KEYS),
    "DD_SITE": Effect(
        push.datadog_requests,
        {"<first>": {("first", SERIES, "key-1")}, "<second>": {("second", SERIES, "key-1")}},
        {**KEYS, "PERFORMANCE_EXPORT_DATADOG": "true"},
    ),
}

THRESHOLD = "PERFORMANCE_ALERT_THRESHOLD_"
EFFECTS: dict[str, Effect] = {
    # Rules
    THRESHOLD + "ERROR_RATE": effect(finds("error_rate", alerts.a_third_fails), {"0.05": ["graph"], "0.5": []}),
    THRESHOLD + "RESPONSE_TIME": effect(finds("response_time", alerts.slow), {"5000": ["graph"], "20000": []}),
    THRESHOLD + "OPERATIONS_PER_MINUTE": effect(finds("throughput", alerts.busy), {"100": ["graph"], "1000": []}),
    "PERFORMANCE_ALERT_RESPONSE_TIME_STATISTIC": effect(
        finds("response_time", alerts.some_are_slow), {"average": [], "p95": ["graph"]},
        ALERT_THRESHOLD_RESPONSE_TIME="5000",
    ),
    "PERFORMANCE_ALERT_CALIBRATE": effect(alerts.severity_of_slow, {"true": ["info"], "false": ["critical"]}),
    "PERFORMANCE_ALERT_WINDOW": effect(
        finds("error_rate", alerts.a_third_fails_two_minutes_ago), {"60": [], "300": ["graph"]}
    ),
    "PERFORMANCE_ALERT_MIN_OPERATIONS": effect(
        finds("error_rate", alerts.a_third_fails), {"20": ["graph"], "200": []}
    ),
    THRESHOLD + "DEPENDENCY": effect(finds("dependency", alerts.dependency_fails), {"4": [alerts.API], "0": []}),
    THRESHOLD + "LOGGED_ERRORS": effect(finds("logged_errors", alerts.logs_errors), {"0.1": ["graph"], "0.9": []}),
    THRESHOLD + "UNHANDLED_ERRORS": effect(finds("unhandled_errors", alerts.unhandled), {"1": ["(bot)"], "5": []}),
    THRESHOLD + "NEW_ERROR": effect(
        finds("new_error", alerts.new_errors), {"3": ["knowledge-graph/ValueError in Graph.ask (error 1)"], "10": []}
    ),
    THRESHOLD + "LOW_TRAFFIC": effect(
        finds("low_traffic", alerts.falls_silent), {"0.1": ["graph"], "0": []}, ALERT_THRESHOLD_DEVIATION="0"
    ),
    "PERFORMANCE_ALERT_SLO_TARGET": effect(
        finds("burn_rate", alerts.burns_its_budget), {"0.99": ["graph"], "0": []}, ALERT_THRESHOLD_ERROR_RATE="0"
    ),
    THRESHOLD + "ACKNOWLEDGEMENT": effect(
        finds("acknowledgement", alerts.answers_late), {"0.05": ["discord.acknowledgement"], "0.5": []}
    ),
    THRESHOLD + "STALL": effect(finds("stall", alerts.loop_is_blocked), {"2000": ["(bot)"], "5000": []}),
    THRESHOLD + "GATEWAY_LATENCY": effect(
        finds("gateway_latency", alerts.gateway_is_slow), {"1000": ["(bot)"], "3000": []}
    ),
    THRESHOLD + "DISCONNECTS": effect(finds("disconnects", alerts.connection_is_lost), {"5": ["(bot)"], "10": []}),
    THRESHOLD + "DEAD_LOOPS": effect(
        finds("dead_loops", alerts.loop_dies), {"1": ["discord.tasks/Feed.poll"], "2": []}
    ),
    THRESHOLD + "HUNG": effect(finds("hung", alerts.hangs), {"60": ["discord.commands/ask"], "120": []}),
    THRESHOLD + "PROCESS_SILENT": effect(
        finds("process_silent", alerts.process_dies), {"60": ["(bot)"], "120": [], "0": []}
    ),
    THRESHOLD + "VERSION_SKEW": effect(
        finds("version_skew", alerts.upgrade_stops), {"1": ["(bot)"], "3": [], "0": []}
    ),
    THRESHOLD + "RATE_LIMITS": effect(finds("rate_limits", alerts.is_rate_limited), {"50": ["(bot)"], "100": []}),
    THRESHOLD + "INVALID_REQUESTS": effect(
        finds("invalid_requests", alerts.sends_invalid_requests), {"0.3": ["(bot)"], "0.9": []}
    ),
    THRESHOLD + "MEMORY_LIMIT": effect(finds("memory_limit", alerts.memory_runs_out), {"1.0": ["(bot)"], "2.0": []}),
    THRESHOLD + "MEMORY_GROWTH": effect(finds("memory_growth", alerts.memory_grows), {"0.5": ["(bot)"], "5": []}),
    THRESHOLD + "COST": effect(finds("cost", alerts.costs_money), {"5": ["(bot)"], "100": []}),
    THRESHOLD + "COST_GROWTH": effect(finds("cost_growth", alerts.costs_rise), {"4": ["(bot)"], "100": []}),
    THRESHOLD + "DEVIATION": effect(finds("deviation", alerts.differs_from_usual), {"0.95": ["graph"], "0": []}),
    # Money
    "PERFORMANCE_COST_PRICES": effect(alerts.dollars_of_tokens, {None: 0.0, "my-model=2.50/10": 3.5}),
    "PERFORMANCE_BUDGET_GUILD": effect(alerts.guild_budget, {"1": False, "0": True}),
    "PERFORMANCE_BUDGET_USER": effect(alerts.user_budget, {"1": False, "0": True}),
    THRESHOLD + "COST_SHARE": effect(alerts.share_of_a_budget, {"0.8": ["A user"], "3": []}, BUDGET_USER="1"),
    # When alerts fire, and end
    "PERFORMANCE_ALERT_FOR": effect(history("!!!!!"), {"0": [("fired", 0)], "90": [("fired", 90)]}),
    "PERFORMANCE_ALERT_RECOVERY": effect(
        history("!....."), {"0": [("fired", 0), ("resolved", 30)], "90": [("fired", 0), ("resolved", 90)]}
    ),
    "PERFORMANCE_ALERT_COOLDOWN": effect(
        history("!.!!!!!!"),
        {"0": [("fired", 0), ("resolved", 30), ("fired", 60)], "180": [("fired", 0), ("resolved", 30), ("fired", 180)]},
        ALERT_RECOVERY="0",
    ),
    "PERFORMANCE_ALERT_GROUP_FROM": effect(alerts.groups, {"4": 0, "3": 3}),
    "PERFORMANCE_ALERT_REMINDER_INTERVAL": effect(
        history("!!!!!"),
        {"0": [("fired", 0)], "60": [("fired", 0), ("reminded", 60), ("reminded", 120)]},
        ALERT_ESCALATE_AFTER="0",
    ),
    "PERFORMANCE_ALERT_ESCALATE_AFTER": effect(
        history("!!!!!"), {"0": [("fired", 0)], "60": [("fired", 0), ("escalated", 60)]}, ALERT_REMINDER_INTERVAL="0"
    ),
    # Delivery
    "PERFORMANCE_ALERT_CHANNEL_ID": effect(delivery.posts_in_the_channel, {None: 0, "<channel>": 1}),
    "PERFORMANCE_ALERT_THREAD": effect(
        delivery.threads_at_an_alert, {"false": [], "true": ["Alert 1"]}, ALERT_CHANNEL_ID="<channel>"
    ),
    "PERFORMANCE_ALERT_ESCALATE_ROLE_ID": effect(
        delivery.pinged, {None: [], "<role>": ["role"]}, ALERT_CHANNEL_ID="<channel>"
    ),
    "PERFORMANCE_ALERT_ESCALATE_USER_ID": effect(
        delivery.pinged, {None: [], "<user>": ["user"]}, ALERT_CHANNEL_ID="<channel>"
    ),
    "PERFORMANCE_ALERT_DISCORD_WEBHOOK": effect(
        delivery.test_reaches, {None: [], "<url>/api/webhooks/1/key": ["/api/webhooks/1/key?wait=true"]}
    ),
    "PERFORMANCE_ALERT_WEBHOOK_URL": effect(delivery.test_reaches, {None: [], "<url>/alerts": ["/alerts"]}),
    "PERFORMANCE_ALERT_WEBHOOK_SECRET": effect(
        delivery.signature_fits, {"first key": True, "second key": False}, ALERT_WEBHOOK_URL="<url>/alerts"
    ),
    "PERFORMANCE_ALERT_WEBHOOK_PRIVATE_REDIRECTS": effect(
        delivery.redirect_is_followed, {"false": ["/alerts"], "true": ["/alerts", "/moved"]},
        ALERT_WEBHOOK_URL="<url>/alerts",
    ),
    "PERFORMANCE_ALERT_LIFELINE_AFTER": effect(
        delivery.lifeline, {"10": ["/alerts"], "60": []}, ALERT_WEBHOOK_URL="<url>/alerts", WATCH_STALLS="true"
    ),
    "PERFORMANCE_ALERT_GATEWAY_LOST_AFTER": effect(
        delivery.lost_connection, {"120": ["/alerts"], "600": []}, ALERT_WEBHOOK_URL="<url>/alerts"
    ),
    "PERFORMANCE_HEARTBEAT_URL": effect(
        recording.heartbeats, {None: [], "<url>/push?status={status}": ["/push?status=down"]}
    ),
    # Jobs
    "PERFORMANCE_HEARTBEAT_INTERVAL": effect(
        recording.runs("heartbeat"), {"60": 60, "600": 6}, HEARTBEAT_URL="http://127.0.0.1:9/push"
    ),
    "PERFORMANCE_ALERT_CHECK_INTERVAL": effect(recording.runs("alerts"), {"30": 120, "600": 6}),
    "PERFORMANCE_CLEANUP_INTERVAL_MINUTES": effect(recording.runs("clean-up"), {"60": 1, "10": 6}),
    "PERFORMANCE_SAMPLE_INTERVAL": effect(recording.samples_stored, {"600": 6, "60": 60}),
    # Posts
    "PERFORMANCE_ALERT_WEEKLY_REPORT": effect(
        commands.posted(commands.MONDAY_US - 1, commands.MONDAY_US),
        {"false": [], "true": ["Weekly alert report (last 7 days)"]},
        ALERT_CHANNEL_ID="<channel>",
    ),
    "PERFORMANCE_DIGEST": effect(
        commands.posted(commands.MONDAY_US - 1, commands.MONDAY_US + 2 * commands.HOUR_US),
        {"off": [], "daily": ["Daily digest (last 24 hours)"], "weekly": ["Weekly digest (last 7 days)"]},
        ALERT_CHANNEL_ID="<channel>",
    ),
    "PERFORMANCE_DIGEST_TIME": effect(
        commands.hour_of_the_digest, {"09:00": "09:00", "17:30": "17:30"},
        DIGEST="daily", ALERT_CHANNEL_ID="<channel>",
    ),
    "PERFORMANCE_TIME_ZONE": effect(
        commands.hour_of_the_digest, {"UTC": "09:00", "Asia/Tokyo": "00:00"},
        DIGEST="daily", ALERT_CHANNEL_ID="<channel>",
    ),
    "PERFORMANCE_DEPLOY_CHECKS": effect(
        commands.checks_of_a_deploy, {"true": ["Worse since version 1.4"], "false": []}, ALERT_CHANNEL_ID="<channel>"
    ),
    # Commands
    "PERFORMANCE_COMMAND_GROUP": effect(commands.name_of_the_group, {"perf": ["perf"], "speed": ["speed"]}),
    "PERFORMANCE_GUILD_ID": effect(commands.servers_with_commands, {None: [1, 0], "<guild>": [0, 1]}),
    "PERFORMANCE_OPS_ROLE_IDS": effect(commands.answer_to_a_member, {None: False, "<role>": True}),
    "PERFORMANCE_SYNC_COMMANDS": effect(commands.registered, {"false": [], "true": ["perf"]}),
    "PERFORMANCE_CHARTS": effect(commands.charts_of_the_summary, {"true": ["chart.png"], "false": []}),
    "PERFORMANCE_CHART_IDLE": effect(commands.worker_after_a_minute, {"60": "not running", "600": "running"}),
    "PERFORMANCE_EXPORT_FORMAT": effect(commands.suffix_of_an_export, {"json": "json", "csv": "csv"}),
    # Recording
    "DISCORD_TOKEN": effect(recording.start_of_make_run, {None: "demo", "<token>": "bot"}),
    "ENABLE_PERFORMANCE_MONITORING": effect(
        recording.recorded_when_enabled, {"true": (True, True), "false": (False, False)}
    ),
    "PERFORMANCE_LOG_LEVEL": effect(
        recording.lines_logged, {"debug": ["DEBUG", "INFO"], "info": ["INFO"], "warn": []}
    ),
    "PERFORMANCE_VERSION": effect(recording.version_marked, {"1.4.0": ["version 1.4.0"], "2.0": ["version 2.0"]}),
    "PERFORMANCE_DATABASE_URL": effect(
        recording.files_of_the_database,
        {"sqlite:///data/performance.db": ["data/performance.db"], "sqlite:///other.db": ["other.db"]},
    ),
    "PERFORMANCE_PROCESS_NAME": effect(recording.process_name, {"cluster-0": "cluster-0", "cluster-1": "cluster-1"}),
    "PERFORMANCE_RETENTION_HOURS": effect(recording.operations_kept, {"168": 1, "24": 0}),
    "PERFORMANCE_RETENTION_HOURLY_DAYS": effect(recording.hours_kept, {"90": 1, "1": 24}, RETENTION_HOURS="1"),
    "PERFORMANCE_RETENTION_DAILY_DAYS": effect(
        recording.days_kept, {"730": 1, "1": 0}, RETENTION_HOURS="1", RETENTION_HOURLY_DAYS="1"
    ),
    "PERFORMANCE_ERROR_RETENTION": effect(recording.errors_kept, {"2160": 1, "24": 0}),
    "PERFORMANCE_MAX_OPERATIONS_IN_MEMORY": effect(recording.dropped_of(500), {"100": 400, "10000": 0}),
    "PERFORMANCE_MAX_BUFFER_MB": effect(recording.some_dropped, {"1": True, "32": False}),
    "PERFORMANCE_SPOOL_MB": effect(recording.bytes_of_the_spool, {"256": 256_000_000, "0.5": 500_000, "0": None}),
    "PERFORMANCE_SPOOL_PATH": effect(
        recording.path_of_the_spool, {"data": "data/spool-one.db", "a/b": "a/b/spool-one.db"}
    ),
    "PERFORMANCE_WATCH_COMMANDS": effect(recording.commands_recorded, {"true": ["ask"], "false": []}),
    "PERFORMANCE_WATCH_COMPONENTS": effect(recording.components_recorded, {"true": ["Confirm.yes"], "false": []}),
    "PERFORMANCE_WATCH_ACKNOWLEDGEMENT": effect(
        recording.acknowledgements_recorded, {"true": ["ask"], "false": []}
    ),
    "PERFORMANCE_WATCH_LISTENERS": effect(recording.listeners_recorded, {"true": ["on_message"], "false": []}),
    "PERFORMANCE_WATCH_TASKS": effect(recording.loops_recorded, {"true": ["poll"], "false": []}),
    "PERFORMANCE_WATCH_REST": effect(
        recording.rest_recorded, {"true": ["POST /channels/{channel_id}/messages"], "false": []}
    ),
    "PERFORMANCE_WATCH_HTTP": effect(recording.http_recorded, {"true": True, "false": False}),
    "PERFORMANCE_WATCH_LLM": effect(recording.tokens_recorded, {"true": [12], "false": []}),
    "PERFORMANCE_WATCH_GATEWAY": effect(recording.gateway_sampled, {"true": 1, "false": None}),
    "PERFORMANCE_WATCH_STALLS": effect(
        recording.stalls_recorded, {"true": True, "false": False}, STALL_THRESHOLD="50"
    ),
    "PERFORMANCE_STALL_THRESHOLD": effect(
        recording.stalls_recorded, {"50": True, "60000": False}, WATCH_STALLS="true"
    ),
    "PERFORMANCE_WATCH_RESOURCES": effect(recording.resources_sampled, {"true": True, "false": False}),
    "PERFORMANCE_WATCH_MEMORY": effect(recording.objects_counted, {"true": 1, "false": 0}),
    "PERFORMANCE_WATCH_CHANGES": effect(
        recording.changes_marked, {"true": ["loaded of_a_setting", "unloaded of_a_setting"], "false": []}
    ),
    "PERFORMANCE_WATCH_LOGGED_ERRORS": effect(recording.logged_errors_recorded, {"true": ["logged"], "false": []}),
    "PERFORMANCE_WATCH_UNHANDLED_ERRORS": effect(
        recording.unhandled_errors_recorded, {"true": ["LookupError"], "false": []}
    ),
    "PERFORMANCE_USAGE": effect(recording.people_counted, {"true": 2, "false": 0}),
    "PERFORMANCE_TRACE_THRESHOLD": effect(recording.traces_stored, {"0": ["ask"], "900000": []}),
    "PERFORMANCE_MEMORY_LIMIT_MB": effect(recording.memory_limit, {"64": 64e6, "128": 128e6}),
    # Web
    "ENABLE_ANALYTICS_DASHBOARD": effect(
        web.status_of("/performance"), {"true": [200], "false": [0]}, DASHBOARD_PORT="<port>"
    ),
    "PERFORMANCE_DASHBOARD_REFRESH_INTERVAL": Effect(
        web.found_in("/performance", 'data-refresh="([0-9.]+)"'), {"30000": "30.0", "5000": "5.0"}, web.DASHBOARD
    ),
    "PERFORMANCE_DASHBOARD_PORT": Effect(
        web.status_of("/performance", "port", "other"), {"<port>": [200, 0], "<other>": [0, 200]},
        {"ENABLE_ANALYTICS_DASHBOARD": "true"},
    ),
    "PERFORMANCE_DASHBOARD_URL": Effect(
        web.host_of_the_link, {None: "localhost", "https://perf.example.com": "perf.example.com"},
        web.DASHBOARD | {"PERFORMANCE_HTTP_TOKEN": web.TOKEN},
    ),
    "PERFORMANCE_STATUS_PAGE": Effect(
        web.status_of("/status"), {"true": [200], "false": [404]}, web.DASHBOARD | {"PERFORMANCE_HTTP_TOKEN": web.TOKEN}
    ),
    "PERFORMANCE_HTTP_PORT": effect(
        web.status_of("/health", "port", "other"), {None: [0, 0], "<port>": [503, 0], "<other>": [0, 503]}
    ),
    "PERFORMANCE_HTTP_HOST": effect(
        web.status_of("/health"), {"127.0.0.1": [503], "0.0.0.0": [0]}, HTTP_PORT="<port>"
    ),
    "PERFORMANCE_HTTP_TOKEN": effect(
        web.status_of("/api/performance/running"), {None: [200], web.TOKEN: [401]}, HTTP_PORT="<port>"
    ),
    "PERFORMANCE_METRICS_NAMESPACE": effect(
        web.found_in("/metrics", r"(?m)^# TYPE (\w+?)_operations"), {"chatterbot": "chatterbot", "music": "music"},
        HTTP_PORT="<port>",
    ),
    # Push
    "PERFORMANCE_EXPORT_OTLP": Effect(
        push.otlp_requests, {"true": ["/v1/metrics"], "false": []}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "<url>"}
    ),
    "PERFORMANCE_EXPORT_INTERVAL": Effect(
        push.pause_between_pushes, {"60000": 60.0, "5000": 5.0},
        {"PERFORMANCE_EXPORT_OTLP": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "<url>"},
    ),
    "PERFORMANCE_EXPORT_STATSD": effect(push.statsd_hosts, {None: None, "<agent>": b"bot:chatterbot"}),
    **DATADOG,
}  # fmt: skip
CASES = [(name, value) for name, one in EFFECTS.items() for value in one.expected]


def names_of_the_file() -> list[str]:
    """The settings that .env.example names; commented ones, too."""
    return NAME.findall(ENV_EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, and in an environment without settings."""
    for name in [name for name in os.environ if name.startswith(OURS) or name in HOSTS]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_table_has_every_setting_of_the_example_file_once():
    assert sorted(EFFECTS) == sorted(names_of_the_file())


@pytest.mark.parametrize("name", EFFECTS)
def test_a_difference_is_expected_of_each_setting(name):
    first, *others = EFFECTS[name].expected.values()
    assert others
    assert all(other != first for other in others)


@pytest.mark.parametrize(("name", "value"), CASES)
async def test_the_setting_has_the_effect(monkeypatch, tmp_path, name, value):
    one = EFFECTS[name]
    values = {**one.others, **({} if value is None else {name: value})}
    async with AsyncExitStack() as stack:  # here, because simcord's clock must end in the context of its begin
        found = await one.observe(Place(tmp_path, monkeypatch, stack, values))
    assert found == one.expected[value]
