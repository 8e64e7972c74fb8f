"""What needs attention: the three worst findings, ranked by harm, or all; the same on every surface.

``rank`` decides, and is pure. It judges nothing a second time: it orders the alerts that the rules have raised, the
operations that ``judge`` finds beyond the thresholds in effect, and the rules that the alert report finds ignored.
``attention_reader`` reads the facts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.lifecycle.tracker import MANY
from cogmeter.alerts.model import BOT, CRITICAL, INFO, SEVERITIES, WARNING, Subject, is_calm
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.failures import FEWEST
from cogmeter.alerts.rules.rule import LOOP
from cogmeter.alerts.rules.suppression import explained
from cogmeter.diagnosis import MOST, Concern, ConcernList, Status
from cogmeter.query.errors import seen_since
from cogmeter.recording.frames import frame_text
from cogmeter.recording.markers import EXTENSION, MARK, START, VERSION
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, REST, label
from cogmeter.render import formatting
from cogmeter.render.comparison_text import found_text
from cogmeter.render.error_text import deploy_text, type_text
from cogmeter.render.rule_text import alert_text, rule_title
from cogmeter.times import iso
from cogmeter_storage.alerting import SENT, AlertState
from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cogmeter.diagnosis import Check
    from cogmeter.diagnostics.judgement import Judgement
    from cogmeter.query.records import AlertLine, IncidentContext, Range
    from cogmeter.query.regressions import DeployCheck, Regression
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.model import Marker

EVERYONE: Final = 50  # people that an incident of the whole bot affects, for the ranking
WEIGHTS: Final = {INFO: 1, WARNING: 4, CRITICAL: 16}
PAST: Final = 0.5  # the weight of figures over the threshold for which no alert is active
# Markers that may explain an incident, the likeliest first, and for how long after them.
_CHANGES: Final = {VERSION: HOUR_US, MARK: HOUR_US, EXTENSION: 5 * MINUTE_US, START: 5 * MINUTE_US}
_WORD: Final = re.compile(r"[A-Z][a-z]* ")  # a beginning that continues a sentence in lower case


@dataclass(frozen=True, slots=True)
class SlowPart:
    """The part of slow interactions that most of their time is spent in."""

    service: str
    operation: str  # empty: the dependency as a whole
    share: float  # of the interactions' time

    @property
    def label(self) -> str:
        """The name by which an owner knows it."""
        return label(self.service, self.operation)


@dataclass(frozen=True, slots=True)
class AlertIncident:
    """An active alert, and what is known about its incident."""

    alert: Alert
    context: IncidentContext | None = None  # None: not read
    operation: str = ""  # the operation of the alert, or the one with most of the failures or of the time
    slow_part: SlowPart | None = None

    @property
    def subject(self) -> tuple[str, str] | None:
        """The service and operation; None for the bot as a whole."""
        rule = RULES.get(self.alert.rule)
        if self.alert.service == BOT:
            return (rule.source, "") if rule is not None and rule.source == REST else None
        if rule is not None and rule.one_error:
            places = () if self.context is None or self.context.error_group is None else self.context.error_group.places
            return places[0][:2] if places else (self.alert.service, "")
        return self.alert.service, self.operation


@dataclass(frozen=True, slots=True)
class JudgedOperation:
    """An operation, or a service as a whole, whose figures in the range are beyond the thresholds in effect."""

    service: str  # empty: all services together
    operation: str
    judgement: Judgement
    failures: int
    error: ErrorGroup | None = None  # its most frequent open one in the range


@dataclass(frozen=True, slots=True)
class AttentionFacts:
    """What ``rank`` decides on."""

    range: Range
    alerts: Sequence[AlertIncident] = ()  # firing and acknowledged ones
    now: Sequence[Check] = ()  # services that are degraded or unhealthy now, by their names
    judged: Sequence[JudgedOperation] = ()  # operations before the services that they are part of
    ignored: Sequence[AlertLine] = ()  # rules that fired often, and that nobody acted on
    deploy: Marker | None = None
    check: DeployCheck | None = None  # of the last deploy, with ``regressions`` that are not muted
    regressions: Sequence[Regression] = ()


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A finding with its harm: the number of people, weighed by severity."""

    concern: Concern
    harm: float
    since_us: int = 0
    handled: bool = False  # somebody has acknowledged it


