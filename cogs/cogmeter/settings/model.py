"""The settings: name, default, unit and limits of each. ``reading`` reads their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cogmeter.settings.fields import PREFIX, is_http, origin_of, placeholder_fault, setting
from cogmeter.times import zone_of


class Settings(BaseSettings):
    """The settings. A field's name is its environment variable's, in lower case and without ``PERFORMANCE_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    enabled: bool = setting(
        True,
        "true or false",
        "Enable monitoring; false: the extension loads and does nothing",
        name="ENABLE_PERFORMANCE_MONITORING",
        in_chat=False,
    )
    log_level: Literal["debug", "info", "warn", "error"] = setting(
        "info", "debug, info, warn, error", "Minimum level of the log messages of cogmeter.*", in_chat=False
    )

    version: str | None = setting(
        None,
        "text",
        "The version of your bot; charts show when it changed. Not set: the git commit",
        in_chat=False,
        max_length=80,
        example="1.4.0",
    )

    database_url: str = setting(
        "sqlite:///data/performance.db",
        "URL",
        "The database that stores the operations: sqlite:/// and a path",
        in_chat=False,
        min_length=1,
    )
    retention_hours: float = setting(
        168, "hours", "How long single operations and per-minute statistics are stored", in_chat=False, ge=1, le=87_600
    )
    retention_hourly_days: float = setting(
        90, "days", "How long hourly statistics are stored", in_chat=False, ge=1, le=3_650
    )
    retention_daily_days: float = setting(
        730, "days", "How long daily statistics are stored", in_chat=False, ge=1, le=36_500
    )
    error_retention: float = setting(
        2160, "hours", "How long an error group is stored after its last error", in_chat=False, ge=1, le=876_000
    )
    cleanup_interval_minutes: float = setting(
        60, "minutes", "How often data older than the retention settings is removed", ge=1, le=1_440
    )
    max_buffer_mb: float = setting(
        32,
        "MB",
        "Memory for operations that are not stored yet. When it is full, operations are dropped and counted",
        in_chat=False,
        ge=1,
        le=10_000,
    )
    max_operations_in_memory: int | None = setting(
        None,
        "operations",
        "Maximum number of operations in memory. When set, it replaces PERFORMANCE_MAX_BUFFER_MB",
        in_chat=False,
        ge=100,
        le=10_000_000,
        example="10000",
    )

    command_group: str = setting(
        "perf",
        "name",
        "The name of the slash command group. Change it if the bot has its own /perf",
        in_chat=False,
        pattern=r"^[a-z0-9_-]{1,32}$",
    )
    guild_id: int | None = setting(
        None,
        "Discord id",
        "The only guild in which the commands are registered. Not set: every guild",
        in_chat=False,
        gt=0,
        example="123456789012345678",
    )
    ops_role_ids: Annotated[frozenset[int], NoDecode] = setting(
        frozenset(),
        "Discord ids, comma-separated",
        "Roles that may use the commands, in addition to the bot's owner or team",
        example="123456789012345678,234567890123456789",
    )
    sync_commands: bool = setting(
        False,
        "true or false",
        "Register the commands with Discord at the start. Leave it off if your bot syncs its command tree",
        in_chat=False,
    )

    charts: bool = setting(
        True,
        "true or false",
        "Draw charts, in a worker process of about 60 MB; false: answers and alerts without charts",
    )
    chart_idle: float = setting(
        60, "seconds", "How long the chart worker waits for the next chart before it ends", ge=1, le=86_400
    )

    watch_commands: bool = setting(True, "true or false", "Record slash, context-menu, prefix and hybrid commands")
    watch_components: bool = setting(True, "true or false", "Record buttons, selects and modals")
    watch_acknowledgement: bool = setting(
        True, "true or false", "Record the time to the first response of each interaction"
    )
    watch_listeners: bool = setting(True, "true or false", "Record event listeners, and replies to messages")
    watch_tasks: bool = setting(True, "true or false", "Record background loops and scheduled jobs")
    watch_rest: bool = setting(True, "true or false", "Record requests to Discord's REST API")
    watch_http: bool = setting(True, "true or false", "Record HTTP requests to other hosts, by aiohttp or httpx")
    watch_gateway: bool = setting(
        True, "true or false", "Sample the latency and reconnects of the connection to Discord"
    )
    watch_stalls: bool = setting(True, "true or false", "Record calls that block the event loop")
    watch_resources: bool = setting(True, "true or false", "Sample memory, CPU, threads and open files")
    watch_memory: bool = setting(
        True, "true or false", "Count live objects three times an hour, to name what makes the memory grow"
    )
    watch_changes: bool = setting(True, "true or false", "Mark loads and reloads of extensions and cogs on charts")
    watch_logged_errors: bool = setting(True, "true or false", "Record what is logged at level ERROR or higher")
    watch_unhandled_errors: bool = setting(
        True, "true or false", "Record errors of tasks, callbacks and threads that nobody handles"
    )
    usage: bool = setting(
        True,
        "true or false",
        "Count the distinct users and guilds of commands, as sketches of keyed hashes without ids",
    )
    stall_threshold: float = setting(
        150, "milliseconds", "Record a blocked event loop from this duration on", ge=20, le=60_000
    )
    trace_threshold: float = setting(
        1_000,
        "milliseconds",
        "Store the trace of an interaction that fails or takes this long",
        in_chat=False,
        ge=0,
        le=900_000,
    )
    memory_limit_mb: float | None = setting(
        None,
        "MB",
        "The memory at which your host stops the bot. Not set: the limit of its container, or the machine's memory",
        ge=16,
        le=10_000_000,
        example="512",
    )
    sample_interval: float = setting(15, "seconds", "How often gauges are sampled", ge=1, le=3_600)

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
        "UTC", "IANA time zone", "The time zone of PERFORMANCE_DIGEST_TIME", min_length=1, max_length=64
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

    export_format: Literal["json", "csv", "prometheus"] = setting(
        "json", "json, csv, prometheus", "The default export format"
    )
    export_interval: int = setting(60_000, "milliseconds", "How often metrics are pushed", ge=1_000, le=86_400_000)
    analytics_dashboard: bool = setting(
        False, "true or false", "Serve the web dashboard and the API", name="ENABLE_ANALYTICS_DASHBOARD"
    )
    dashboard_refresh_interval: int = setting(
        30_000, "milliseconds", "How often the dashboard refreshes", ge=1_000, le=3_600_000
    )
    dashboard_port: int = setting(3001, "port", "The port of the web dashboard (path /performance)", ge=1, le=65_535)
    dashboard_url: str | None = setting(
        None,
        "URL",
        "The address at which your browser reaches the dashboard, for the links of /perf dashboard. Not set: localhost",
        example="https://perf.example.com",
    )
    status_page: bool = setting(
        False, "true or false", "Serve a public status page without a token: /status, and a badge for your README"
    )
    http_port: int | None = setting(
        None,
        "port",
        "The port of REST API, health and metrics. Not set: the dashboard's port, or SERVER_PORT or PORT of a bot host",
        ge=1,
        le=65_535,
        example="3000",
    )
    http_host: str = setting(
        "127.0.0.1",
        "address",
        "The address that the servers listen on. An address other than loopback needs a token",
        in_chat=False,
        min_length=1,
    )
    http_token: SecretStr | None = setting(
        None,
        "text of 32 or more characters",
        "The token that clients send as Authorization: Bearer",
        min_length=32,
        example="at-least-32-characters-of-random-text",
    )
    metrics_namespace: str = setting(
        "chatterbot", "name", "The prefix of metric names at /metrics", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,40}$"
    )
    export_datadog: bool = setting(False, "true or false", "Send metrics to Datadog")
    datadog_api_key: SecretStr | None = setting(None, "key", "Datadog's API key", name="DATADOG_API_KEY")
    datadog_app_key: SecretStr | None = setting(None, "key", "Datadog's application key", name="DATADOG_APP_KEY")

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """Refuse surrogates (they replace bytes that are not UTF-8), because they cannot be stored, sent or logged."""
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("contains bytes that are not UTF-8 text")
        return value

    @field_validator("ops_role_ids", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        """Split the ids of an environment variable: ``1, 2``."""
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        """Check the time zone at the start instead of at the first digest."""
        try:
            zone_of(value)
        except ValueError:
            raise ValueError(
                "is not a time zone of this machine, such as Europe/Berlin; without time zone data, pip install tzdata"
            ) from None
        return value

    @field_validator("alert_discord_webhook", "alert_webhook_url", "heartbeat_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        """Check the URL at the start instead of at the first alert."""
        if value is not None and not is_http(value.get_secret_value()):
            raise ValueError("is not an http or https URL")
        return value

    @field_validator("dashboard_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        """Return the URL without a path: the dashboard's pages are at /performance of any address."""
        if value is None:
            return None
        origin = origin_of(value)
        if origin is None:
            raise ValueError("is not an http or https URL without path, query and password")
        return origin

    @field_validator("heartbeat_url")
    @classmethod
    def _placeholders(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (fault := placeholder_fault(value.get_secret_value())):
            raise ValueError(fault)
        return value


# Settings of the guide that are not implemented yet: they are validated, and a warning says that they have no effect.
WITHOUT_EFFECT = ("export_interval", "export_datadog", "datadog_api_key", "datadog_app_key")
