"""Alert rules as text, for embeds and pages: titles, values, limits, and previews of limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeVar

from cogmeter.alerts.measurement.values import STATISTICS
from cogmeter.alerts.model import BOT, NO_OPERATIONS, WITH_SERVICE, calm, is_calm, not_judged, split_counts
from cogmeter.alerts.rules import KINDS, RULES
from cogmeter.alerts.rules.guide import THROUGHPUT
from cogmeter.alerts.rules.rule import LOOP, beyond, duration, number
from cogmeter.alerts.thresholds.effective import CHANGED
from cogmeter.alerts.thresholds.keys import WORDED, LimitError, OverrideKey
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import EffectiveLimit
from cogmeter.recording.service_names import label
from cogmeter.render import formatting
from cogmeter.settings import Settings, env_name
from cogmeter.times import us_of
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cogmeter.alerts.thresholds.calibration import Proposal
    from cogmeter.query.records import WhatIf
    from cogmeter.schemas.alerts import AlertAnswer, AlertDetail
    from cogmeter.schemas.selection import SelectionAnswer
    from cogmeter.schemas.statistics import Dashboard
    from cogmeter_storage.alerting import Alert, AlertChange

L = TypeVar("L", "Dashboard", "SelectionAnswer")
_FORMATS: Final[dict[str, Callable[[float], str]]] = {  # by the unit of a rule
    "share": formatting.percent,
    "share of usual": lambda value: f"{formatting.percent(value)} of usual",
    "share of success": lambda value: f"{formatting.percent(value)} success",
    "growth": lambda value: f"{number(value * 100)}%",  # above 1 as well, which ``formatting.percent`` caps
    "seconds": lambda value: formatting.duration(value * 1e6),
    "ms": lambda value: formatting.duration(value * 1000),
    "operations/min": formatting.rate,
    "factor": lambda value: f"{number(value)}x",
    "USD": lambda value: f"${value:,.2f}",
    "USD per day": lambda value: f"${value:,.2f}/day",
    "score": lambda value: f"{value:.2f}",
    "number": lambda value: f"{value:g}",
}
_OVER: Final = "; this is over for now"
_LASTED: Final = ", lasted "
FIELD_LABELS: Final = {  # in lists to choose from
    "threshold": "Threshold",
    "recovery": "Recovery threshold",
    "for": "Fires after",
    "recovery_delay": "Resolves after",
    "min_operations": "Minimum operations in the window",
    "severity": "Severity",
    "statistic": "Response-time statistic",
}
_GUIDE_DURATION: Final = re.compile(r"\b(of|for|usual|usually|than|after|over|under) (\d[\d.,]*)(ms|s| min)\b")
_GUIDE_RATE: Final = re.compile(r"(\d[\d.,]*) operations/minute\b")
_IN_BREACH: Final = re.compile(r" (exceeds|is below) .*?threshold of (\d[\d.,]*(?:ms|s| min)\b)?")
_OFF: Final = re.compile(r"; 0(:| switches).*$")  # the end of a threshold's description
_FIELDS: Final = {  # the words before a value
    "threshold": "",
    "recovery": "recovers at",
    "for": "fires after",
    "recovery_delay": "resolves after",
    "min_operations": "from",
    "severity": "severity",
    "statistic": "statistic",
}


def rule_title(rule: str) -> str:
    """Return the title of a rule: "Error rate". An unknown rule's title is its name."""
    kind = KINDS.get(rule)
    return kind.title if kind else formatting.clean(rule.replace("_", " ")).capitalize() or "Alert"


def introduction(rule: str, threshold: float, group: str) -> str:
    """Return what a rule does and how to change it, in Discord's markdown.

    ``threshold`` is that of an alert, ``group`` the name of the command group.
    """
    known = RULES[rule]
    what = meaning(rule)
    value = "" if known.threshold_unit or not threshold else f": {measured(rule, threshold)}"
    service = "" if known.only_service or known.about == LOOP else ", of one service with `service:`"
    return (
        f"First message about the rule `{rule}`. {what}{value}.\n"
        f"Change the threshold with `/{group} thresholds set rule:{rule}`{service}. "
        f"Its default is `{env_name(known.setting)}`; 0 switches the rule off."
    )


def meaning(rule: str) -> str:
    """Return one line about when a rule alerts: "Alert when the error rate exceeds this share"."""
    return _OFF.sub("", Settings.model_fields[RULES[rule].setting].description or "")