def rank(facts: AttentionFacts, most: int = MOST) -> ConcernList:
    """Return the ``most`` findings that matter most, the worst first; none if nothing is wrong.

    One cause is one finding. Left out are an alert that another one explains, further alerts about the same operation
    or error, and the alert of a dependency in which a slow operation spends its time. A service that is degraded or
    unhealthy now, before an alert fires, is a finding unless another one is about it.
    """
    incidents = list(_incidents(facts.alerts))
    covered = {alert.subject for alert, _ in incidents}
    found = [_of_alert(alert, others) for alert, others in incidents]
    found += [_of_judged(judged, facts) for judged in _uncovered(facts.judged, covered)]
    known = {alert.alert.service for alert in facts.alerts} | {judged.service for judged in facts.judged}
    known |= {subject[0] for subject in covered if subject is not None}
    found += [_of_check(check) for check in facts.now if check.name not in known]
    found += [_of_ignored(line) for line in facts.ignored]
    if facts.check is not None:
        found += _of_regressions(facts.check, facts.regressions, covered)
    found.sort(key=_order)
    return ConcernList((ranked.concern for ranked in found[:most]), max(len(found) - most, 0))


def _order(ranked: _Ranked) -> tuple[bool, int, float, int]:
    """Return the sort key: alerts that are not acknowledged first, then the critical, then the most people."""
    return ranked.handled, -SEVERITIES.index(ranked.concern.severity), -ranked.harm, ranked.since_us


def distinct(alerts: Iterable[Alert]) -> list[tuple[Alert, int]]:
    """Return one alert for each cause, the worst first, with the number of alerts that fired with it as one group.

    What another alert explains is left out, by the same facts of the rules that keep a reading from raising an alert.
    """
    active = sorted((alert for alert in alerts if alert.state in SENT), key=_worst_first)
    subjects = {_subject(alert) for alert in active}
    sizes = Counter(alert.group for alert in active if alert.group)
    groups: set[str] = set()
    causes = []
    for alert in active:
        if alert.rule == MANY or alert.group in groups:
            continue
        if alert.rule in RULES and explained(_subject(alert), subjects):
            continue
        if alert.group:
            groups.add(alert.group)
        causes.append((alert, max(sizes[alert.group] - 1, 0) if alert.group else 0))
    return causes


def _subject(alert: Alert) -> Subject:
    return Subject(alert.rule, alert.service, alert.operation)


def _worst_first(alert: Alert) -> tuple[bool, int, int]:
    return alert.state is AlertState.ACKNOWLEDGED, -WEIGHTS.get(alert.severity, WEIGHTS[WARNING]), alert.started_us


def _incidents(alerts: Sequence[AlertIncident]) -> Iterator[tuple[AlertIncident, int]]:
    """Yield one alert for each cause, with the number of further alerts of its group."""
    known = {alert.alert.uid: alert for alert in alerts}
    causes = [(known[alert.uid], others) for alert, others in distinct(alert.alert for alert in alerts)]
    parts = {alert.slow_part.service for alert, _ in causes if alert.slow_part is not None}
    seen: set[tuple[str, str] | int] = set()
    for alert, others in causes:
        group = alert.context.error_group.id if alert.context is not None and alert.context.error_group else None
        keys = {key for key in (alert.subject, group) if key is not None}
        if alert.alert.service in parts or keys & seen:
            continue
        seen |= keys
        yield alert, others


