"""An alert and its details as an embed's JSON, without discord.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.model import FLAP_CALM_S, FLAP_FROM, FLAP_WINDOW_S, by_urgency, is_calm, not_judged, split_counts
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.errors import UNHANDLED_ERRORS
from cogmeter.alerts.rules.process import STALL
from cogmeter.recording.frames import CALLED_FROM
from cogmeter.recording.service_names import BOT
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.limits import VALUE, fitted
from cogmeter.render.error_text import place_text
from cogmeter.render.escape import code, dashboard_line, plain, when
from cogmeter.render.palette import Look, look_of
from cogmeter.render.rule_text import (
    alert_text,
    change_value_text,
    is_block,
    measured,
    not_judged_text,
    rule_title,
    value_text,
)
from cogmeter.times import utc
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import IncidentContext
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt
    from cogmeter_storage.model import Marker, OperationRecord

MARKERS: Final = 5  # named in "Recent changes"
_FLAPPING: Final = (
    f"Flapping: {FLAP_FROM} or more alerts within {formatting.duration(FLAP_WINDOW_S * 1e6)}."
    f" It stays open until {formatting.duration(FLAP_CALM_S * 1e6)} or more pass without a breach."
)
_LINK = re.compile(r"https://[^\s()<>]+")


def alert_embed_data(
    alert: Alert,
    context: IncidentContext | None,
    members: Sequence[Alert] = (),
    *,
    chart: bool,
    now_us: int,
    chart_problem: str = "",
    test: bool = False,
    introduction: str = "",
    link: str | None = None,
) -> dict[str, Any]:
    """Return the embed of an alert's present state, within all of Discord's limits.

    ``members`` are the alerts of a group whose root is ``alert``. ``chart`` means that the message has ``CHART_NAME``
    attached; ``chart_problem`` is the reason why it does not. ``test`` marks a test alert.
    ``introduction`` explains the rule. ``link`` leads to the dashboard.
    """
    since = [] if test else [_since(alert)]
    data: dict[str, Any] = {
        "title": f"Test: {look_of(alert.severity, alert.state).icon} {subject(alert)}" if test else headline(alert),
        "description": "\n".join([f"**{plain(alert_text(alert), 500)}**", *_states(alert)]),
        "color": look_of(alert.severity, alert.state).colour,
        "fields": [*_values(alert), *since, *_context_fields(alert, context, members)],
        "footer": {"text": _footer(alert, context)},
        "timestamp": utc(now_us).isoformat(),
    }
    if link:
        data["url"] = link
        data["description"] += f"\n{dashboard_line(link)}"
    if introduction:
        data["fields"].append(_field("About this rule", introduction))
    if chart:
        data["image"] = {"url": f"attachment://{CHART_NAME}"}
    elif chart_problem:
        data["description"] += f"\n{NO_CHART} {plain(chart_problem, 300)}"
    return fitted(data)


def details_embed_data(
    alert: Alert,
    context: IncidentContext | None,
    members: Sequence[Alert] = (),
    changes: Sequence[AlertChange] = (),
    attempts: Sequence[Attempt] = (),
    *,
    now_us: int,
    link: str | None = None,
) -> dict[str, Any]:
    """Return the embed of an alert with its transitions and deliveries, each newest first."""
    data = alert_embed_data(alert, context, members, chart=False, now_us=now_us, link=link)
    data["title"] = f"Details: {data['title']}"
    if changes:
        data["fields"].append(_field("History", several([_transition(alert, change) for change in changes])))
    if attempts:
        data["fields"].append(_field("Deliveries", several([_delivery(attempt) for attempt in attempts])))
    return fitted(data)


def _transition(alert: Alert, change: AlertChange) -> str:
    by = f" by {plain(change.actor, 60)}" if change.actor else ""
    note = f": {plain(change.note, 120)}" if change.note else ""
    value = change_value_text(alert.rule, change)
    return f"{when(change.at_us)} {plain(change.kind, 30)}{by}, {value}{note}"


def _delivery(attempt: Attempt) -> str:
    error = f": {plain(attempt.error, 120)}" if attempt.error else ""
    took = formatting.duration(attempt.took_us)
    return f"{when(attempt.at_us)} {plain(attempt.target, 40)}: {plain(attempt.outcome, 30)} in {took}{error}"


def headline(alert: Alert) -> str:
    """Return icon, state and subject in one line: ``🛑 Critical: Error rate of knowledge-graph / query``."""
    look = look_of(alert.severity, alert.state)
    severity = f" ({plain(alert.severity, 30)})" if look in {Look.ACKNOWLEDGED, Look.MUTED, Look.RESOLVED} else ""
    return f"{look.icon} {look.word.capitalize()}{severity}: {subject(alert)}"


def subject(alert: Alert) -> str:
    """Return the alert's rule, service and operation: ``Error rate of knowledge-graph / query``."""
    title, about = plain(rule_title(alert.rule), 60), place(alert)
    return f"{title} of {about}" if about else title


