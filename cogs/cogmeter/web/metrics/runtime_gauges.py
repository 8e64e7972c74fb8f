"""What is known of this moment: the connection, the process, alerts, costs, and the monitor itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from cogmeter import __version__
from cogmeter.alerts.model import SEVERITIES
from cogmeter.diagnosis import Status
from cogmeter.recording.operation import now_ns
from cogmeter.schemas.safe import text
from cogmeter.watch.hook import HookState
from cogmeter.web.metrics.family import COUNTER, GAUGE, Family
from cogmeter.web.metrics.sampled_gauges import sampled
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.diagnosis import Check
    from cogmeter.monitor.monitor import Monitor

_STANDING: Final = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.MUTED)
_WORTH: Final = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
_SCRAPE: Final = "Time from the last scrape's begin to its end, in a thread for most of it"


def families(monitor: Monitor, checks: Sequence[Check], scrape_s: float | None) -> list[Family]:
    """All metrics but the operations'; ``scrape_s`` is what the scrape before took. Quick: made on the loop."""
    return [
        *sampled(monitor.gauges),
        *_health(checks),
        *_alerts(monitor),
        *_spent(monitor),
        *_recording(monitor),
        *_flushing(monitor),
        *_watching(monitor),
        *_own(monitor, scrape_s),
    ]


def _health(checks: Sequence[Check]) -> Iterator[Family]:
    known = {one.name: _WORTH[one.status] for one in checks if one.status in _WORTH}
    said = "Health of what the bot needs to serve: 1 healthy, 0.5 degraded, 0 unhealthy; absent while it is unknown"
    yield Family.by("health", GAUGE, said, "component", known)


def _alerts(monitor: Monitor) -> Iterator[Family]:
    standing = [one for one in monitor.alerting.engine.active if one.state in _STANDING]
    severities = dict.fromkeys(SEVERITIES, 0.0) | Counter(one.severity for one in standing)
    yield Family.by("alerts_active", GAUGE, "Alerts that stand, muted ones too", "severity", severities)
    rules = Counter((one.rule, one.severity, one.state.value) for one in standing)
    labels = ("rule", "severity", "state")
    samples: list[tuple[Mapping[str, str], float]] = [
        (dict(zip(labels, key, strict=True)), count) for key, count in rules.items()
    ]
    yield Family("alert_rule_active", GAUGE, "Alerts that stand, by rule and state; absent without any", samples)
    delivery = monitor.alerting.delivery
    ends: list[tuple[Mapping[str, str], float]] = [
        ({"target": name, "outcome": outcome}, counts[name])
        for outcome, counts in (("delivered", delivery.delivered), ("failed", delivery.failed))
        for name in delivery.names
    ]
    said = "Changes of alerts that were told, or given up, since the start"
    yield Family("alert_deliveries_total", COUNTER, said, ends)


def _spent(monitor: Monitor) -> Iterator[Family]:
    costs = monitor.alerting.evaluator.costs
    dollars: defaultdict[str, float] = defaultdict(float)
    tokens: defaultdict[tuple[str, str], float] = defaultdict(float)
    for (service, key), amount in costs.spent.items():
        if key.startswith("tokens_"):
            tokens[text(service), key.removeprefix("tokens_")] += amount
        else:
            dollars[text(service)] += amount
    said = "Dollars in the metadata (cost_usd) of operations since the start"
    yield Family.by("cost_usd_total", COUNTER, said, "service", dollars)
    samples: list[tuple[Mapping[str, str], float]] = [
        ({"service": service, "direction": direction}, amount) for (service, direction), amount in tokens.items()
    ]
    yield Family("tokens_total", COUNTER, "Tokens in the metadata of operations since the start", samples)
    day: defaultdict[str, float] = defaultdict(float)
    for service, amount in costs.day().items():
        day[text(service)] += amount
    yield Family.by("cost_usd_day", GAUGE, "Dollars within the last 24 hours, across restarts", "service", day)


def _recording(monitor: Monitor) -> Iterator[Family]:
    recorder = monitor.recorder
    buffer = recorder.buffer
    yield Family.one("monitor_buffer_operations", GAUGE, "Operations that wait in the buffer", len(buffer))
    said = "Operations that may wait; fewer while those that wait have long errors or much metadata"
    yield Family.one("monitor_buffer_capacity", GAUGE, said, buffer.fits)
    yield Family.one("monitor_dropped_total", COUNTER, "Operations dropped because the buffer was full", buffer.dropped)
    said = "Operations refused for a bad name, duration or outcome"
    yield Family.one("monitor_refused_total", COUNTER, said, recorder.refused)
    said = "Operations whose series was beyond the limit, counted as (other)"
    yield Family.one("monitor_overflowed_total", COUNTER, said, recorder.overflowed)
    yield Family.one("monitor_series", GAUGE, "Pairs of service and operation that are known", len(recorder.names))


def _flushing(monitor: Monitor) -> Iterator[Family]:
    flusher = monitor.flusher
    yield Family.one("monitor_stored_total", COUNTER, "Operations stored since the start", flusher.written)
    said = "Attempts to store that have failed since the last success"
    yield Family.one("monitor_flush_failures", GAUGE, said, flusher.failures)
    age_s = (now_ns() - monitor.began_ns) / 1e9 if flusher.age_s is None else flusher.age_s
    yield Family.one("monitor_flush_age_seconds", GAUGE, "Since the last flush, or since the start", age_s)


def _watching(monitor: Monitor) -> Iterator[Family]:
    hooks = [hook for surface in monitor.watcher.surfaces for hook in surface.hooks]
    states = {state.value: 0.0 for state in HookState} | Counter(hook.state.value for hook in hooks)
    yield Family.by("monitor_hooks", GAUGE, "Hooks on discord.py by their state", "state", states)
    faults = sum(hook.faults for hook in hooks)
    yield Family.one("monitor_hook_faults_total", COUNTER, "Faults of our own inside hooks, swallowed", faults)


def _own(monitor: Monitor, scrape_s: float | None) -> Iterator[Family]:
    jobs = dict.fromkeys((job.id for job in monitor.schedule.jobs), 0.0)
    faults: dict[str, Any] = {"charts": 0.0, "web": 0.0} | jobs | monitor.faults
    yield Family.by("monitor_faults_total", COUNTER, "Faults of the monitor's own parts and jobs", "part", faults)
    if scrape_s is not None:
        yield Family.one("monitor_scrape_duration_seconds", GAUGE, _SCRAPE, scrape_s)
    up_s = (now_ns() - monitor.began_ns) / 1e9
    yield Family.one("monitor_uptime_seconds", GAUGE, "Since the monitor was started", up_s)
    yield Family("monitor_info", GAUGE, "Always 1; its label is cogmeter's version", [({"version": __version__}, 1.0)])
