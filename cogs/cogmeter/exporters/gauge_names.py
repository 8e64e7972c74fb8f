"""The metric of each gauge of the watched surfaces, for all metric formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
_UNITS: Final = {"_seconds": "s", "_bytes": "By", "_ratio": "1", "_threads": "{thread}"}  # by the end of a name


class GaugeMetric(NamedTuple):
    """The metric of one gauge, or of all gauges with a prefix."""

    name: str
    kind: str
    help: str
    scale: float = 1.0  # from the gauge's unit to the metric's
    label: str = ""
    value: str = ""  # of the label; empty: the rest of the gauge's name
    semantic: str = ""  # in OpenTelemetry's semantic conventions, if it is there
    adds: bool = False  # there it is an UpDownCounter: the values of several processes may be added

    @property
    def semantic_name(self) -> str:
        """The name by the rules of OpenTelemetry: with dots, and without a unit."""
        bare = self.name.removesuffix("_total")
        for ending in _UNITS:
            bare = bare.removesuffix(ending)
        return self.semantic or f"cogmeter.{bare}"

    @property
    def unit(self) -> str:
        """The unit in UCUM, as OpenTelemetry writes it."""
        bare = self.name.removesuffix("_total")
        return next((unit for ending, unit in _UNITS.items() if bare.endswith(ending)), "1")


_LAG = "Event-loop lag since the last sample"
_LIMITED = "Requests that Discord rate-limited in the last 10 minutes, by scope"
_EVENTS = "Gateway disconnects, reconnects, resumes and identifies since loading"
_SHARD_EVENTS = "Gateway events of one shard since loading; only with several shards, and without zeros"
_BYTES = "Network bytes of the machine since boot, without loopback"

SAMPLED: Final[Mapping[str, GaugeMetric]] = {
    "gateway.shards_connected": GaugeMetric("gateway_shards_connected", GAUGE, "Shards connected to Discord"),
    "gateway.disconnects": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="disconnect"),
    "gateway.reconnects": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="reconnect"),
    "gateway.resumes": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="resume"),
    "gateway.identifies": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="identify"),
    "gateway.guilds": GaugeMetric("guilds", GAUGE, "Guilds of the bot"),
    "gateway.members": GaugeMetric("guild_members", GAUGE, "Sum of the members of all guilds"),
    "gateway.users_cached": GaugeMetric("users_cached", GAUGE, "Users in discord.py's cache"),
    "gateway.voice_connections": GaugeMetric("voice_connections", GAUGE, "Voice connections"),
    "loop.lag_p50_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "p50"),
    "loop.lag_p99_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "p99"),
    "loop.lag_max_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "max"),
    "rest.rate_limit_wait_s": GaugeMetric(
        "rate_limit_wait_recent_seconds", GAUGE, "Time that requests waited for rate limits in the last 10 minutes"
    ),
    "rest.invalid_share": GaugeMetric(
        "invalid_requests_ratio", GAUGE, "Invalid requests in 10 minutes, as a share of Discord's limit for a ban"
    ),
    "resources.cpu_percent": GaugeMetric(
        "process_cpu_ratio", GAUGE, "CPU use of the process, 1 for one core", 0.01, semantic="process.cpu.utilization"
    ),
    "resources.memory_bytes": GaugeMetric(
        "process_memory_bytes", GAUGE, "Resident memory of the process", semantic="process.memory.usage", adds=True
    ),
    "resources.memory_limit_bytes": GaugeMetric(
        "process_memory_limit_bytes", GAUGE, "Memory at which the process is stopped, or the machine has none left"
    ),
    "resources.threads": GaugeMetric(
        "process_threads", GAUGE, "Threads of the process", semantic="process.thread.count", adds=True
    ),
    "resources.open_files": GaugeMetric("process_open_files", GAUGE, "Open files, sockets and pipes of the process"),
    "resources.gc_pauses": GaugeMetric("gc_pauses_total", COUNTER, "Garbage collections since loading"),
    "resources.gc_pause_ms_sum": GaugeMetric(
        "gc_pause_seconds_total", COUNTER, "Duration of all garbage collections", 1e-3
    ),
    "resources.gc_pause_ms_max": GaugeMetric(
        "gc_pause_longest_seconds", GAUGE, "Longest garbage collection since the last sample", 1e-3
    ),
    "resources.machine_network_bytes_sent": GaugeMetric(
        "machine_network_bytes_total", COUNTER, _BYTES, label="direction", value="sent"
    ),
    "resources.machine_network_bytes_received": GaugeMetric(
        "machine_network_bytes_total", COUNTER, _BYTES, label="direction", value="received"
    ),
}

# Groups of gauges, by the prefix of their names.
SAMPLED_BY_PREFIX: Final[Mapping[str, GaugeMetric]] = {
    "gateway.latency_ms.shard_": GaugeMetric(
        "gateway_latency_seconds", GAUGE, "Time from a heartbeat to its acknowledgement", 1e-3, "shard"
    ),
    "gateway.heartbeat_age_s.shard_": GaugeMetric(
        "gateway_heartbeat_age_seconds", GAUGE, "Time since the last acknowledged heartbeat", label="shard"
    ),
    "gateway.disconnects.shard_": GaugeMetric("gateway_shard_disconnects_total", COUNTER, _SHARD_EVENTS, label="shard"),
    "gateway.reconnects.shard_": GaugeMetric("gateway_shard_reconnects_total", COUNTER, _SHARD_EVENTS, label="shard"),
    "gateway.resumes.shard_": GaugeMetric("gateway_shard_resumes_total", COUNTER, _SHARD_EVENTS, label="shard"),
    "gateway.identifies.shard_": GaugeMetric("gateway_shard_identifies_total", COUNTER, _SHARD_EVENTS, label="shard"),
    "rest.rate_limited.": GaugeMetric("rate_limits_recent", GAUGE, _LIMITED, label="scope"),
}


def metric_of(gauge: str) -> tuple[GaugeMetric, dict[str, str]] | None:
    """Return the metric and labels of a gauge; None for a gauge that is not exported."""
    if gauge in SAMPLED:
        metric = SAMPLED[gauge]
        return metric, {metric.label: metric.value} if metric.label else {}
    for prefix, metric in SAMPLED_BY_PREFIX.items():
        if gauge.startswith(prefix):
            return metric, {metric.label: gauge.removeprefix(prefix)}
    return None