def compared_text(limit: EffectiveLimit) -> tuple[str, str]:
    """Return a limit in two parts, the second one to emphasise: "above", "5%"; no first part where it is off."""
    value = limit_text(limit)
    if limit.field == "threshold" and limit.value:
        rule = RULES[limit.rule]
        return f"{rule.comparison} a score of" if rule.unit == "score" else rule.comparison, value
    words = _FIELDS.get(limit.field, limit.field)
    return words, value.removeprefix(words).strip()


def measured(rule: str, value: float) -> str:
    """Format a value of a rule, ``8.2 s``; a dash if it is not a finite number."""
    kind = KINDS.get(rule)
    return _formatted(kind.unit if kind else "number", value) if math.isfinite(value) else formatting.NOTHING


def value_text(rule: str, value: float, threshold: float | None) -> str:
    """Format a value of an alert as its message does: ``8.2 s``; ``just over 2 s`` of one beyond a threshold of 2 s."""
    text, kind = measured(rule, value), KINDS.get(rule)
    if kind is None or not threshold or not kind.is_worse(value, threshold):
        return text
    return beyond(text, measured(rule, threshold), falling=kind.falling)


def change_value_text(rule: str, change: AlertChange) -> str:
    """Return the value of an event of an alert; of the end of an alert it is that of the last breach."""
    value = value_text(rule, change.current, change.threshold)
    if change.state is not AlertState.RESOLVED:
        return value
    why = not_judged(change.message)
    return f"{not_judged_text(why).removesuffix(' now')}, last breach {value}" if why else f"last breach {value}"


def extreme(rule: str, worst: float | None, threshold: float | None) -> tuple[str, str] | None:
    """Return a past alert's worst value and its threshold: "Error rate peaked at 66.7%", "threshold 5%".

    Return None if the alert has no threshold, or if the worst value is not beyond it.
    """
    kind = KINDS.get(rule)
    if kind is None or worst is None or not threshold or not kind.is_worse(worst, threshold):
        return None
    words = extreme_words(rule)
    subject = formatting.sentence(words) if is_block(rule) else f"{rule_title(rule)} {words}"
    return f"{subject} {value_text(rule, worst, threshold)}", f"threshold {measured(rule, threshold)}"


def extreme_words(rule: str) -> str:
    """Return the words before the worst value of a past alert: "peaked at", "fell to", "longest block"."""
    kind = KINDS.get(rule)
    if kind is not None and kind.value_name:
        return kind.value_name.lower()
    return "fell to" if kind is not None and kind.falling else "peaked at"


def alert_text(alert: Alert) -> str:
    """Return the message of an alert with its counts; of a resolved one, its worst value and duration."""
    if alert.resolved_us is None:
        return present_text(alert.rule, alert.message, alert.current, alert.threshold)
    message = split_counts(alert.message)[0]
    return past_text(alert.rule, message, alert.worst, alert.threshold, alert.resolved_us - alert.started_us)


def status_reason(alert: Alert) -> str:
    """Return why a service with this alert is not healthy: its message, after "recovering" once its breach is over."""
    return reason_text(alert_text(alert), breached=not is_calm(alert.message), not_judged=not_judged(alert.message))


def reason_text(text: str, *, breached: bool, not_judged: str) -> str:
    """Return the text of an alert as the reason of a status: what is not compared now is not said to be recovering."""
    return text if breached or not_judged else f"recovering: {text}"


def present_text(rule: str, message: str, current: float | None, threshold: float | None) -> str:
    """Return the message of an active alert: as of its breach, or that this is over for now.

    "Error rate back within its threshold of 5% (was 7.8%)".
    """
    if not is_calm(message):
        return message_text(message, rule, (current, threshold))
    text = message_text(split_counts(message)[0])
    why = not_judged(message)
    if rule in KINDS and current is not None and threshold:
        over = over_text(rule, current, threshold, not_judged=why)
        return f"{rule_title(rule)}{':' * bool(is_block(rule) or why)} {over}"
    if why:
        return f"{text}; {not_judged_text(why)}"
    return text if text.endswith(_OVER) else f"{text}{_OVER}"


def is_block(rule: str) -> bool:
    """Return whether a rule's value is the length of something that is over at once, as a block of the event loop."""
    return rule in KINDS and bool(KINDS[rule].value_name)


