"""The settings of alerts, digests and their targets; see ``model``."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr  # noqa: TC002 - pydantic reads the annotations of fields

from cogmeter.settings.fields import setting
from cogmeter.settings.recording import RecordingSettings


class AlertSettings(RecordingSettings):
    """The thresholds of alerts, and where alerts and digests are sent."""

    alert_threshold_error_rate: float = setting(
        0.05, "share, 0 to 1", "Alert when the error rate exceeds this share; 0 switches the rule off", ge=0, le=1
    )
    alert_threshold_response_time: float = setting(
        5_000,
        "milliseconds",
        "Alert when the response time exceeds this value; 0 switches the rule off",
        ge=0,
        le=86_400_000,
    )
    alert_threshold_operations_per_minute: float = setting(
        100, "operations/min", "Alert when the throughput exceeds this value; 0 switches the rule off", ge=0, le=1e9
    )
    alert_response_time_statistic: Literal["average", "p50", "p95", "p99"] = setting(
        "average", "average, p50, p95, p99", "The statistic that is compared with the response-time threshold"
    )
    alert_calibrate: bool = setting(
        True,
        "true or false",
        "Learn thresholds of response time and throughput that are not set from the first three days of each service",
    )
    alert_window: float = setting(300, "seconds", "Length of the time window that a check evaluates", ge=10, le=86_400)
    alert_min_operations: int = setting(
        20, "operations", "Minimum number of operations in the window for an alert", ge=1, le=1_000_000
    )
    alert_check_interval: float = setting(30, "seconds", "How often the alert rules are evaluated", ge=1, le=3_600)
    alert_for: float = setting(
        0, "seconds", "How long a threshold must be exceeded before the alert fires", ge=0, le=86_400
    )
    alert_recovery: float = setting(
        120, "seconds", "How long the value must be back to normal before the alert is resolved", ge=0, le=86_400
    )
    alert_cooldown: float = setting(
        300, "seconds", "Minimum time between two firings of the same alert", ge=0, le=604_800
    )
    alert_group_from: int = setting(
        4, "alerts", "Send one message for all alerts when at least this many fire at the same time", ge=2, le=1_000
    )
    alert_reminder_interval: float = setting(
        3_600, "seconds", "How often a reminder of an unacknowledged alert is sent; 0: never", ge=0, le=604_800
    )
    alert_escalate_after: float = setting(
        900,
        "seconds",
        "Ping the escalation role or user after a critical alert is unacknowledged for this long; 0: never",
        ge=0,
        le=604_800,
    )
    alert_escalate_role_id: int | None = setting(
        None, "Discord id", "The role that an escalation pings", gt=0, example="123456789012345678"
    )
    alert_escalate_user_id: int | None = setting(
        None, "Discord id", "The user that an escalation pings", gt=0, example="123456789012345678"
    )
    alert_weekly_report: bool = setting(
        False, "true or false", "Post the alert report to the alert channel every Monday"
    )

    deploy_checks: bool = setting(
        True,
        "true or false",
        "An hour and a day after each deploy or new version, check what became worse, and post it to the alert channel",
    )

    digest: Literal["off", "daily", "weekly"] = setting(
        "off",
        "off, daily, weekly",
        "Post a digest to the alert channel: figures, what needs attention, changes, errors and alerts. A digest "
        "replaces the weekly alert report",
    )
    digest_time: str = setting(
        "09:00",
        "time of day",
        "When the digest is posted; a weekly one on Mondays",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
    )
    time_zone: str = setting(
        "UTC",
        "IANA time zone",
        "The time zone of PERFORMANCE_DIGEST_TIME and of the charts in Discord; also read as PERFORMANCE_TIMEZONE",
        other_name="PERFORMANCE_TIMEZONE",
        min_length=1,
        max_length=64,
    )

    alert_threshold_dependency: float = setting(
        4,
        "times",
        "Alert when a host or database that the bot calls is this many times as slow, or fails as often; 0: off",
        ge=0,
        le=1_000,
    )
    alert_threshold_logged_errors: float = setting(
        0.1, "share, 0 to 1", "Alert when a larger share of a service's operations logs errors; 0: off", ge=0, le=1
    )
    alert_threshold_unhandled_errors: float = setting(
        1,
        "errors",
        "Alert when this number of errors in tasks, callbacks and threads is unhandled; 0: off",
        ge=0,
        le=1e6,
    )
    alert_threshold_new_error: float = setting(
        3, "times", "Inform when a new or reopened group of errors has occurred this many times; 0: off", ge=0, le=1e6
    )
    alert_threshold_low_traffic: float = setting(
        0.1,
        "share, 0 to 1",
        "Alert when traffic falls below this share of the usual traffic; 0 switches the rule off",
        ge=0,
        le=1,
    )
    alert_slo_target: float = setting(
        0,
        "share, 0 to 1",
        "The target success rate. Alert when the error budget is used up too fast; 0: off",
        ge=0,
        lt=1,
    )
    alert_threshold_acknowledgement: float = setting(
        0.05,
        "share, 0 to 1",
        "Alert when this share of interactions gets no first response in time; 0: off",
        ge=0,
        le=1,
    )
    alert_threshold_stall: float = setting(
        2_000, "milliseconds", "Alert when the event loop is blocked for longer than this; 0: off", ge=0, le=3_600_000
    )
    alert_threshold_gateway_latency: float = setting(
        1_000, "milliseconds", "Alert when the gateway latency exceeds this value; 0: off", ge=0, le=600_000
    )
    alert_threshold_disconnects: float = setting(
        5,
        "times in 10 minutes",
        "Alert when the connection to Discord is lost more often than this; 0: off",
        ge=0,
        le=10_000,
    )
    alert_threshold_dead_loops: float = setting(
        1, "loops", "Alert when this number of background loops has ended or is overdue; 0: off", ge=0, le=10_000
    )
    alert_threshold_hung: float = setting(
        60,
        "seconds",
        "Alert when an operation runs for longer than this and than 10 times its own p99; 0: off",
        ge=0,
        le=86_400,
    )
    alert_threshold_process_silent: float = setting(
        60,
        "seconds",
        "Alert when a process of a fleet shows no sign of life for longer than this; 0: off",
        ge=0,
        le=86_400,
    )
    alert_threshold_version_skew: float = setting(
        1,
        "hours",
        "Alert when processes of a fleet run different versions for longer than this; 0: off",
        ge=0,
        le=8_760,
    )
    alert_threshold_rate_limits: float = setting(
        50, "times in 10 minutes", "Alert when Discord rate-limits more requests than this; 0: off", ge=0, le=1e6
    )
    alert_threshold_invalid_requests: float = setting(
        0.3, "share, 0 to 1", "Alert when this share of Discord's limit of invalid requests is used; 0: off", ge=0, le=1
    )
    alert_threshold_memory_limit: float = setting(
        1.0,
        "share",
        "Alert when memory reaches this share of its limit within 10 minutes, at the growth of the last one; 0: off",
        ge=0,
        le=100,
    )
    alert_threshold_memory_growth: float = setting(
        0.5, "share", "Alert when memory grows by this share within 6 hours; 0: off", ge=0, le=1_000
    )
    alert_threshold_cost: float = setting(
        0, "US dollars per day", "Alert when operations cost more than this within 24 hours; 0: off", ge=0, le=1e9
    )
    alert_threshold_cost_growth: float = setting(
        4, "times", "Alert when an hour costs this many times the previous hour; 0: off", ge=0, le=1e6
    )
    alert_threshold_cost_share: float = setting(
        0.8,
        "share",
        "Alert when a server or user has used this share of its daily budget; 0: off",
        ge=0,
        le=100,
    )
    budget_guild: float = setting(
        0,
        "US dollars per day",
        "The daily budget (UTC) of each server, for alerts and cogmeter.budget; 0: none",
        ge=0,
        le=1e9,
    )
    budget_user: float = setting(
        0,
        "US dollars per day",
        "The daily budget (UTC) of each user, for alerts and cogmeter.budget; 0: none",
        ge=0,
        le=1e9,
    )
    cost_prices: str | None = setting(
        None,
        "model=input/output or model=input/output/cached, comma-separated",
        "Prices of models in US dollars per million tokens; they replace those of genai-prices",
        max_length=10_000,
        example="my-model=2.50/10,other-model=0.15/0.60/0.075",
    )
    alert_threshold_deviation: float = setting(
        0.95, "score, 0 to 1", "Alert when a service's anomaly score exceeds this value; 0: off", ge=0, le=1
    )

    alert_channel_id: int | None = setting(
        None, "Discord id", "The channel that receives alerts", gt=0, example="123456789012345678"
    )
    alert_thread: bool = setting(False, "true or false", "Open a thread at each alert's message")
    alert_discord_webhook: SecretStr | None = setting(
        None, "URL", "A Discord webhook that receives alerts", example="https://discord.com/api/webhooks/..."
    )
    alert_webhook_url: SecretStr | None = setting(
        None,
        "URL",
        "Your own endpoint that receives alerts as JSON",
        example="https://your-monitoring-system.com/alerts",
    )
    alert_webhook_secret: SecretStr | None = setting(
        None, "key", "The key that signs requests to your endpoint (HMAC-SHA256)", example="a-long-random-text"
    )
    alert_webhook_private_redirects: bool = setting(
        False, "true or false", "Follow redirects of your endpoint to private addresses", in_chat=False
    )
    alert_lifeline_after: float = setting(
        10,
        "seconds",
        "After the event loop is blocked for this long, send a webhook from a separate thread; 0: never",
        ge=0,
        le=3_600,
    )
    alert_gateway_lost_after: float = setting(
        120,
        "seconds",
        "After the connection to Discord is lost for this long, send a webhook; 0: never",
        ge=0,
        le=86_400,
    )
    heartbeat_url: SecretStr | None = setting(
        None,
        "URL",
        "A URL to request while event loop, gateway and database work (Uptime Kuma, Healthchecks); may contain "
        "{status} and {ping}",
        example="https://uptime.example.com/api/push/your-key?status={status}&msg=OK&ping={ping}",
    )
    heartbeat_interval: float = setting(60, "seconds", "How often the heartbeat URL is requested", ge=5, le=86_400)
