"""The settings of recording and storage; see ``model``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cogmeter.settings.fields import PREFIX, setting


class RecordingSettings(BaseSettings):
    """What is recorded and stored, and for how long."""

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
        "The database that stores the operations: sqlite:/// and a path, or postgresql://user:password@host/database",
        in_chat=False,
        min_length=1,
    )
    process_name: str | None = setting(
        None,
        "text",
        "The name of this process among those that share a PostgreSQL database. Not set: its shards, or host and"
        " process id",
        in_chat=False,
        max_length=80,
        example="cluster-0",
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

    spool_mb: float = setting(
        256,
        "MB",
        "Disk space for operations that wait while a PostgreSQL server cannot be reached; 0: they wait in memory only",
        in_chat=False,
        ge=0,
        le=100_000,
    )
    spool_path: str = setting(
        "data",
        "path",
        "The folder of the file in which operations wait while a PostgreSQL server cannot be reached",
        in_chat=False,
        min_length=1,
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
        "The only server in which the commands are registered. Not set: every server",
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
        60,
        "seconds",
        "How long the chart worker waits for the next chart before it ends",
        in_chat=False,
        ge=1,
        le=86_400,
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
    watch_llm: bool = setting(
        False,
        "true or false",
        "Read tokens from the answers of known AI hosts to httpx, without any code; needs PERFORMANCE_WATCH_HTTP",
    )
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
        "Count the distinct users and servers of commands, as sketches of keyed hashes without ids",
        in_chat=False,
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