def place(alert: Alert) -> str:
    """Return the alert's service and operation: ``knowledge-graph / query``; empty for the bot as a whole."""
    if alert.service == BOT:
        return ""
    operation = f" / {plain(alert.operation, 80)}" if alert.operation else ""
    return f"{plain(alert.service, 80)}{operation}"


def tag(alert: Alert) -> str:
    """Return the end of the alert's uid, by which its messages are found again."""
    return alert.uid[-8:]


def length_us(alert: Alert, now_us: int) -> int:
    """Return how long the alert has lasted until now, or until it was resolved."""
    until_us = now_us if alert.resolved_us is None else alert.resolved_us
    return max(until_us - alert.started_us, 0)


def _states(alert: Alert) -> list[str]:
    """Return a line for each fact about the alert's state."""
    lines = []
    if alert.acknowledged_us is not None:
        lines.append(f"Acknowledged by {plain(alert.acknowledged_by, 60) or 'somebody'} {when(alert.acknowledged_us)}")
    if alert.state is AlertState.MUTED and alert.muted_until_us is not None:
        lines.append(f"Muted until <t:{alert.muted_until_us // 1_000_000}:f>")
    if alert.escalated and alert.state is AlertState.FIRING:
        lines.append("Escalated: nobody has acknowledged it")
    if alert.flapping:
        lines.append(_FLAPPING)
    return lines


def _values(alert: Alert) -> list[dict[str, Any]]:
    """Return the field of the current and worst value; none for a rule without a threshold."""
    if not alert.threshold:
        return []
    limit, worst = measured(alert.rule, alert.threshold), value_text(alert.rule, alert.worst, alert.threshold)
    current = value_text(alert.rule, alert.current, alert.threshold)
    if alert.state is AlertState.RESOLVED:
        return [_field("Peak", f"**{worst}**\nthreshold was {limit}", inline=True)]
    if is_calm(alert.message):
        name, was = ("None above threshold", "last one") if is_block(alert.rule) else ("Back within threshold", "was")
        why = not_judged(alert.message)
        name = formatting.sentence(not_judged_text(why)) if why else name
        return [_field(name, f"{was} **{current}**\nthreshold {limit}\npeak {worst}", inline=True)]
    _, counts = split_counts(alert.message)
    of = "" if counts is None else f" ({formatting.exact(counts[0])} of {formatting.exact(counts[1])} failed)"
    now = f"**{current}**{of}\nthreshold {limit}\npeak {worst}"
    return [_field("Now", now, inline=True)]


def _since(alert: Alert) -> dict[str, Any]:
    began = alert.started_us // 1_000_000
    fired = "" if alert.fired_us is None else f"\nfired <t:{alert.fired_us // 1_000_000}:t>"
    if alert.resolved_us is None:
        return _field("Began", f"<t:{began}:f>\n{when(alert.started_us)}{fired}", inline=True)
    ended = alert.resolved_us // 1_000_000
    return _field("Began", f"<t:{began}:f>{fired}\nresolved <t:{ended}:t>", inline=True)


def _context_fields(alert: Alert, context: IncidentContext | None, members: Sequence[Alert]) -> list[dict[str, Any]]:
    fields = []
    if context is not None and context.operations:
        fields.append(_field("Affected", _affected(alert, context), inline=True))
    if members:
        fields.append(_field("Alerts", _listed(members)))
    elif context is not None:
        fields += _error_fields(context)
    if context is not None and context.markers:
        fields.append(_field("Recent changes", "\n".join(map(_marker, context.markers[:MARKERS]))))
    return fields


