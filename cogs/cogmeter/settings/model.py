"""Every setting: its name, default, unit and limits. Nothing is read here."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "PERFORMANCE_"


def _setting(default: Any, unit: str, text: str, *, name: str | None = None, **limits: Any) -> Any:
    """A field with its unit; ``name`` where the environment's name has not the common prefix."""
    extra: dict[str, Any] = {"unit": unit}
    if name is not None:
        limits["validation_alias"] = name
    return Field(default=default, description=text, json_schema_extra=extra, **limits)


class Settings(BaseSettings):
    """The product's settings. Field names are the environment's, in lower case and without ``PERFORMANCE_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    enabled: bool = _setting(
        True, "true or false", "Switches everything off when false", name="ENABLE_PERFORMANCE_MONITORING"
    )
    log_level: Literal["debug", "info", "warn", "error"] = _setting(
        "info", "debug, info, warn, error", "How much cogmeter logs, under the loggers cogmeter.*"
    )

    version: str | None = _setting(
        None, "text", "Your bot's version, marked on charts when it changes; not set: its git commit", max_length=80
    )

    database_url: str = _setting(
        "sqlite:///data/performance.db", "URL", "Where operations are kept: sqlite:/// and a path", min_length=1
    )
    retention_hours: float = _setting(168, "hours", "How long operations and minutes are kept", ge=1, le=87_600)
    retention_hourly_days: float = _setting(90, "days", "How long hourly totals are kept", ge=1, le=3_650)
    retention_daily_days: float = _setting(730, "days", "How long daily totals are kept", ge=1, le=36_500)
    cleanup_interval_minutes: float = _setting(60, "minutes", "How often old data is removed", ge=1, le=1_440)
    max_buffer_mb: float = _setting(
        32,
        "MB",
        "Memory for operations that wait for the database; beyond it they are dropped and counted",
        ge=1,
        le=10_000,
    )
    max_operations_in_memory: int | None = _setting(
        None,
        "operations",
        "How many operations may wait for the database, in place of PERFORMANCE_MAX_BUFFER_MB",
        ge=100,
        le=10_000_000,
    )

    command_group: str = _setting(
        "perf", "name", "The slash command group, for a bot that has its own /perf", pattern=r"^[a-z0-9_-]{1,32}$"
    )
    guild_id: int | None = _setting(None, "Discord id", "Register the commands in this guild alone", gt=0)
    ops_role_ids: Annotated[frozenset[int], NoDecode] = _setting(
        frozenset(), "Discord ids, comma-separated", "Roles that may use the commands, beside the bot's owner or team"
    )
    sync_commands: bool = _setting(
        False, "true or false", "Register the commands with Discord at start; off in a host, which does that itself"
    )

    watch_commands: bool = _setting(True, "true or false", "Records slash, menu, prefix and hybrid commands")
    watch_components: bool = _setting(True, "true or false", "Records buttons, selects and modals")
    watch_acknowledgement: bool = _setting(True, "true or false", "Records how soon interactions are answered")
    watch_listeners: bool = _setting(True, "true or false", "Records event listeners")
    watch_tasks: bool = _setting(True, "true or false", "Records background loops and scheduled jobs")
    watch_rest: bool = _setting(True, "true or false", "Records requests to Discord")
    watch_gateway: bool = _setting(True, "true or false", "Follows the connection to Discord")
    watch_stalls: bool = _setting(True, "true or false", "Notices what blocks the event loop")
    watch_resources: bool = _setting(True, "true or false", "Follows memory, CPU, threads and files")
    watch_changes: bool = _setting(True, "true or false", "Marks loads and reloads of extensions and cogs")
    stall_threshold: float = _setting(150, "milliseconds", "A blocked loop is noticed from here on", ge=20, le=60_000)
    trace_threshold: float = _setting(
        1_000, "milliseconds", "Interactions as slow as this keep their tree of operations", ge=0, le=900_000
    )
    sample_interval: float = _setting(15, "seconds", "How often gauges are taken", ge=1, le=3_600)

    alert_threshold_error_rate: float = _setting(
        0.05, "share, 0 to 1", "Alert above this error rate; 0 switches the rule off", ge=0, le=1
    )
    alert_threshold_response_time: float = _setting(
        5_000, "milliseconds", "Alert above this response time; 0 switches the rule off", ge=0, le=86_400_000
    )
    alert_threshold_operations_per_minute: float = _setting(
        100, "operations a minute", "Alert above this throughput; 0 switches the rule off", ge=0, le=1e9
    )
    alert_response_time_statistic: Literal["average", "p50", "p95", "p99"] = _setting(
        "average", "average, p50, p95, p99", "Which response time is held against the threshold"
    )
    alert_window: float = _setting(300, "seconds", "The stretch that each check looks at", ge=10, le=86_400)
    alert_min_operations: int = _setting(
        20, "operations", "Fewer than this in the window raise no alert", ge=1, le=1_000_000
    )
    alert_check_interval: float = _setting(30, "seconds", "How often the rules are checked", ge=1, le=3_600)
    alert_for: float = _setting(0, "seconds", "How long a breach has to last before it is told", ge=0, le=86_400)
    alert_recovery: float = _setting(
        120, "seconds", "How long a breach has to be over before its alert is resolved", ge=0, le=86_400
    )
    alert_cooldown: float = _setting(300, "seconds", "How long the same alert is not repeated", ge=0, le=604_800)
    alert_group_from: int = _setting(
        4, "services", "From so many breaches at once on, one message speaks for all", ge=2, le=1_000
    )
    alert_reminder_interval: float = _setting(
        3_600, "seconds", "How often an alert that nobody acknowledged is repeated; 0: never", ge=0, le=604_800
    )
    alert_escalate_after: float = _setting(
        900, "seconds", "An alert that nobody acknowledged pings from then on; 0: never", ge=0, le=604_800
    )
    alert_escalate_role_id: int | None = _setting(None, "Discord id", "The role that an escalation pings", gt=0)
    alert_escalate_user_id: int | None = _setting(None, "Discord id", "The user that an escalation pings", gt=0)
    alert_weekly_report: bool = _setting(
        False, "true or false", "Posts the report on the alerts themselves once a week"
    )

    alert_threshold_low_traffic: float = _setting(
        0.1, "share, 0 to 1", "Alert below this share of a service's usual traffic; 0 switches the rule off", ge=0, le=1
    )
    alert_slo_target: float = _setting(
        0, "share, 0 to 1", "The success rate that is promised; alerts when it burns up too fast; 0: off", ge=0, lt=1
    )
    alert_threshold_acknowledgement: float = _setting(
        0.05, "share, 0 to 1", "Alert above this share of late or missing first responses; 0: off", ge=0, le=1
    )
    alert_threshold_stall: float = _setting(
        2_000, "milliseconds", "Alert when the event loop was blocked for longer; 0: off", ge=0, le=3_600_000
    )
    alert_threshold_gateway_latency: float = _setting(
        1_000, "milliseconds", "Alert above this latency of the connection to Discord; 0: off", ge=0, le=600_000
    )
    alert_threshold_disconnects: float = _setting(
        5, "times in 10 minutes", "Alert when the connection to Discord is lost more often; 0: off", ge=0, le=10_000
    )
    alert_threshold_dead_loops: float = _setting(
        1, "loops", "Alert when so many background loops have died or are overdue; 0: off", ge=0, le=10_000
    )
    alert_threshold_rate_limits: float = _setting(
        50, "times in 10 minutes", "Alert when Discord limits more requests; 0: off", ge=0, le=1e6
    )
    alert_threshold_invalid_requests: float = _setting(
        0.3, "share, 0 to 1", "Alert above this share of the invalid requests that Discord bans for; 0: off", ge=0, le=1
    )
    alert_threshold_memory_growth: float = _setting(
        0.5, "share", "Alert when memory has grown by this share within 6 hours; 0: off", ge=0, le=1_000
    )
    alert_threshold_cost: float = _setting(
        0, "US dollars a day", "Alert when operations cost more within 24 hours; 0: off", ge=0, le=1e9
    )
    alert_threshold_cost_growth: float = _setting(
        4, "times", "Alert when an hour costs so many times the hour before; 0: off", ge=0, le=1e6
    )
    alert_threshold_deviation: float = _setting(
        0.95, "score, 0 to 1", "Alert when a service deviates so much from its own baseline; 0: off", ge=0, le=1
    )

    alert_channel_id: int | None = _setting(None, "Discord id", "The channel that alerts are posted in", gt=0)
    alert_thread: bool = _setting(False, "true or false", "Opens a thread at each alert's message")
    alert_discord_webhook: SecretStr | None = _setting(None, "URL", "A Discord webhook that alerts are posted to")
    alert_webhook_url: SecretStr | None = _setting(None, "URL", "Your own endpoint that alerts are posted to as JSON")
    alert_webhook_secret: SecretStr | None = _setting(
        None, "key", "Signs what is posted to your endpoint (HMAC-SHA256)"
    )
    alert_webhook_private_redirects: bool = _setting(
        False, "true or false", "Follows redirects of your endpoint to private addresses"
    )
    alert_lifeline_after: float = _setting(
        10, "seconds", "A loop blocked for so long is told by webhook from outside of it; 0: never", ge=0, le=3_600
    )
    alert_gateway_lost_after: float = _setting(
        120, "seconds", "A connection to Discord lost for so long is told by webhook; 0: never", ge=0, le=86_400
    )
    heartbeat_url: SecretStr | None = _setting(
        None, "URL", "Pinged only while loop, gateway and database are all fresh (Uptime Kuma, healthchecks)"
    )
    heartbeat_interval: float = _setting(60, "seconds", "How often the heartbeat URL is pinged", ge=5, le=86_400)

    export_format: Literal["json", "csv", "prometheus"] = _setting(
        "json", "json, csv, prometheus", "The format of an export that names none"
    )
    export_interval: int = _setting(60_000, "milliseconds", "How often metrics are pushed", ge=1_000, le=86_400_000)
    analytics_dashboard: bool = _setting(
        False, "true or false", "Serves the web dashboard, and the API beside it", name="ENABLE_ANALYTICS_DASHBOARD"
    )
    dashboard_refresh_interval: int = _setting(
        30_000, "milliseconds", "How often the dashboard asks for news", ge=1_000, le=3_600_000
    )
    dashboard_port: int = _setting(3001, "port", "The web dashboard's port, at /performance", ge=1, le=65_535)
    http_port: int | None = _setting(
        None,
        "port",
        "The port of REST, health and metrics; not set: the dashboard's, or a bot host's SERVER_PORT or PORT",
        ge=1,
        le=65_535,
    )
    http_host: str = _setting(
        "127.0.0.1", "address", "Where the servers listen; any other than loopback needs a token", min_length=1
    )
    http_token: SecretStr | None = _setting(
        None, "text of 32 or more characters", "What clients send as Authorization: Bearer", min_length=32
    )
    metrics_namespace: str = _setting(
        "chatterbot", "name", "What the names at /metrics begin with", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,40}$"
    )
    export_datadog: bool = _setting(False, "true or false", "Sends metrics to Datadog")
    datadog_api_key: SecretStr | None = _setting(None, "key", "Datadog's API key", name="DATADOG_API_KEY")
    datadog_app_key: SecretStr | None = _setting(None, "key", "Datadog's application key", name="DATADOG_APP_KEY")

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """Bytes of the environment that are no text arrive as surrogates, which cannot be stored, sent or logged."""
        if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
            raise ValueError("contains bytes that are not UTF-8 text")
        return value

    @field_validator("ops_role_ids", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        """Ids stand in the environment as ``1, 2``."""
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("alert_discord_webhook", "alert_webhook_url", "heartbeat_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        """An address that can be asked, found out at start and not at the first alert."""
        if value is not None and not _is_http(value.get_secret_value()):
            raise ValueError("is no http or https URL")
        return value


# Settings of the guide whose part is not built yet: accepted and checked, and said to do nothing.
WITHOUT_EFFECT = (
    "export_interval",
    "export_datadog",
    "datadog_api_key",
    "datadog_app_key",
)


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no port
    except ValueError:
        return False
    plain = address.isprintable() and " " not in address
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname)


def env_name(field: str) -> str:
    """The environment's name of a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def buffer_setting(*, by_memory: bool) -> str:
    """The environment's name of the setting that bounds the buffer now."""
    return env_name("max_buffer_mb" if by_memory else "max_operations_in_memory")


def example(field: str) -> str:
    """A value that the setting takes, as it stands in ``.env``: its default, or a fitting one where that is empty."""
    default = Settings.model_fields[field].default
    if isinstance(default, bool):
        return str(default).lower()
    if default is None or default == frozenset():
        return _EXAMPLES.get(field, "")
    return str(default)


_EXAMPLES = {
    "version": "1.4.0",
    "max_operations_in_memory": "10000",
    "guild_id": "123456789012345678",
    "ops_role_ids": "123456789012345678,234567890123456789",
    "alert_channel_id": "123456789012345678",
    "alert_discord_webhook": "https://discord.com/api/webhooks/...",
    "alert_webhook_url": "https://your-monitoring-system.com/alerts",
    "alert_webhook_secret": "a-long-random-text",
    "alert_escalate_role_id": "123456789012345678",
    "alert_escalate_user_id": "123456789012345678",
    "http_port": "3000",
    "http_token": "at-least-32-characters-of-random-text",
    "heartbeat_url": "https://uptime.example.com/api/push/your-key",
}
