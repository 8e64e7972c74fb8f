"""Alerts: what stands and stood, mutes, thresholds, who is told, and who changed what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from cogmeter.alerts.model import BOT
from cogmeter.alerts.review.muting import REASON
from cogmeter.alerts.review.threshold_changes import holdings
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.keys import FIELDS, OverrideKey, span_of
from cogmeter.notifiers.table import notifier_classes
from cogmeter.render import formatting
from cogmeter.render.rule_text import limit_text, rule_title
from cogmeter.schemas.alerts import STATES
from cogmeter.settings import env_name
from cogmeter.web.pages.frame import PageParams, PageView, answer
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import EffectiveLimit
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt, Mute

PAGE: Final = 15
MOST_ACTIVE: Final = 50
MOST_TOLD: Final = 20  # active alerts that are shown with what happened to them
MOST_CHANGES: Final = 12
LATER: Final = 10_000  # pages
PageNumber = Annotated[int, Field(ge=1, le=LATER)]
_RANK: Final = {"critical": 0, "warning": 1, "info": 2}
_ORDER: Final = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.PENDING, AlertState.MUTED)
CLOSED: Final = {AlertState.ACKNOWLEDGED, AlertState.RESOLVED}  # what cannot be taken up (any more)

FIELD_WORDS: Final = dict(
    zip(
        FIELDS,
        (
            "Threshold",
            "Recovery threshold",
            "For how long a breach has to last",
            "For how long it has to be over",
            "Fewest operations in the window",
            "Severity",
            "Statistic of the response time",
        ),
        strict=True,
    )
)
# How long a mute may last, in seconds.
LENGTHS: Final = {3_600: "1 hour", 14_400: "4 hours", 43_200: "12 hours", 86_400: "1 day", 604_800: "7 days"}


class AlertsPageParams(PageParams):
    """Which alerts of the past, and which page of them and of the audit."""

    state: Literal["history", "firing", "acknowledged", "muted", "resolved"] = "history"
    page: PageNumber = 1
    audit: PageNumber = 1


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An active alert with what happened to it, newest first."""

    alert: Alert
    changes: list[AlertChange]
    attempts: list[Attempt]

    @property
    def open(self) -> bool:
        """Whether somebody may take it up."""
        return self.alert.state not in CLOSED


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One limit in the table of thresholds."""

    holding: EffectiveLimit
    rule: Rule
    unit: str

    @property
    def key(self) -> str:
        """As overrides have it."""
        return self.holding.key

    @property
    def title(self) -> str:
        """The rule's title."""
        return self.rule.title

    @property
    def value(self) -> str:
        """The limit in people's words."""
        return limit_text(self.holding)

    @property
    def changed(self) -> bool:
        """Whether somebody changed this very limit, and can reset it."""
        return self.holding.origin == "changed"


@dataclass(frozen=True, slots=True)
class Target:
    """One target of alerts: whether it is set, and how it is."""

    name: str
    words: str
    setting: str | None
    on: bool
    well: bool = True
    text: str = ""
    advice: str = ""


async def show_alerts(monitor: Monitor, ask: AlertsPageParams, request: web.Request) -> web.Response:
    """All about alerts, of one service where that is chosen."""
    view = PageView(monitor, request, ask, "alerts")
    if ask.service not in {None, BOT}:
        await monitor.query.known([ask.service or ""])
    kept = monitor.store.alerting
    held = await holdings(monitor.store, monitor.settings)
    history = await kept.alerts(STATES[ask.state], service=ask.service, limit=PAGE + 1, offset=(ask.page - 1) * PAGE)
    audit = await kept.audit(limit=PAGE + 1, offset=(ask.audit - 1) * PAGE)
    active = _active(monitor, ask.service)
    return await answer(
        view,
        "alerts.html",
        title="Alerts",
        ask=ask,
        link=_link(view, ask),
        active=[await _standing(view, one, told=place < MOST_TOLD) for place, one in enumerate(active[:MOST_ACTIVE])],
        left_out=max(len(active) - MOST_ACTIVE, 0),
        history=history[:PAGE],
        older=len(history) > PAGE,
        states=[state for state in STATES if state != "active"],
        mutes=[one for one in await kept.mutes(view.now_us) if ask.service in {None, one.service} or not one.service],
        rules={name: rule_title(name) for name in RULES},
        rows=[_row(one) for one in held.rules(ask.service)],
        others=[_row(one) for one in held.others(ask.service)],
        targets=targets(monitor),
        settings=monitor.settings,
        audit=audit[:PAGE],
        older_audit=len(audit) > PAGE,
        fields=FIELD_WORDS,
        lengths=LENGTHS,
        longest_reason=REASON,
        BOT=BOT,
        scope=scope,
        lasted=_lasted,
    )


def targets(monitor: Monitor) -> list[Target]:
    """Return every notifier as a target, switched on or not."""
    delivery = monitor.alerting.delivery
    rows = []
    for notifier in notifier_classes():
        setting = None if notifier.setting is None else env_name(notifier.setting)
        if notifier.name not in delivery.names:
            rows.append(Target(notifier.name, notifier.label, setting, on=False))
            continue
        one = delivery.finding(notifier.name)
        advice = "" if one.well else one.advice
        rows.append(
            Target(notifier.name, notifier.label, setting, on=True, well=one.well, text=one.text, advice=advice)
        )
    return rows


def scope(mute: Mute) -> str:
    """What a mute covers, in words."""
    if not mute.rule and not mute.service:
        return "Everything"
    what = rule_title(mute.rule) if mute.rule else "Every rule"
    return f"{what} of {mute.service}" if mute.service else f"{what} of every service"


def _active(monitor: Monitor, service: str | None) -> list[Alert]:
    """The alerts that are not over: what waits for somebody first, then the worst, then the newest."""
    found = [one for one in monitor.alerting.engine.active if service in {None, one.service}]
    return sorted(found, key=lambda one: (_ORDER.index(one.state), _RANK.get(one.severity, 1), -one.changed_us))


async def _standing(view: PageView, alert: Alert, *, told: bool) -> ActiveAlert:
    kept = view.monitor.store.alerting
    if not told:
        return ActiveAlert(alert, [], [])
    changes = await kept.changes(alert.uid, limit=MOST_CHANGES)
    return ActiveAlert(alert, changes, await kept.attempts(alert.uid, limit=MOST_CHANGES))


def _row(one: EffectiveLimit) -> ThresholdRow:
    words = isinstance(one.value, str)
    unit = "" if words else span_of(OverrideKey.parse(one.key)).unit
    return ThresholdRow(one, RULES[one.rule], unit)


def _lasted(alert: Alert, now_us: int) -> str:
    until_us = now_us if alert.resolved_us is None else alert.resolved_us
    return formatting.duration(max(until_us - alert.started_us, 0))


def _link(view: PageView, ask: AlertsPageParams) -> Any:
    """Makes addresses of this page that keep what is shown but for the changes."""
    shown = {
        "state": None if ask.state == "history" else ask.state,
        "page": None if ask.page == 1 else ask.page,
        "audit": None if ask.audit == 1 else ask.audit,
    }
    return lambda **changes: view.here(**{**shown, **{key: None if one == 1 else one for key, one in changes.items()}})