def over_text(
    rule: str, current: float, threshold: float, *, not_judged: str = "", strong: str = "", more: str = ""
) -> str:
    """Return what follows the title of an alert whose last check found no breach: "back within its threshold of 5%".

    With the reason why it is ``not_judged``: "too few operations to judge now". ``strong`` is put around the last
    value, and ``more`` follows it.
    """
    limit, was = measured(rule, threshold), f"{strong}{value_text(rule, current, threshold)}{strong}{more}"
    if not_judged:
        return f"{not_judged_text(not_judged)} (was {was})"
    if is_block(rule):  # it is over, and is not back within anything
        return f"none above the threshold of {limit} now (the last block took {was})"
    return f"back within its threshold of {limit} (was {was})"


def not_judged_text(reason: str) -> str:
    """Return in words why the last check could not compare a value: "too few operations to judge now"."""
    if reason == WITH_SERVICE:
        return "judged with its service now"
    return f"{reason} now" if reason == NO_OPERATIONS else f"{reason} to judge now"


def past_text(rule: str, message: str, worst: float | None, threshold: float | None, lasted_us: int) -> str:
    """Return a resolved alert in the past tense: "Error rate peaked at 66.7% (threshold 5%), lasted 34 min"."""
    past = extreme(rule, worst, threshold)
    if past is None and _LASTED in message:  # it is worded already
        return message
    text = f"{past[0]} ({past[1]})" if past else message_text(message)
    lasted = ", the alert lasted " if is_block(rule) else _LASTED
    return f"{text}{lasted}{formatting.duration(max(lasted_us, 0))}"


def worded(answer: AlertAnswer) -> AlertAnswer:
    """Return an alert of the API with its message in the tense of its state; the same if it is worded already.

    A breach keeps the guide's message. Of a resolved alert, it becomes its worst value and duration.
    """
    if answer.resolved_at is not None:
        lasted_us = us_of(answer.resolved_at) - answer.started_us
        message = past_text(answer.type, answer.message, answer.worst, answer.threshold, lasted_us)
    elif answer.breached:
        return answer
    else:
        message = present_text(
            answer.type, calm(answer.message, answer.not_judged or ""), answer.current, answer.threshold
        )
    return answer.model_copy(update={"message": message})


def worded_alerts(answer: L) -> L:
    """Return an answer with its alerts worded."""
    return answer.model_copy(update={"alerts": [*map(worded, answer.alerts)]})


def worded_detail(detail: AlertDetail) -> AlertDetail:
    """Return an alert with its events and members, worded; its end has the message of a resolved alert."""
    alert = worded(detail.alert)
    ended = {"message": alert.message} if alert.resolved_at is not None else {}
    last = next((number for number, change in enumerate(detail.changes) if change.kind == "resolved"), None)
    changes = [one.model_copy(update=ended) if number == last else one for number, one in enumerate(detail.changes)]
    return detail.model_copy(update={"alert": alert, "changes": changes, "members": [*map(worded, detail.members)]})


def message_text(message: str, rule: str = "", values: Iterable[float | None] = ()) -> str:
    """Return the message of an alert with "8.2 s" and "120/min"; the guide's JSON and log have other formats.

    ``values`` are those that the message of a ``rule`` is about: they get the digits that ``measured`` gives them, from
    their exact value; other ones are read from the message.
    """
    known = [value for value in values if value is not None]
    exact = {guide: measured(rule, value) for value in known for guide in _guide_texts(rule, value)}

    def shown(guide: str) -> str:
        return exact.get(guide) or _duration(guide)

    breach = _IN_BREACH.search(message)
    limit = shown(breach[2]) if breach is not None and breach[2] else ""

    def spaced(found: re.Match[str]) -> str:
        value = shown(found[2] + found[3])
        if breach is not None and found.start() < breach.start() and found[1] in {"of", "for"}:
            value = beyond(value, limit, falling=breach[1] == "is below")
        return f"{found[1]} {value}"

    text = _GUIDE_DURATION.sub(spaced, message)
    return _GUIDE_RATE.sub(lambda found: exact.get(found[1]) or formatting.rate(_number(found[1])), text)


def _guide_texts(rule: str, value: float) -> tuple[str, ...]:
    """Return the forms that a value may have in the guide's message of a rule: "8.2s", "12 min"; of a rate "120"."""
    unit = KINDS[rule].unit if rule in KINDS else ""
    if unit == "seconds":
        return duration(value * 1000), f"{value / 60:.0f} min"
    return (duration(value) if unit == "ms" else number(value),)


