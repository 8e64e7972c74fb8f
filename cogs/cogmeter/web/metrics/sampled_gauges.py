"""Which metric each gauge of the watched surfaces becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.web.metrics.family import COUNTER, GAUGE, Family

if TYPE_CHECKING:
    from collections.abc import Mapping


class GaugeMetric(NamedTuple):
    """How one gauge, or all that begin alike, is told."""

    name: str
    kind: str
    help: str
    scale: float = 1.0  # from the gauge's unit to the metric's
    label: str = ""
    value: str = ""  # of the label; empty: the rest of the gauge's name


_LAG = "How late the event loop ran since the last sample"
_LIMITED = "Requests that Discord limited within the last ten minutes, by the limit's scope"
_EVENTS = "Connections to Discord that were lost, resumed, begun anew (identify) or came back, since loading"
_OF_A_SHARD = "The same of each shard, if there are several and it is not 0"
_BYTES = "Bytes over the machine's network since its start, without loopback"

SAMPLED: Final[Mapping[str, GaugeMetric]] = {
    "gateway.shards_connected": GaugeMetric("gateway_shards_connected", GAUGE, "Shards that are connected to Discord"),
    "gateway.disconnects": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="disconnect"),
    "gateway.reconnects": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="reconnect"),
    "gateway.resumes": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="resume"),
    "gateway.identifies": GaugeMetric("gateway_events_total", COUNTER, _EVENTS, label="event", value="identify"),
    "gateway.guilds": GaugeMetric("guilds", GAUGE, "Guilds that the bot is in"),
    "gateway.members": GaugeMetric("guild_members", GAUGE, "Members of these guilds together"),
    "gateway.users_cached": GaugeMetric("users_cached", GAUGE, "Users in discord.py's cache"),
    "gateway.voice_connections": GaugeMetric("voice_connections", GAUGE, "Voice connections"),
    "loop.lag_p50_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "p50"),
    "loop.lag_p99_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "p99"),
    "loop.lag_max_ms": GaugeMetric("loop_lag_seconds", GAUGE, _LAG, 1e-3, "statistic", "max"),
    "rest.rate_limit_wait_s": GaugeMetric(
        "rate_limit_wait_recent_seconds", GAUGE, "Time that requests waited for limits within the last ten minutes"
    ),
    "rest.invalid_share": GaugeMetric(
        "invalid_requests_ratio", GAUGE, "Share of the invalid requests in ten minutes that Discord bans an address for"
    ),
    "resources.cpu_percent": GaugeMetric("process_cpu_ratio", GAUGE, "Share of one core that the process uses", 0.01),
    "resources.memory_bytes": GaugeMetric("process_memory_bytes", GAUGE, "Resident memory of the process"),
    "resources.threads": GaugeMetric("process_threads", GAUGE, "Threads of the process"),
    "resources.open_files": GaugeMetric(
        "process_open_files", GAUGE, "Files, sockets and pipes that the process has open"
    ),
    "resources.gc_pauses": GaugeMetric("gc_pauses_total", COUNTER, "Garbage collections since loading"),
    "resources.gc_pause_ms_sum": GaugeMetric(
        "gc_pause_seconds_total", COUNTER, "Time that garbage collections took", 1e-3
    ),
    "resources.gc_pause_ms_max": GaugeMetric(
        "gc_pause_longest_seconds", GAUGE, "The longest garbage collection since the last sample", 1e-3
    ),
    "resources.machine_network_bytes_sent": GaugeMetric(
        "machine_network_bytes_total", COUNTER, _BYTES, label="direction", value="sent"
    ),
    "resources.machine_network_bytes_received": GaugeMetric(
        "machine_network_bytes_total", COUNTER, _BYTES, label="direction", value="received"
    ),
}

# Gauges of which there are several, by how their names begin.
SEVERAL: Final[Mapping[str, GaugeMetric]] = {
    "gateway.latency_ms.shard_": GaugeMetric(
        "gateway_latency_seconds", GAUGE, "Between a heartbeat and its acknowledgement", 1e-3, "shard"
    ),
    "gateway.heartbeat_age_s.shard_": GaugeMetric(
        "gateway_heartbeat_age_seconds", GAUGE, "Since Discord last acknowledged a heartbeat", label="shard"
    ),
    "gateway.disconnects.shard_": GaugeMetric("gateway_shard_disconnects_total", COUNTER, _OF_A_SHARD, label="shard"),
    "gateway.reconnects.shard_": GaugeMetric("gateway_shard_reconnects_total", COUNTER, _OF_A_SHARD, label="shard"),
    "gateway.resumes.shard_": GaugeMetric("gateway_shard_resumes_total", COUNTER, _OF_A_SHARD, label="shard"),
    "gateway.identifies.shard_": GaugeMetric("gateway_shard_identifies_total", COUNTER, _OF_A_SHARD, label="shard"),
    "rest.rate_limited.": GaugeMetric("rate_limits_recent", GAUGE, _LIMITED, label="scope"),
}


def told(gauge: str) -> tuple[GaugeMetric, dict[str, str]] | None:
    """How a gauge is told, and its labels; None for one that is not."""
    if gauge in SAMPLED:
        how = SAMPLED[gauge]
        return how, {how.label: how.value} if how.label else {}
    for prefix, how in SEVERAL.items():
        if gauge.startswith(prefix):
            return how, {how.label: gauge.removeprefix(prefix)}
    return None


def sampled(gauges: Mapping[str, float]) -> list[Family]:
    """The metrics of one sample."""
    families: dict[str, Family] = {}
    for gauge, value in gauges.items():
        if (found := told(gauge)) is not None:
            how, labels = found
            family = families.setdefault(how.name, Family(how.name, how.kind, how.help))
            family.samples.append((labels, value * how.scale))
    return list(families.values())