def _affected(alert: Alert, context: IncidentContext) -> str:
    failed, operations = formatting.exact(context.failures), _operations(alert, context)
    since = f"since <t:{context.since_us // 1_000_000}:t>"  # not only in the window of the newest measurement
    if alert.rule == STALL.name:
        lines = [f"everything waited during {operations} of the event loop {since}"]
    elif alert.rule == UNHANDLED_ERRORS.name:
        lines = [f"{operations} {since}"]
    elif context.failures:
        lines = [f"{failed} of {operations} failed in total, {since}"]
    else:
        lines = [f"{operations} {since}, none failed"]
    people = [(context.users, "user"), (context.guilds, "server")]
    lines.append(" · ".join(formatting.counted(number, word) for number, word in people if number is not None))
    return "\n".join(line for line in lines if line)


def _operations(alert: Alert, context: IncidentContext) -> str:
    """Return "1,280 operations", "19 blocks": what the rule of the alert counts."""
    rule = RULES.get(alert.rule)
    named = rule is not None and rule.measured_service(alert.service) != alert.service
    return formatting.counted(context.operations, rule.counted if rule is not None and named else "operation")


def _error_fields(context: IncidentContext) -> list[dict[str, Any]]:
    fields = []
    if context.most_common_error:
        times = f" ({formatting.counted(context.most_common_count, 'time')})" if context.most_common_count else ""
        group = context.error_group
        place = "" if group is None else f"\n{code(place_text(group.place), 150)} · Error {group.id}"
        fields.append(_field("Most common error", f"{plain(context.most_common_error, 300)}{times}{place}"))
    if context.example is not None:
        fields.append(_field("Example", _example(context.example, context.example_url)))
    return fields


def _example(operation: OperationRecord, url: str | None) -> str:
    took = formatting.duration(operation.duration_us)
    outcome = f", {operation.outcome.label}" if operation.outcome.failed else ""
    link = f" [open in Discord]({url})" if url and _LINK.fullmatch(url) else ""
    caller = operation.metadata.get(CALLED_FROM)  # of a request to another host
    called = f"\ncalled from {code(caller, 150)}" if isinstance(caller, str) else ""
    return f"{plain(operation.operation, 80)} took {took}{outcome}, {when(operation.end_us)}{link}{called}"


def _listed(members: Sequence[Alert]) -> str:
    """Return a line for each alert, the worst first, and the number of those that do not fit."""
    looks = [(look_of(member.severity, member.state), member) for member in by_urgency(members)]
    return several(
        [
            f"{look.icon} {subject(member)}: {value_text(member.rule, member.worst, member.threshold)}"
            for look, member in looks
        ]
    )


def several(lines: Sequence[str], limit: int = VALUE, *, more: int = 0, separator: str = "\n") -> str:
    """Return as many whole lines as fit, and a last line with the number of those that do not, and of ``more``."""
    shown: list[str] = []
    size = 0
    for number, line in enumerate(lines):
        left = len(lines) - number + more
        suffix = 0 if left == 1 else len(f"{separator}and {left} more")
        if size + len(line) + len(separator) + suffix > limit:
            return separator.join([*shown, f"and {left} more"])
        shown.append(line)
        size += len(line) + len(separator)
    return separator.join([*shown, f"and {more} more"] if more else shown)


def _marker(marker: Marker) -> str:
    return f"{when(marker.at_us)} {plain(marker.name, 80)}"


def _footer(alert: Alert, context: IncidentContext | None) -> str:
    """Return the alert's number, its tag, and the operations that the context was counted from."""
    name = f"Alert {alert.id}" if alert.id else "Alert"
    if context is None or not context.operations:
        return f"{name} · {tag(alert)}"
    since = formatting.clock_time(context.since_us)
    return f"{name} · {tag(alert)} · {_operations(alert, context)} since {since} UTC"


def _field(name: str, value: str, *, inline: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "inline": inline}