def _of_alert(active: AlertIncident, others: int) -> _Ranked:
    alert, context, rule = active.alert, active.context, RULES.get(active.alert.rule)
    people = None if context is None else context.users
    everyone = EVERYONE if rule is not None and rule.harms_everyone else 1
    handled = alert.state is AlertState.ACKNOWLEDGED
    severity = alert.severity if alert.severity in SEVERITIES else WARNING
    group = None if context is None else context.error_group
    leads_to = "alerts" if rule is None else rule.leads_to
    concern = Concern(
        severity=severity,
        people=people,
        text=_sentence(active, others),
        next_step="Open the alert" if rule is None else rule.next_step_of(alert.message),
        subject=active.subject,
        target=f"error:{group.id}" if leads_to == "errors" and group is not None else leads_to,
        alert=alert.uid,
        page="" if rule is None else rule.page,
    )
    harm = WEIGHTS[severity] * max(people or 0, everyone)
    return _Ranked(concern, harm, alert.started_us, handled)


def _sentence(active: AlertIncident, others: int) -> str:
    """Return the alert as one sentence: what is wrong, since which change, the people affected, and the cause."""
    alert, context = active.alert, active.context
    parts = [_named(active)]
    if context is not None and context.users:
        calm = is_calm(alert.message)  # "too few operations to judge now (was 17 s)" is for nobody
        parts.append(f"{'; it affected' if calm else ', for'} {formatting.counted(context.users, 'user')}")
    parts.append(_since_change(alert, context))
    if alert.state is AlertState.ACKNOWLEDGED:
        parts.append(f" (acknowledged by {alert.acknowledged_by or 'somebody'})")
    parts += [f"; {cause}" for cause in _causes(active)]
    if others:
        parts.append(f"; {formatting.counted(others, 'more alert')} at the same time")
    return formatting.clean("".join(parts))


def _named(active: AlertIncident) -> str:
    """Return the alert's message, after the name of what it is about unless the message names it."""
    message, rule, subject = alert_text(active.alert), RULES.get(active.alert.rule), active.subject
    if active.alert.service == BOT or subject is None or (rule is not None and rule.about == LOOP):
        return message
    if subject[0] == ACKNOWLEDGEMENT:
        return f"{message}, most of them of {subject[1]}" if subject[1] else message
    return f"{label(*subject)}: {_continued(message)}"


def _since_change(alert: Alert, context: IncidentContext | None) -> str:
    """Return how long after a change of the bot the incident began."""
    markers = () if context is None else context.markers
    for kind, longest_us in _CHANGES.items():
        marker = next((marker for marker in markers if marker.kind == kind), None)
        if marker is not None and alert.started_us - marker.at_us <= longest_us:
            name = marker.name if kind == VERSION else f'"{marker.name}"'  # "bot started", "deployed 1.4"
            began = "; the alert began" if is_calm(alert.message) else ", began"
            return f"{began} {formatting.duration(max(alert.started_us - marker.at_us, 0))} after {name}"
    return ""


def _causes(active: AlertIncident) -> Iterator[str]:
    """Yield where the time goes, or the most common error."""
    context, part = active.context, active.slow_part
    if part is not None:
        yield f"{formatting.percent(part.share)} of its time is spent in {part.label}"
    elif context is not None and context.error_group is not None:
        text = _error_text(context.error_group)
        if text not in active.alert.message:
            yield f"most common error: {text}"
    elif context is not None and context.most_common_error:
        yield f"most common error: {formatting.cut(context.most_common_error, 100)}"


def _uncovered(judged: Iterable[JudgedOperation], covered: set[tuple[str, str] | None]) -> Iterator[JudgedOperation]:
    """Yield what no alert is about: neither the operation nor, where the alert names no operation, its service."""
    for one in judged:
        subjects = {(one.service, one.operation), (one.service, "")}
        if not one.operation:  # a service is about its operations
            subjects |= {subject for subject in covered if subject is not None and subject[0] == one.service}
        if not one.service and covered:
            continue
        if not subjects & covered:
            yield one


def _within(span: Range) -> str:
    """Return a range for a sentence; the label of a custom range differs between surfaces."""
    if span.label.startswith("last "):
        return f"in the {span.label}"
    since, until = (iso(at_us)[:16].replace("T", " ") for at_us in (span.since_us, span.until_us))
    return f"from {since} to {until} UTC"


