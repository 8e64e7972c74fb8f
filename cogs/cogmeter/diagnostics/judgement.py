"""Judges a set of operations by the thresholds in effect. Every surface that shows "healthy" uses this function."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from cogmeter.alerts.model import BOT, CRITICAL, INFO, NO_HISTORY
from cogmeter.alerts.rules.guide import ERROR_RATE, RESPONSE_TIME
from cogmeter.alerts.rules.rule import beyond, severity
from cogmeter.diagnosis import BAD, Check, Status, Verdict, status_of, worst
from cogmeter.render import formatting
from cogmeter.settings import Settings
from cogmeter_storage.alerting import SENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cogmeter.alerts.model import Subject
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter_storage.base import Store

_ORDER: Final = (Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY)
LOOP: Final = "loop"  # the check of the event loop
STORED_HEALTH: Final = "health.components"  # the key of the stored checks
_JUDGING: Final = {
    *("alert_window", "alert_min_operations", "alert_response_time_statistic", "alert_slo_target", "sample_interval"),
    "alert_calibrate",
    *(name for name in Settings.model_fields if name.startswith("alert_threshold_")),
}
SLOW_S: Final = 0.2  # p99 of the event-loop lag that users notice
LATE_S: Final = 1.0  # p99 that leaves too little of the three seconds to answer an interaction
NAMED: Final = 3  # services in the text of a verdict
MOST_FAILED: Final = 0.5  # share of failures from which even too few operations for an alert are degraded


class Measured(Protocol):
    """The figures of a set of operations, as in ``query.records.Figures``. Durations are in microseconds."""

    @property
    def operations(self) -> int:
        """The number of operations."""
        ...

    @property
    def failures(self) -> int:
        """The number of operations that the error rate counts."""
        ...

    def response_us(self, statistic: str) -> float | None:
        """Return ``average``, ``p50``, ``p95`` or ``p99`` of the durations; None if it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of comparing a set of operations with the thresholds in effect."""

    status: Status  # UNKNOWN without operations, and if too few failed or were slow
    failing: bool = False  # the error rate exceeds its threshold, or most of a few operations failed
    slow: bool = False  # the response time exceeds its threshold
    reason: str = "no operations"
    few: bool = False  # there are fewer operations than an alert needs

    @property
    def exceeded(self) -> str:
        """Which threshold was exceeded; empty if none."""
        return self.reason if self.status in BAD and not self.few else ""


class JudgedAlert(Protocol):
    """An alert as far as the verdict depends on it."""

    @property
    def service(self) -> str:
        """The service, or ``(bot)``."""
        ...

    @property
    def operation(self) -> str | None:
        """The operation; empty or None: the service as a whole."""
        ...

    @property
    def severity(self) -> str:
        """Info, warning or critical."""
        ...

    @property
    def state(self) -> str:
        """One of ``AlertState``."""
        ...


A = TypeVar("A", bound=JudgedAlert)
K = TypeVar("K")


def verdict(alerts: Iterable[JudgedAlert], services: Collection[Check], components: Collection[Check]) -> Verdict:
    """Return the worst of the firing and acknowledged alerts, the services and the components.

    A service without operations is not judged. An alert that is information only changes nothing.
    """
    severities = [alert.severity for alert in alerts if alert.state in SENT]
    bad = sorted((check for check in services if check.status in BAD), key=lambda check: check.label)
    statuses = [check.status for check in (*bad, *components)]
    texts = [alert_count(severities)]
    for status in (Status.UNHEALTHY, Status.DEGRADED):
        names = [formatting.clean(check.label) for check in bad if check.status is status]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            texts.append(f"{formatting.counted(len(names), 'service')} {status} ({', '.join(names[:NAMED])}{more})")
    passing = sum(check.status is Status.HEALTHY for check in components)
    failing = ", ".join(check.label for check in components if check.status in BAD)
    total = formatting.counted(len(components), "component check")
    texts.append(f"{passing} of {total} {formatting.verb(passing, 'pass')}" + (f" (not: {failing})" if failing else ""))
    return Verdict(worst([Status.HEALTHY, *map(status_of, severities), *statuses]), "; ".join(texts))


def worst_alerts(active: Iterable[A]) -> dict[str, A]:
    """Return each service's worst alert that has fired, is not muted and is not only information."""
    return _worst_by((alert.service, alert) for alert in active)


