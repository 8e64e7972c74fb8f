"""Metric families of the present state: sampled gauges, health, alerts, costs, and the monitor itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cogmeter import __version__
from cogmeter.alerts.model import SEVERITIES
from cogmeter.diagnosis import Status
from cogmeter.exporters.gauge_names import COUNTER, GAUGE, metric_of
from cogmeter.recording.operation import now_ns
from cogmeter.schemas.safe import text
from cogmeter.watch.hook import HookState
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.diagnosis import Check
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.usage import DistinctCounts

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
        *_pushing(monitor),
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


def _pushing(monitor: Monitor) -> Iterator[Family]:
    pushers = {pusher.target.name: pusher for pusher in monitor.pushing.pushers}
    if not pushers:
        return
    sent: dict[str, float] = {name: pusher.operations for name, pusher in pushers.items()}
    yield Family.by("monitor_pushed_total", COUNTER, "Operations that a push target accepted", "target", sent)
    dropped: dict[str, float] = {name: pusher.dropped for name, pusher in pushers.items()}
    help_text = "Operations that are not pushed: too old, or never accepted"
    yield Family.by("monitor_push_dropped_total", COUNTER, help_text, "target", dropped)
    rejected: dict[str, float] = {name: pusher.rejected for name, pusher in pushers.items()}
    help_text = "Points that a push target rejected in requests that it accepted"
    yield Family.by("monitor_push_rejected_total", COUNTER, help_text, "target", rejected)
    failures: dict[str, float] = {name: pusher.failures for name, pusher in pushers.items()}
    help_text = "Failed attempts to push since the last success"
    yield Family.by("monitor_push_failures", GAUGE, help_text, "target", failures)


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