def _of_judged(one: JudgedOperation, facts: AttentionFacts) -> _Ranked:
    name = label(one.service, one.operation) if one.service else "All services"
    text = f"{name}: {one.judgement.reason}, {_within(facts.range)}"
    failing = one.judgement.failing or not one.judgement.slow
    error = one.error if failing else None
    people = None
    if error is not None:
        text += f"; most common error: {_error_text(error)}"
        if facts.deploy is not None and seen_since(facts.deploy, error):
            text += f", new since {deploy_text(facts.deploy.kind, facts.deploy.name)}"
        own = any(place[0] == one.service for place in error.places)  # an inner error may also be of other commands
        people = error.users or None if own and error.first_us >= facts.range.since_us else None
    rule = RULES["error_rate" if failing else "response_time"]
    severity = WARNING  # critical is what is critical now, and has an alert
    if failing and one.failures < FEWEST:
        severity = INFO  # a few failures may be chance
    weight = WEIGHTS[CRITICAL if severity == WARNING and one.judgement.status is Status.UNHEALTHY else severity]
    concern = Concern(
        severity=severity,
        people=people,
        text=formatting.clean(text),
        next_step=rule.next_step,
        subject=(one.service, one.operation) if one.service else None,
        target=f"error:{error.id}" if error is not None else rule.leads_to,
    )
    return _Ranked(concern, weight * max(people or 0, 1) * PAST)


def _of_check(check: Check) -> _Ranked:
    severity = CRITICAL if check.status is Status.UNHEALTHY else WARNING
    concern = Concern(
        severity=severity,
        people=None,
        text=formatting.clean(f"{check.name} now: {check.reason}"),
        next_step="Open its statistics",
        subject=(check.name, ""),
        target="stats",
    )
    return _Ranked(concern, WEIGHTS[severity])


def _of_ignored(line: AlertLine) -> _Ranked:
    of = "" if line.service == BOT else f" of {line.service}"
    fired = formatting.counted(line.fired, "time")
    concern = Concern(
        severity=INFO,
        people=None,
        text=f"{rule_title(line.rule)}{of} fired {fired} in the last 7 days, and nobody acted on it",
        next_step="Raise its threshold, or switch the rule off",
        subject=None if line.service == BOT else (line.service, ""),
        target="report",
    )
    return _Ranked(concern, WEIGHTS[INFO] * PAST)


def _of_regressions(
    check: DeployCheck, regressions: Sequence[Regression], covered: set[tuple[str, str] | None]
) -> Iterator[_Ranked]:
    """Yield one finding for all that a deploy made worse, unless an alert is about it already."""
    found = [one for one in regressions if not {(one.service, one.operation), (one.service, "")} & covered]
    if not found:
        return
    first, others = found[0], len({(one.service, one.operation) for one in found}) - 1
    text = f"{label(first.service, first.operation)}: {found_text(first.change)}"
    more = f", and {formatting.counted(others, 'other')} worse" if others else ""
    concern = Concern(
        severity=WARNING,
        people=None,
        text=formatting.clean(f"{text} since {check.name}{more}"),
        next_step="Compare before and after",
        subject=(first.service, first.operation),
        target=f"compare:{check.before}",
    )
    yield _Ranked(concern, WEIGHTS[WARNING] * PAST, check.at_us)


def _error_text(group: ErrorGroup) -> str:
    """Return an error with its place: ``ValueError in cogs/ask.py:42 in Ask.ask``; without one, with its message."""
    kind = type_text(group.type)
    if group.place is not None:
        return f"{kind} in {frame_text(group.place)}"
    return formatting.cut(": ".join(filter(None, (kind, group.message))), 100)


def _continued(message: str) -> str:
    """Return a message as the continuation of a sentence: its first word in lower case, unless that is a name."""
    return message[:1].lower() + message[1:] if _WORD.match(message) else message
