"""Metric families of the present state: sampled gauges, health, alerts, costs, and the monitor itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter import __version__
from cogmeter.alerts.model import SEVERITIES
from cogmeter.diagnosis import Status
from cogmeter.recording.operation import now_ns
from cogmeter.schemas.safe import text
from cogmeter.watch.hook import HookState
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.diagnosis import Check
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.usage import DistinctCounts

COUNTER: Final = "counter"
GAUGE: Final = "gauge"

_FIRED_STATES: Final = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.MUTED)
_HEALTH_VALUES: Final = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples. Labels are services, operations, rules, parts and shards; never people."""

    name: str  # without the namespace; a counter's ends with _total
    kind: str
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    @classmethod
    def single(cls, name: str, kind: str, help_text: str, value: float) -> Family:
        """Build a metric with one value and no label."""
        return cls(name, kind, help_text, [({}, value)])

    @classmethod
    def by(cls, name: str, kind: str, help_text: str, label: str, values: Mapping[str, float]) -> Family:
        """Build a metric with a value for each value of one label."""
        return cls(name, kind, help_text, [({label: key}, value) for key, value in values.items()])


# Gauges of the watched surfaces -----------------------------------------------------------------------------------


class GaugeMetric(NamedTuple):
    """The metric of one gauge, or of all gauges with a prefix."""

    name: str
    kind: str
    help: str
    scale: float = 1.0  # from the gauge's unit to the metric's
    label: str = ""
    value: str = ""  # of the label; empty: the rest of the gauge's name


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
    "resources.cpu_percent": GaugeMetric("process_cpu_ratio", GAUGE, "CPU use of the process, 1 for one core", 0.01),
    "resources.memory_bytes": GaugeMetric("process_memory_bytes", GAUGE, "Resident memory of the process"),
    "resources.memory_limit_bytes": GaugeMetric(
        "process_memory_limit_bytes", GAUGE, "Memory at which the process is stopped, or the machine has none left"
    ),
    "resources.threads": GaugeMetric("process_threads", GAUGE, "Threads of the process"),
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


def sampled(gauges: Mapping[str, float]) -> list[Family]:
    """Return the metrics of one sample."""
    by_name: dict[str, Family] = {}
    for gauge, value in gauges.items():
        if (exported := metric_of(gauge)) is not None:
            metric, labels = exported
            family = by_name.setdefault(metric.name, Family(metric.name, metric.kind, metric.help))
            family.samples.append((labels, value * metric.scale))
    return list(by_name.values())


# State of the monitor ---------------------------------------------------------------------------------------------


def families(monitor: Monitor, checks: Sequence[Check], scrape_s: float | None) -> list[Family]:
    """Return all metrics but those of operations; ``scrape_s`` is the previous scrape's duration."""
    return [
        *sampled(monitor.gauges),
        *_health(checks),
        *_alerts(monitor),
        *_costs(monitor),
        *_recording(monitor),
        *_flushing(monitor),
        *_watching(monitor),
        *_own(monitor, scrape_s),
    ]


def _health(checks: Sequence[Check]) -> Iterator[Family]:
    known = {check.name: _HEALTH_VALUES[check.status] for check in checks if check.status in _HEALTH_VALUES}
    help_text = "Bot health: 1 healthy, 0.5 degraded, 0 unhealthy; absent while unknown"
    yield Family.by("health", GAUGE, help_text, "component", known)


def _alerts(monitor: Monitor) -> Iterator[Family]:
    active = [alert for alert in monitor.alerting.engine.active if alert.state in _FIRED_STATES]
    severities = dict.fromkeys(SEVERITIES, 0.0) | Counter(alert.severity for alert in active)
    yield Family.by("alerts_active", GAUGE, "Active alerts, muted ones included", "severity", severities)
    rules = Counter((alert.rule, alert.severity, alert.state.value) for alert in active)
    labels = ("rule", "severity", "state")
    samples: list[tuple[Mapping[str, str], float]] = [
        (dict(zip(labels, key, strict=True)), count) for key, count in rules.items()
    ]
    yield Family("alert_rule_active", GAUGE, "Active alerts by rule and state; absent without any", samples)
    delivery = monitor.alerting.delivery
    deliveries: list[tuple[Mapping[str, str], float]] = [
        ({"target": name, "outcome": outcome}, counts[name])
        for outcome, counts in (("delivered", delivery.delivered), ("failed", delivery.failed))
        for name in delivery.names
    ]
    help_text = "Alert messages that were delivered, or failed permanently, since the start"
    yield Family("alert_deliveries_total", COUNTER, help_text, deliveries)


