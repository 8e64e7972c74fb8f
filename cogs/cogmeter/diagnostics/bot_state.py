"""Judges every part of the bot for one picture of its state: ``/perf health``, its page, REST and the terminal.

The whole is judged by ``judgement.verdict``. A part that is not a service of its own is judged by its active alerts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.rules.connection import INVALID_REQUESTS, RATE_LIMITS
from cogmeter.alerts.rules.process import STALL
from cogmeter.diagnosis import (
    BAD,
    WORST_FIRST,
    BotState,
    Check,
    ServiceHealth,
    StateArea,
    StateItem,
    Status,
    status_of,
    worst,
)
from cogmeter.diagnostics.judgement import MOST_FAILED
from cogmeter.query.records import Period
from cogmeter.recording.service_names import (
    ACKNOWLEDGEMENT,
    ACKNOWLEDGEMENT_LIMIT_US,
    STALLS,
    TASKS,
    in_background,
    is_dependency,
)
from cogmeter.render import formatting
from cogmeter.render.rule_text import status_reason
from cogmeter_storage.alerting import SENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cogmeter.alerts.model import LoopState
    from cogmeter.diagnosis import ShardState, Verdict
    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures
    from cogmeter_storage.alerting import Alert

_LIMITED: Final = "rest.rate_limited."
_WAITED: Final = "rest.rate_limit_wait_s"
_INVALID: Final = "rest.invalid_share"
_LAG: Final = "loop.lag_p99_ms"


@dataclass(frozen=True, slots=True)
class StateFacts:
    """Everything that the state of a bot follows from."""

    verdict: Verdict
    components: Sequence[Check]
    services: Collection[ServiceHealth]  # of all recorded services, in the alert window
    alerts: Sequence[Alert]  # active ones
    gauges: Mapping[str, float] = field(default_factory=dict)  # the newest; empty if nothing is sampled
    shards: Sequence[ShardState] = ()
    loops: Mapping[str, Figures] = field(default_factory=dict)  # those that ran within a day
    failing_loops: Sequence[LoopState] = ()
    stalls: Mapping[str, Figures] = field(default_factory=dict)  # within an hour, by place


async def background_runs(query: Query) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """Return the loops of the last day, and the places that blocked the event loop in the last hour.

    Raises:
        StorageError: the store cannot be read.
    """
    return await query.operations(TASKS, Period.DAY), await query.operations(STALLS, Period.HOUR)


def judge_state(facts: StateFacts, *, at_us: int) -> BotState:
    """Return the state of the bot: every part with its status, worst first."""
    starting = any(check.name == "gateway" and check.status is Status.UNKNOWN for check in facts.components)
    own = [service for service in facts.services if not in_background(service.check.name)]
    called = [service for service in facts.services if is_dependency(service.check.name)]
    areas = {
        "Components": list(_components(facts)),
        "Shards": [_shard(shard, starting=starting) for shard in facts.shards],
        "Discord": list(_limits(facts)),
        "Services": [StateItem(one.check.name, one.check.status, _service_text(one)) for one in _busiest(own)],
        "Loops": list(_loops(facts)),
        "Dependencies": [_background_service(one, facts.alerts) for one in _busiest(called)],
    }
    listed = (StateArea(name, tuple(_worst_first(items))) for name, items in areas.items() if items)
    return BotState(at_us, facts.verdict, tuple(listed))


def _worst_first(items: Iterable[StateItem]) -> list[StateItem]:
    return sorted(items, key=lambda item: WORST_FIRST.index(item.status))


def _busiest(services: Iterable[ServiceHealth]) -> list[ServiceHealth]:
    return sorted(services, key=lambda one: (-one.operations, one.check.name))


def _shard(shard: ShardState, *, starting: bool) -> StateItem:
    if shard.problem:
        status = Status.UNKNOWN if starting else Status.DEGRADED
        return StateItem(f"shard {shard.number}", status, shard.problem)
    latency = "no heartbeat yet" if shard.latency_us is None else f"latency {formatting.duration(shard.latency_us)}"
    return StateItem(f"shard {shard.number}", Status.HEALTHY, latency)


def _components(facts: StateFacts) -> Iterable[StateItem]:
    """Yield the components; the event loop once, with its lag and what blocked it."""
    for check in facts.components:
        if check.name == "loop":
            measured = check.status not in BAD and (_LAG in facts.gauges or facts.stalls)
            text = _loop_text(facts) if measured else check.reason
            yield _by_rule(check.label, STALL.name, text, facts.alerts, check.status)
        else:
            yield StateItem(check.label, check.status, check.reason)


def _limits(facts: StateFacts) -> Iterable[StateItem]:
    """Yield the acknowledgement budget, the rate limits and the invalid requests."""
    responses = next((one for one in facts.services if one.check.name == ACKNOWLEDGEMENT), None)
    if responses is not None:
        item = _background_service(responses, facts.alerts)
        text = _budget_text(responses) if item.status not in BAD else item.text
        yield StateItem("first responses", item.status, text)
    gauges = facts.gauges
    limited = [value for name, value in gauges.items() if name.startswith(_LIMITED)]
    if limited:
        waited = formatting.duration(gauges.get(_WAITED, 0.0) * 1e6)
        text = f"{formatting.counted(round(sum(limited)), 'limit')} hit, {waited} waited in 10 min"
        yield _by_rule("rate limits", RATE_LIMITS.name, text, facts.alerts)
    if _INVALID in gauges:
        text = f"{formatting.percent(gauges[_INVALID])} of Discord's limit in 10 min"
        yield _by_rule("invalid requests", INVALID_REQUESTS.name, text, facts.alerts)


def _budget_text(responses: ServiceHealth) -> str:
    if responses.p95_us is None:
        return responses.check.reason
    used = formatting.percent(min(responses.p95_us / ACKNOWLEDGEMENT_LIMIT_US, 1.0))
    missed = formatting.percent(responses.error_rate or 0.0)
    return f"p95 {formatting.duration(responses.p95_us)}, {used} of the 3 s limit; {missed} missed"


def _loop_text(facts: StateFacts) -> str:
    blocks = sum(figures.operations for figures in facts.stalls.values())
    longest = max((figures.max_us or 0 for figures in facts.stalls.values()), default=0)
    text = f"{formatting.counted(blocks, 'block')} in 1 h"
    text += f", longest {formatting.duration(longest)}" if blocks else ""
    lag_ms = facts.gauges.get(_LAG)
    return text if lag_ms is None else f"p99 lag {formatting.duration(lag_ms * 1000)}; {text}"


def _by_rule(name: str, rule: str, text: str, alerts: Sequence[Alert], known: Status = Status.HEALTHY) -> StateItem:
    """Return a part of the bot that one rule is about."""
    return _with_alerts(name, text, [alert for alert in alerts if alert.rule == rule], known)


def _with_alerts(name: str, text: str, alerts: Sequence[Alert], known: Status = Status.HEALTHY) -> StateItem:
    """Return an item whose status is the worst of ``known`` and of its alerts that were sent."""
    sent = [alert for alert in alerts if alert.state in SENT and status_of(alert.severity) in BAD]
    if not sent:
        return StateItem(name, known, text)
    first = max(sent, key=lambda alert: status_of(alert.severity) is Status.UNHEALTHY)
    return StateItem(name, worst([known, *(status_of(alert.severity) for alert in sent)]), status_reason(first))


def _background_service(service: ServiceHealth, alerts: Sequence[Alert]) -> StateItem:
    """Return a background service: its response time is not judged, because it may be slow by nature."""
    name, rate = service.check.name, service.error_rate
    known = Status.UNKNOWN if not service.operations else Status.HEALTHY
    if rate is not None and rate > MOST_FAILED:
        known = Status.DEGRADED
    return _with_alerts(name, _figures_text(service), [alert for alert in alerts if alert.service == name], known)


def _service_text(service: ServiceHealth) -> str:
    return _figures_text(service) if service.check.status is Status.HEALTHY else service.check.reason


def _figures_text(service: ServiceHealth) -> str:
    if not service.operations:
        return service.check.reason
    parts = [formatting.counted(service.operations, "op"), f"p95 {formatting.duration(service.p95_us)}"]
    if service.error_rate:
        parts.insert(1, f"{formatting.percent(service.error_rate)} failed")
    return ", ".join(parts)


def _loops(facts: StateFacts) -> Iterable[StateItem]:
    failing = {loop.name: loop for loop in facts.failing_loops}
    alerts: dict[str, list[Alert]] = {}
    for alert in facts.alerts:
        if alert.service == TASKS:
            alerts.setdefault(alert.operation, []).append(alert)
    for name in dict.fromkeys([*failing, *alerts, *facts.loops]):
        if not name:
            continue
        figures, loop = facts.loops.get(name), failing.get(name)
        text = "no run in 24 h" if figures is None else _runs_text(figures)
        known = Status.HEALTHY if figures is not None else Status.UNKNOWN
        if loop is not None:
            known, text = Status.DEGRADED, loop.text
        yield _with_alerts(name, text, alerts.get(name, []), known)


def _runs_text(figures: Figures) -> str:
    failed = f", {formatting.percent(figures.error_rate)} failed" if figures.failures else ""
    return f"{formatting.counted(figures.operations, 'run')} in 24 h, p95 {formatting.duration(figures.p95_us)}{failed}"