def worst_operation_alerts(active: Iterable[A]) -> dict[tuple[str, str], A]:
    """Return the worst such alert by service and operation; of a whole service, the operation is empty."""
    return _worst_by(((alert.service, alert.operation or ""), alert) for alert in active)


def _worst_by(named: Iterable[tuple[K, A]]) -> dict[K, A]:
    found: dict[K, A] = {}
    for key, alert in named:
        known = found.get(key)
        if alert.state in SENT and alert.severity != INFO and (known is None or known.severity != CRITICAL):
            found[key] = alert
    return found


def alert_count(severities: Collection[str]) -> str:
    """Return "no active alerts", "1 active alert (warning)", "3 active alerts (2 critical)"."""
    if not severities:
        return "no active alerts"
    worst_one = max(severities, key=lambda severity: _ORDER.index(status_of(severity)))
    count = sum(severity == worst_one for severity in severities)
    of = f"{count} {worst_one}" if count < len(severities) else worst_one
    return f"{formatting.counted(len(severities), 'active alert')} ({of})"


def problem_order(now: Status, in_range: Status, figures: Measured) -> tuple[int, int, int, float]:
    """Return the key that orders commands and services by their problems, the worst one largest, on every surface.

    What is wrong now comes first, then what exceeded a threshold in the range, then most failures, then the slowest.
    """
    ranks = {Status.DEGRADED: 1, Status.UNHEALTHY: 2}
    return ranks.get(now, 0), ranks.get(in_range, 0), figures.failures, figures.response_us("p95") or 0.0


def nothing_ended(window_s: float, *, operation: bool) -> str:
    """Return why the status of a service, or of an ``operation``, is unknown: none of it ended in the alert window."""
    if operation:
        return f"no runs in the last {formatting.last(window_s)}"
    return f"no operations within {formatting.duration(window_s * 1e6)}"


def exceeded(figures: Measured, limits: Limits, service: str, operation: str = "") -> str:
    """Return which threshold these operations of a range exceeded; empty if none."""
    return judge(figures, limits, service, operation).exceeded


def judge(figures: Measured, limits: Limits, service: str = "", operation: str = "") -> Judgement:
    """Compare operations with the error-rate and response-time thresholds of a service or operation.

    Without ``service``, the thresholds of the rules as a whole apply, and the response time that was learned of all
    services together. A threshold of 0 is switched off. With fewer operations than ``min_operations`` no threshold
    applies: the status is DEGRADED if most of them failed, UNKNOWN if some did or the response time exceeds its
    threshold, and else HEALTHY. No response time is slow before a threshold was learned.
    From 1.6 times the threshold on (or by the limit's own severity) the status is UNHEALTHY, as the alert is critical.
    """
    if not figures.operations:
        return Judgement(Status.UNKNOWN)
    errors, failing = _error_rate(figures, limits, ERROR_RATE.subject(service, operation))
    times, slow = _response_time(figures, limits, RESPONSE_TIME.subject(service or BOT, operation))
    counts = f"{formatting.part(figures.failures, figures.operations, 'operation')} failed"
    needed = limits.of(ERROR_RATE.subject(service, operation)).min_operations
    few = figures.operations < needed
    if few and (errors is not Status.HEALTHY or times is Status.UNKNOWN):
        counts += f", too few {'for an alert' if errors in BAD else 'to judge'} ({needed} needed)"
    if slow and not figures.failures and not few:
        counts = f"{formatting.exact(figures.operations)} operations"  # that none failed is not the news
    parts = (slow, counts) if slow and not failing else (counts + failing, slow)  # what is wrong comes first
    reason = "; ".join(text for text in parts if text)
    bad = [status for status in (errors, times) if status in BAD]
    return Judgement(worst(bad or (errors, times)), errors in BAD, times in BAD, reason, few)


