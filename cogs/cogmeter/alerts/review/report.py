"""The alert report: what fired, how soon it was acknowledged, and what nobody acknowledged."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.lifecycle.tracker import MANY
from cogmeter.query.records import AlertLine, AlertReport
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter.query.records import Advice, Range
    from cogmeter_storage.alerting import Alert, AlertChange

IGNORED_FROM: Final = 3  # alerts without an acknowledgement from which a subject is listed


def report_of(
    alerts: Iterable[Alert], changes: Iterable[AlertChange], span: Range, advice: Sequence[Advice] = ()
) -> AlertReport:
    """Return the report on the alerts that fired within the range."""
    fired = fired_in(alerts, span)
    within = [change for change in changes if span.since_us <= change.at_us < span.until_us]
    flaps = Counter(change.alert for change in within if change.kind == "flapping")
    muted = {change.alert for change in within if change.kind == "muted"}
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in fired:
        groups.setdefault((alert.rule, alert.service), []).append(alert)
    lines = [_line(*names, members, flaps, muted) for names, members in groups.items()]
    lines.sort(key=lambda line: (-line.fired, line.rule, line.service))
    return AlertReport(
        range=span,
        total=_line("", "", fired, flaps, muted),
        lines=tuple(lines),
        ignored=tuple(line for line in lines if _ignored(line)),
        advice=tuple(sorted(advice, key=lambda change: (-change.removed, change.key))),
    )


def fired_in(alerts: Iterable[Alert], span: Range) -> list[Alert]:
    """Return the alerts that fired within the range, without the alerts of groups."""
    return [
        alert
        for alert in alerts
        if alert.fired_us is not None and span.since_us <= alert.fired_us < span.until_us and alert.rule != MANY
    ]


def _ignored(line: AlertLine) -> bool:
    """Return whether the rule fired often, and every alert resolved without an acknowledgement or a mute."""
    return line.fired >= IGNORED_FROM and not line.acknowledged and not line.muted and line.resolved == line.fired


def _line(rule: str, service: str, alerts: Sequence[Alert], flaps: Counter[str], muted: set[str]) -> AlertLine:
    return AlertLine(
        rule=rule,
        service=service,
        fired=len(alerts),
        acknowledged=sum(alert.acknowledged_us is not None for alert in alerts),
        muted=sum(alert.state is AlertState.MUTED or alert.uid in muted for alert in alerts),
        flaps=sum(flaps[alert.uid] or alert.flapping for alert in alerts),
        resolved=sum(alert.resolved_us is not None for alert in alerts),
        acknowledge_us=_median(_since_fired(alert, alert.acknowledged_us) for alert in alerts),
        resolve_us=_median(_since_fired(alert, alert.resolved_us) for alert in alerts),
    )


def _since_fired(alert: Alert, at_us: int | None) -> int | None:
    return None if at_us is None or alert.fired_us is None else max(at_us - alert.fired_us, 0)


def _median(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