def _costs(monitor: Monitor) -> Iterator[Family]:
    costs = monitor.alerting.evaluator.costs
    dollars: defaultdict[str, float] = defaultdict(float)
    tokens: defaultdict[tuple[str, str], float] = defaultdict(float)
    for (service, key), amount in costs.spent.items():
        if key.startswith("tokens_"):
            tokens[text(service), key.removeprefix("tokens_")] += amount
        else:
            dollars[text(service)] += amount
    help_text = "Dollars (cost_usd in the metadata of operations) since the start"
    yield Family.by("cost_usd_total", COUNTER, help_text, "service", dollars)
    samples: list[tuple[Mapping[str, str], float]] = [
        ({"service": service, "direction": direction}, amount) for (service, direction), amount in tokens.items()
    ]
    yield Family("tokens_total", COUNTER, "Tokens (in the metadata of operations) since the start", samples)
    day: defaultdict[str, float] = defaultdict(float)
    for service, amount in costs.day().items():
        day[text(service)] += amount
    help_text = "Dollars of the last 24 hours counted while cogmeter ran, across restarts; without imported ones"
    yield Family.by("cost_usd_day", GAUGE, help_text, "service", day)


def _recording(monitor: Monitor) -> Iterator[Family]:
    recorder = monitor.recorder
    buffer = recorder.buffer
    yield Family.single("monitor_buffer_operations", GAUGE, "Operations in the buffer", len(buffer))
    help_text = "Capacity of the buffer; smaller while it contains long errors or much metadata"
    yield Family.single("monitor_buffer_capacity", GAUGE, help_text, buffer.fits)
    help_text = "Operations dropped because the buffer was full"
    yield Family.single("monitor_dropped_total", COUNTER, help_text, buffer.dropped)
    help_text = "Operations refused for an invalid name, duration or outcome"
    yield Family.single("monitor_refused_total", COUNTER, help_text, recorder.refused)
    help_text = "Operations counted as (other) because there were too many series"
    yield Family.single("monitor_overflowed_total", COUNTER, help_text, recorder.overflowed)
    yield Family.single("monitor_series", GAUGE, "Known pairs of service and operation", len(recorder.names))


def _flushing(monitor: Monitor) -> Iterator[Family]:
    flusher = monitor.flusher
    yield Family.single("monitor_stored_total", COUNTER, "Operations stored since the start", flusher.written)
    help_text = "Failed attempts to store since the last success"
    yield Family.single("monitor_flush_failures", GAUGE, help_text, flusher.failures)
    age_s = (now_ns() - monitor.began_ns) / 1e9 if flusher.age_s is None else flusher.age_s
    yield Family.single("monitor_flush_age_seconds", GAUGE, "Time since the last flush, or since the start", age_s)


def _watching(monitor: Monitor) -> Iterator[Family]:
    hooks = [hook for surface in monitor.watcher.surfaces for hook in surface.hooks]
    states = {state.value: 0.0 for state in HookState} | Counter(hook.state.value for hook in hooks)
    yield Family.by("monitor_hooks", GAUGE, "Hooks on discord.py by state", "state", states)
    faults = sum(hook.faults for hook in hooks)
    yield Family.single("monitor_hook_faults_total", COUNTER, "Errors of cogmeter caught inside hooks", faults)


def _own(monitor: Monitor, scrape_s: float | None) -> Iterator[Family]:
    jobs = dict.fromkeys((job.id for job in monitor.schedule.jobs), 0.0)
    faults: dict[str, Any] = {"charts": 0.0, "web": 0.0} | jobs | monitor.faults
    yield Family.by("monitor_faults_total", COUNTER, "Errors in cogmeter's own parts and jobs", "part", faults)
    if scrape_s is not None:
        help_text = "Duration of the previous scrape, most of it in a thread"
        yield Family.single("monitor_scrape_duration_seconds", GAUGE, help_text, scrape_s)
    up_s = (now_ns() - monitor.began_ns) / 1e9
    yield Family.single("monitor_uptime_seconds", GAUGE, "Time since the monitor started", up_s)
    yield Family("monitor_info", GAUGE, "Always 1; the label has cogmeter's version", [({"version": __version__}, 1.0)])


def people_families(operations: Sequence[tuple[str, str, DistinctCounts]]) -> list[Family]:
    """Return the numbers of distinct users and guilds by operation; names are changed as those of all labels."""
    labels = [{"service": text(service), "operation": text(operation)} for service, operation, _ in operations]
    users, guilds = ([getattr(counts, name) for *_, counts in operations] for name in ("users", "guilds"))
    help_text = "of commands, components and replies in the last 24 hours, within 3%"
    return [
        Family("command_users", GAUGE, f"Distinct users {help_text}", list(zip(labels, users, strict=True))),
        Family("command_guilds", GAUGE, f"Distinct guilds {help_text}", list(zip(labels, guilds, strict=True))),
    ]