def _error_rate(figures: Measured, limits: Limits, subject: Subject) -> tuple[Status, str]:
    limit, rate = limits.of(subject), figures.failures / figures.operations
    if figures.operations < limit.min_operations:
        if not limit.threshold or not figures.failures:
            return Status.HEALTHY, ""
        return (Status.DEGRADED if rate > MOST_FAILED else Status.UNKNOWN), ""
    if not limit.threshold or rate <= limit.threshold:
        return Status.HEALTHY, ""
    return _status(severity(limit, rate)), f", more than {formatting.percent(limit.threshold)}"


def _response_time(figures: Measured, limits: Limits, subject: Subject) -> tuple[Status, str]:
    limit, statistic = limits.of(subject), limits.statistic_of(subject)
    value_us = figures.response_us(statistic)
    judged = limit.threshold and limit.basis != NO_HISTORY
    threshold_us = limit.threshold * 1000
    if not judged or value_us is None or value_us <= threshold_us:
        return Status.HEALTHY, ""
    value, threshold = formatting.duration(value_us), formatting.duration(threshold_us)
    few = figures.operations < limit.min_operations
    status = Status.UNKNOWN if few else _status(severity(limit, value_us / 1000))
    return status, f"{statistic} response time of {beyond(value, threshold)}, more than {threshold}"


def _status(severity_name: str) -> Status:
    return Status.UNHEALTHY if severity_name == CRITICAL else Status.DEGRADED


def lag_status(lag_ms: float) -> Status:
    """Return the status of an event loop with this p99 of its lag."""
    late = Status.DEGRADED if lag_ms >= SLOW_S * 1000 else Status.HEALTHY
    return Status.UNHEALTHY if lag_ms >= LATE_S * 1000 else late


def with_blocks(check: Check, severities: Iterable[str]) -> Check:
    """Return the check of the event loop with the active alerts about blocks of it, by their severities.

    Of an alert alone the bot still serves.
    """
    bad = [status for status in map(status_of, severities) if status in BAD]
    if not bad:
        return check
    status = worst((check.status, *bad))
    alone = None if status is check.status else check.status
    return replace(
        check, status=status, reason=f"{check.reason}; an alert about blocks is active", without_alerts=alone
    )


class StoredHealth(NamedTuple):
    """What a bot stored about itself last."""

    at_us: int  # 0: nothing was stored
    components: list[Check]
    settings: Mapping[str, Any]  # those that the verdict depends on, by field; without chat's changes of later
    configured: frozenset[str] = frozenset()  # of these, those that a person has set: they are not calibrated


async def store_health(store: Store, checks: Iterable[Check], settings: Settings, *, now_us: int) -> None:
    """Store the checks of the components and the settings of the verdict.

    So ``cogmeter doctor`` judges the database as the bot does, also where the bot has another environment.

    Raises:
        StorageError: they cannot be stored now.
    """
    rows = [(check.name, check.status, check.reason) for check in checks]
    values, configured = settings.model_dump(include=_JUDGING), sorted(settings.model_fields_set & _JUDGING)
    document = {"at_us": now_us, "checks": rows, "settings": values, "configured": configured}
    await store.set_value(STORED_HEALTH, json.dumps(document).encode())


async def stored_health(store: Store) -> StoredHealth:
    """Return what a bot stored last; nothing if it stored none, or if it cannot be parsed."""
    stored = await store.get_value(STORED_HEALTH)
    try:
        known = json.loads(stored or b"{}")
        checks = [Check(str(name), Status(status), str(reason)) for name, status, reason in known.get("checks", ())]
        values = {name: value for name, value in known.get("settings", {}).items() if name in _JUDGING}
        configured = frozenset(map(str, known.get("configured", ()))) & values.keys()
        return StoredHealth(int(known.get("at_us", 0)), checks, values, configured)
    except (ValueError, TypeError, AttributeError):
        return StoredHealth(0, [], {})  # of another version, or damaged


def settings_of_bot(settings: Settings, health: StoredHealth) -> Settings:
    """Return the settings with those of the bot, where this process's environment does not set them."""
    values = {name: value for name, value in health.settings.items() if name not in settings.model_fields_set}
    merged = settings.model_copy(update=values)
    merged.model_fields_set.difference_update(values.keys() - health.configured)  # a default stays one
    return merged
