"""The checks of ``cogmeter doctor``: of a database, or of the health answers of an API."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import Field

from cogmeter.alerts.measurement.window import SLICES
from cogmeter.alerts.model import BOT, by_urgency
from cogmeter.alerts.rules.guide import RESPONSE_TIME
from cogmeter.alerts.rules.process import STALL
from cogmeter.diagnosis import Check, Finding, Status, status_of
from cogmeter.diagnostics.damage import damage_finding
from cogmeter.diagnostics.judgement import (
    LOOP,
    Judgement,
    alert_count,
    judge,
    nothing_ended,
    with_blocks,
    worst_alerts,
    worst_operation_alerts,
)
from cogmeter.monitor.clock_watch import clock_finding, impossible_finding
from cogmeter.monitor.setting_changes import changes_findings
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.service_names import in_background, label
from cogmeter.render import formatting
from cogmeter.render.rule_text import reason_text, worded_alerts
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import sent_alerts
from cogmeter.schemas.base import Schema
from cogmeter.schemas.health import CheckAnswer
from cogmeter.schemas.statistics import dashboard, service_stats
from cogmeter.settings import merged
from cogmeter_bot.cli.alerts import alert_text, overlaps
from cogmeter_bot.sources.freshness import Freshness, max_age_s
from cogmeter_storage.alerting import ACTIVE, SENT
from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.diagnosis import Verdict
    from cogmeter.diagnostics.judgement import StoredHealth
    from cogmeter.query.query import Query
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.base import Stats
    from cogmeter.schemas.operations import OperationAnswer
    from cogmeter.schemas.slow import SlowRunAnswer
    from cogmeter.schemas.statistics import Dashboard, OverallStats, ServiceAnswer
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import StoreStatus

LATE_US: Final = 5 * MINUTE_US  # a delivery that waits longer is stuck
MIN_FREE_BYTES: Final = 200_000_000
LISTED: Final = 5  # alerts that are named
PASSING: Final = ("healthy", "unknown")  # of /health; a bot that starts is unknown
_SERVICE: Final = "service "  # prefix of the findings about a service
_VITAL: Final = frozenset({"freshness", "gateway"})


class FindingAnswer(Schema):
    """The result of one check."""

    name: str
    well: bool
    known: bool = Field(default=True, description="False: it did not fail, but there was nothing to judge")
    text: str
    advice: str

    @classmethod
    def of(cls, finding: Finding) -> FindingAnswer:
        """Convert a finding; only a failed check has advice."""
        advice = "" if finding.well else finding.advice
        text = safe.text(finding.text)
        return cls(name=finding.name, well=finding.well, known=finding.known, text=text, advice=advice)


class Diagnosis(Schema):
    """The results of all checks, failed ones first, and the verdict on the bot."""

    source: str
    healthy: bool = Field(description="No check fails")
    status: Status = Field(description="The verdict, as on every surface: the worst of alerts, services, components")
    verdict: str = Field(description="What the verdict follows from")
    findings: list[FindingAnswer]
    past: list[str] = Field(description="Services that exceeded a threshold in the range, and do not any more")

    @classmethod
    def of(
        cls,
        source: str,
        findings: Iterable[Finding],
        services: Collection[str] | None,
        verdict: Verdict,
        past: Sequence[str] = (),
    ) -> Diagnosis:
        """Convert findings, without those about other services than ``services``."""
        names = None if services is None else {f"{_SERVICE}{service}" for service in services}
        selected = [
            finding
            for finding in sorted(findings, key=lambda finding: finding.well)
            if names is None or finding.name in names or not finding.name.startswith(_SERVICE)
        ]
        healthy = all(finding.well for finding in selected)
        return cls(
            source=source,
            healthy=healthy,
            status=verdict.status,
            verdict=verdict.text,
            findings=[FindingAnswer.of(finding) for finding in selected],
            past=[safe.text(line) for line in past],
        )

    @property
    def failed(self) -> list[FindingAnswer]:
        """The failed checks."""
        return [finding for finding in self.findings if not finding.well]

    @property
    def result(self) -> str:
        """The result in words: ``healthy; 7 of 8 external checks pass, 1 is not known``."""
        count, failed = len(self.findings), len(self.failed)
        unknown = sum(not finding.known for finding in self.findings)
        shown = failed or count - unknown
        verb = formatting.verb(shown, "fail" if failed else "pass")
        rest = f", {unknown} {'is' if unknown == 1 else 'are'} not known" if unknown else ""
        return f"{self.status}; {shown} of {count} external checks {verb}{rest}"


async def database_findings(
    store: Store, name: str, path: Path | None, limits: Limits, *, now_us: int
) -> list[Finding]:
    """Return the findings about a database and the bot that writes it; ``path`` is its file, if it is one."""
    await store.verify()
    status = await store.status()
    settings = limits.settings
    stored = merged(settings, await store.alerting.overrides())
    freshness = await Freshness.read(store, max_age_s(settings.sample_interval), now_us=now_us)
    return [
        _size(status, name),
        damage_finding(status.damage),
        _clock(status),
        _retention(status, settings),
        *freshness.findings(),
        *(_disk(status, path) if path is not None else ()),
        *changes_findings(stored.changed, stored.left_out, group=settings.command_group),
        await _deliveries(store, now_us),
    ]


def stored_components(health: StoredHealth, alerts: Iterable[AlertAnswer]) -> list[Check]:
    """Return the checks that a bot stored, with the active alerts about blocks of its event loop."""
    blocks = [alert.severity for alert in alerts if alert.type == STALL.name and alert.state in SENT]
    return [with_blocks(check, blocks) if check.name == LOOP else check for check in health.components]


def components_of(findings: Iterable[Finding], stored: Sequence[Check]) -> list[Check]:
    """Return the components of the verdict: those that the bot stored, and what only a look from outside finds.

    A bot that does not write or connect is down.
    """
    outside = [
        Check(
            finding.name,
            Status.HEALTHY if finding.well else Status.UNHEALTHY if finding.name in _VITAL else Status.DEGRADED,
            finding.text,
        )
        for finding in findings
    ]
    return [*stored, *(check for check in outside if check.status is not Status.HEALTHY)] if stored else outside


async def services_now(query: Query, window: Range, limits: Limits) -> tuple[list[Check], list[AlertAnswer]]:
    """Judge each service by its worst active alert, else by its operations in the alert window; return these, too.

    Raises:
        StorageError: the store cannot be read.
    """
    present = worded_alerts(await dashboard(query, window, alerts=await query.store.alerting.alerts(ACTIVE)))
    judged = {name: judge_stats(stats, limits, name) for name, stats in present.service_stats.items()}
    checks = {name: Check(name, judgement.status, judgement.reason) for name, judgement in judged.items()}
    return list((checks | alert_checks(present.alerts)).values()), present.alerts


def alert_checks(alerts: Iterable[AlertAnswer]) -> dict[str, Check]:
    """Return the check of each service that has an active alert, with the words of the finding about alerts."""
    worst = worst_alerts(alerts).items()
    return {name: Check(name, status_of(alert.severity), _reason(alert)) for name, alert in worst if name != BOT}


def alert_window(limits: Limits, at_us: int) -> Range:
    """Return the alert window that ends then, with the step by which the bot's window is longer at most."""
    length_us = int(limits.settings.alert_window * 1e6)
    return Range(at_us - length_us - length_us // SLICES, at_us, "alert window")


async def with_health_now(answer: ServiceAnswer, query: Query, limits: Limits) -> ServiceAnswer:
    """Return the statistics of a service or operation with its health now.

    Raises:
        StorageError: the store cannot be read.
    """
    window = alert_window(limits, now_us())
    present = await service_stats(query, answer.service_name, answer.operation, window)
    check = _present_check(present, limits, sent_alerts(await query.store.alerting.alerts(ACTIVE)))
    return answer.model_copy(update={"health_now": CheckAnswer.of(check)})


def _present_check(window: ServiceAnswer, limits: Limits, alerts: Iterable[AlertAnswer]) -> Check:
    """Judge a service or operation by its worst active alert, else by ``window``, its statistics in that time."""
    service, operation = window.service_name, window.operation or ""
    name = label(service, operation)
    by_operation = worst_operation_alerts(alerts) if operation else {}
    alert = by_operation.get((service, operation)) if operation else worst_alerts(alerts).get(service)
    if alert is not None:
        return Check(name, status_of(alert.severity), _reason(alert))
    if not window.total_operations:
        reason = nothing_ended(limits.settings.alert_window, operation=bool(operation))
        return Check(name, Status.UNKNOWN, reason)
    judged = judge_stats(window, limits, service, operation)
    return Check(name, judged.status, judged.reason)


def _reason(alert: AlertAnswer) -> str:
    """Return the words of ``render.rule_text.status_reason``."""
    return reason_text(alert_text(alert), breached=alert.breached, not_judged=alert.not_judged or "")


def alerts_finding(alerts: Sequence[AlertAnswer]) -> Finding:
    """Return the finding about active alerts; it fails unless all of them are information."""
    text = alert_count([alert.severity for alert in alerts])
    if alerts:
        ordered = by_urgency(alerts)
        listed = [f"{alert.service}: {formatting.cut(alert_text(alert), 100)}" for alert in ordered[:LISTED]]
        left_out = len(ordered) - len(listed)
        text += f": {'; '.join(listed)}" + (f"; and {left_out} more" if left_out else "")
    well = all(status_of(alert.severity) is Status.HEALTHY for alert in alerts)
    return Finding("alerts", well, text, "See `cogmeter alerts`")


def service_findings(names: Iterable[str], services: Iterable[Check], window_s: float) -> Iterator[Finding]:
    """Yield a finding about each recorded service, whatever its state; those in the background are left out.

    ``services`` are those that are judged, ``window_s`` is the length of the alert window.
    """
    judged = {check.name: check for check in services}
    for name in sorted({*judged, *(name for name in names if name != OTHER and not in_background(name))}):
        check = judged.get(name) or Check(name, Status.UNKNOWN, nothing_ended(window_s, operation=False))
        yield _finding(_SERVICE, check.name, check.status, check.reason)


def stored_findings(stored: Iterable[Check], *, current: bool) -> Iterator[Finding]:
    """Yield the findings about the components that the bot stored; those of a bot that stopped are not known."""
    for check in stored:
        known = Check(check.name, Status.UNKNOWN, "not known: the bot does not run") if not current else check
        yield _finding("bot: ", known.name, known.status, known.reason)


def background_finding(checks: Mapping[str, CheckAnswer], services: Collection[str] | None) -> Finding:
    """Return the finding about all background services: one check, however many of them fail."""
    known = {name: check for name, check in checks.items() if services is None or name in services}
    failing = [f"{name}: {check.reason}" for name, check in known.items() if check.status not in PASSING]
    text = "; ".join(failing) or "none fails"
    return Finding("background services", not failing, text, "See `cogmeter stats` with the name of the service")


def past_lines(
    view: Dashboard, limits: Limits, span: Range, failing: Collection[str], history: Sequence[AlertAnswer]
) -> list[str]:
    """Return the services that exceeded a threshold in a range and are not ``failing`` now.

    ``view`` has their figures of the whole range. An alert of ``history`` that has resolved says what these do not.
    """
    judged = {name: judge_stats(stats, limits, name) for name, stats in view.service_stats.items()}
    lines = {
        name: f"{name}: {judgement.reason} ({span.label})"
        for name, judgement in judged.items()
        if name not in failing and judgement.status in {Status.DEGRADED, Status.UNHEALTHY}
    }
    since_s, until_s = span.since_us / 1e6, span.until_us / 1e6
    ended = [alert for alert in history if alert.resolved_at is not None and overlaps(alert, since_s, until_s)]
    untold = {BOT, *judged} - {*lines, *failing}
    told = [f"{alert.service}: {alert_text(alert, 120)}" for alert in ended if alert.service in untold]
    more = [f"{len(told) - LISTED} more: see `cogmeter alerts --history`"] if len(told) > LISTED else []
    return [*lines.values(), *told[:LISTED], *more]


@dataclass(frozen=True, slots=True)
class _AnswerFigures:
    """The statistics of a JSON answer as ``judgement.Measured``."""

    stats: Stats | OverallStats

    @property
    def operations(self) -> int:
        return self.stats.total_operations

    @property
    def failures(self) -> int:
        return self.stats.failed_operations

    def response_us(self, statistic: str) -> float | None:
        value_ms: float | None = getattr(self.stats, f"{statistic}_response_time", None)
        return None if value_ms is None else value_ms * 1000


def judge_stats(stats: Stats | OverallStats, limits: Limits, service: str = "", operation: str = "") -> Judgement:
    """Compare the statistics of a service or operation with the thresholds in effect; see ``judge``."""
    return judge(_AnswerFigures(stats), limits, service, operation)


def is_slow(operation: OperationAnswer | SlowRunAnswer, limits: Limits) -> bool:
    """Return whether one operation took longer than its response-time threshold in effect."""
    threshold_ms = limits.of(RESPONSE_TIME.subject(operation.service, operation.operation)).threshold
    return bool(threshold_ms) and operation.duration > threshold_ms


def health_findings(checks: Mapping[str, CheckAnswer], prefix: str = "") -> Iterator[Finding]:
    """Yield the findings of a health answer."""
    for name, check in checks.items():
        yield _finding(prefix, name, check.status, check.reason)


def _finding(prefix: str, name: str, status: Status, reason: str) -> Finding:
    text = reason if status is Status.UNKNOWN else f"{status}: {reason}"
    advice = f"See `cogmeter stats {name}`" if prefix == _SERVICE else "See `/perf doctor` in Discord"
    advice = "" if "/perf doctor" in text else advice
    return Finding(f"{prefix}{name}", status in PASSING, text, advice, known=status is not Status.UNKNOWN)


def _size(status: StoreStatus, name: str) -> Finding:
    size = f"{formatting.size(status.size_bytes)}, {formatting.exact(status.operations)} operations"
    text = f"{name}: {size}, {status.series} series, schema {status.schema_version}"
    return Finding("database", status.series > 0, text, "Nothing has been recorded yet: start the bot")


def _clock(status: StoreStatus) -> Finding:
    """Return the finding about the clock: that it is wrong now, or what it did to the stored data."""
    return impossible_finding() or clock_finding(status.clock)


def _retention(status: StoreStatus, settings: Settings) -> Finding:
    """Check that old data is removed. Ages count from the newest operation, because a stopped bot removes nothing."""
    first_us, last_us = status.first_end_us, status.last_end_us
    stored_us = 0 if first_us is None or last_us is None else last_us - first_us
    max_us = int(settings.retention_hours * HOUR_US) + HOUR_US + 2 * int(settings.cleanup_interval_minutes * MINUTE_US)
    text = (
        f"operations of {formatting.duration(stored_us)} are stored,"
        f" PERFORMANCE_RETENTION_HOURS={settings.retention_hours:g}"
    )
    advice = "Old data is not removed: see the bot's log, or `/perf doctor` in Discord"
    return Finding("clean-up", stored_us <= max_us, text, advice)


def _disk(status: StoreStatus, path: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return
    enough = free >= max(MIN_FREE_BYTES, status.size_bytes // 10)
    advice = "Free some space, or lower PERFORMANCE_RETENTION_HOURS and run `cogmeter vacuum`"
    yield Finding("disk", enough, f"{formatting.size(free)} free on the database's disk", advice)


async def _deliveries(store: Store, now_us: int) -> Finding:
    waiting = await store.alerting.due(now_us)
    late = [delivery for delivery in waiting if delivery.due_us < now_us - LATE_US]
    targets = ", ".join(sorted({delivery.target for delivery in late}))
    text = f"{len(waiting)} waiting" if waiting else "none waiting"
    text += f", {len(late)} for over 5 minutes: {targets}" if late else ""
    return Finding("deliveries", not late, text, "See the bot's log, or `/perf doctor` in Discord")