def _duration(guide: str) -> str:
    """Return a duration of a guide's message, "145ms" or "8.2s", as everywhere else."""
    if guide.endswith("min"):
        return guide
    milliseconds = guide.endswith("ms")
    return formatting.duration(_number(guide.rstrip("ms")) * (1e3 if milliseconds else 1e6))


def _number(guide: str) -> float:
    """Return a number of a guide's message: 1,200.5."""
    return float(guide.replace(",", "").rstrip("."))


def limit_text(limit: EffectiveLimit) -> str:
    """Format a limit; a threshold of 0 is ``off``."""
    if isinstance(limit.value, str):
        value = limit.value or "depends on the value"
    elif limit.field in {"threshold", "recovery"}:
        rule = RULES[limit.rule]
        value = _formatted(rule.threshold_unit or rule.unit, limit.value) if limit.value else "off"
    elif limit.field == "min_operations":
        value = f"{formatting.exact(int(limit.value))} operations"
    else:
        value = "no delay" if not limit.value else formatting.duration(limit.value * 1e6)
    return f"{_FIELDS.get(limit.field, limit.field)} {value}".strip()


def origin_text(limit: EffectiveLimit) -> str:
    """Return where a limit comes from: "calibrated from 3 d (1,240 operations)"; without who changed it."""
    learned = limit.calibrated
    if learned is None:
        return limit.origin
    length = formatting.duration(learned.until_us - learned.since_us)
    return f"{limit.origin} from {length} ({formatting.counted(learned.operations, 'operation')})" + (
        "" if learned.settled else ", provisional"
    )


def proposal_text(proposal: Proposal, service: str, operation: str = "", what_if: WhatIf | None = None) -> str:
    """Return a proposed threshold in words: "95% of /ask take under 9.2 s; an alert above 18 s (average)".

    With the replay of the proposed threshold it ends: "would have fired twice in the last 3 d".
    """
    name = "all operations" if service == BOT else label(service, operation)
    value = measured(proposal.rule, proposal.value)
    if proposal.rule == THROUGHPUT.name:
        text = f"{name}: {formatting.rate(proposal.usual)} in busy hours; an alert above {value}"
    else:
        p95, (_, statistic) = formatting.duration(proposal.p95_ms * 1000), STATISTICS[proposal.statistic]
        text = f"95% of {name} take under {p95}; an alert above {value} ({statistic.lower()})"
    if what_if is None or not what_if.subjects:
        return text
    counts = {0: "not have fired", 1: "have fired once", 2: "have fired twice"}
    fired = counts.get(what_if.times, f"have fired {formatting.exact(what_if.times)} times")
    return f"{text} would {fired} in the last {formatting.duration(what_if.until_us - what_if.since_us)}"


def override_text(key: str, value: str) -> str:
    """Format the stored value of an override, ``1.9 s``; unchanged if this version does not know the key."""
    try:
        parsed = OverrideKey.parse(key)
        known = Limits.check(key, value)
    except LimitError:
        return value
    number = known if parsed.field in WORDED else float(known)
    return limit_text(EffectiveLimit(key, parsed.subject.rule, parsed.field, number, CHANGED))


def what_if_text(what_if: WhatIf, *, strong: str = "") -> str:
    """Format a preview: "In the last 7 days this would have fired 3 times, for 40 min in total".

    ``strong`` is put around the most important words: two asterisks in Discord, nothing elsewhere.
    """
    if not what_if.subjects:
        return "No preview: no operations of this kind are recorded yet."
    then = _fired(what_if.times, what_if.length_us)
    now = _fired(what_if.now_times, what_if.now_length_us)
    length = formatting.duration(what_if.until_us - what_if.since_us)
    days = round((what_if.until_us - what_if.since_us) / 86_400e6, 1)
    span = f"{days:.0f} days" if days >= 2 and days == int(days) else length
    text = f"In the last {span} this would have fired {strong}{then}{strong}; the current limit: {now}."
    if not what_if.too_few:
        return text
    few, windows = formatting.exact(what_if.too_few), formatting.counted(what_if.windows, "window")
    return f"{text} {few} of {windows} had too few operations for an alert."


def _fired(times: int, length_us: int) -> str:
    count = "once" if times == 1 else f"{formatting.exact(times)} times"
    return f"{count}, for {formatting.duration(length_us)} in total" if times else count


def _formatted(unit: str, value: float) -> str:
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    noun, space, rest = unit.partition(" ")
    return f"{value:,.0f} {noun.removesuffix('s') if round(value) == 1 else noun}{space}{rest}"
