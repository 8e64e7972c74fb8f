"""The alerts page: active and past alerts, mutes, thresholds, notification targets, and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from cogmeter.alerts.model import BOT, by_urgency
from cogmeter.alerts.review.muting import REASON
from cogmeter.alerts.review.threshold_changes import effective_limits
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.keys import OverrideKey, span_of
from cogmeter.notifiers.table import notifier_classes
from cogmeter.query.selection import fired_alerts
from cogmeter.render import formatting
from cogmeter.render.rule_text import FIELD_LABELS, compared_text, limit_text, origin_text, override_text, rule_title
from cogmeter.schemas.alerts import STATES
from cogmeter.settings import env_name
from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, page_response
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import EffectiveLimit
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt, Mute

ROWS: Final = 15  # of the history and the audit log, per page
MOST_ACTIVE: Final = 50
MOST_WITH_EVENTS: Final = 20  # active alerts that are shown with their events
MOST_CHANGES: Final = 12
LATER: Final = 10_000  # pages
PageNumber = Annotated[int, Field(ge=1, le=LATER)]
CLOSED: Final = {AlertState.ACKNOWLEDGED, AlertState.RESOLVED}  # cannot be acknowledged any more
# The durations of a mute to choose from, in seconds.
DURATIONS: Final = {3_600: "1 hour", 14_400: "4 hours", 43_200: "12 hours", 86_400: "1 day", 604_800: "7 days"}


class AlertsPageParams(PageParams):
    """Parameters: the state of the alerts in the history, its page, and the page of the audit log."""

    covers_selection: ClassVar[bool] = True
    state: Literal["history", "firing", "acknowledged", "muted", "resolved"] = "history"
    page: PageNumber = 1
    audit: PageNumber = 1


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An active alert with its events and delivery attempts, newest first."""

    alert: Alert
    changes: list[AlertChange]
    attempts: list[Attempt]

    @property
    def open(self) -> bool:
        """True if it can be acknowledged."""
        return self.alert.state not in CLOSED


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One row in the table of thresholds."""

    limit: EffectiveLimit
    rule: Rule
    unit: str

    @property
    def key(self) -> str:
        """The key of an override."""
        return self.limit.key

    @property
    def title(self) -> str:
        """The rule's title."""
        return self.rule.title

    @property
    def value(self) -> str:
        """The limit with its unit."""
        return limit_text(self.limit)

    @property
    def compared(self) -> tuple[str, str]:
        """The limit in two parts: "above", "5%"."""
        return compared_text(self.limit)

    @property
    def changed(self) -> bool:
        """True if it was changed or calibrated, and can be reset."""
        return self.limit.origin in {"changed", "calibrated"}

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return origin_text(self.limit)


@dataclass(frozen=True, slots=True)
class Target:
    """One notification target and its state."""

    name: str
    description: str
    setting: str | None
    on: bool
    well: bool = True
    text: str = ""
    advice: str = ""


async def show_alerts(view: PageView[AlertsPageParams]) -> web.Response:
    """Show everything about alerts, of all services or one."""
    monitor, params, store = view.monitor, view.params, view.monitor.store.alerting
    service = params.service
    if service not in {None, BOT}:
        await monitor.query.require_services([service or ""])
    limits = await effective_limits(monitor.store, monitor.settings)
    # One row more than the page shows whether there is another page.
    offset = (params.page - 1) * ROWS
    history = await _history(view, offset)
    audit = await store.audit(limit=ROWS + 1, offset=(params.audit - 1) * ROWS)
    active = _active(monitor, service)
    shown = enumerate(active[:MOST_ACTIVE])
    return await page_response(
        view,
        "alerts.html",
        title="Alerts",
        params=params,
        link=_link(view),
        active=[await _with_events(view, alert, events=place < MOST_WITH_EVENTS) for place, alert in shown],
        left_out=max(len(active) - MOST_ACTIVE, 0),
        history=history[:ROWS],
        older=len(history) > ROWS,
        states=[state for state in STATES if state != "active"],
        mutes=[mute for mute in await store.mutes(view.now_us) if service in {None, mute.service} or not mute.service],
        rules={name: rule_title(name) for name in RULES},
        rows=[_row(limit) for limit in limits.rules(service)],
        others=[_row(limit) for limit in await limits.others(service)],
        targets=targets(monitor),
        settings=monitor.settings,
        audit=audit[:ROWS],
        older_audit=len(audit) > ROWS,
        fields=FIELD_LABELS,
        override_text=override_text,
        durations=DURATIONS,
        longest_reason=REASON,
        BOT=BOT,
        scope=scope,
        alert_duration=_alert_duration,
    )


async def _history(view: PageView[AlertsPageParams], offset: int) -> list[Alert]:
    """Return the rows of one page of the history, and one more if there is one; only of the selected range, if any."""
    store, states, service = view.monitor.store.alerting, STATES[view.params.state], view.params.service
    selection = view.selection
    if selection is None:
        return await store.alerts(states, service=service, limit=ROWS + 1, offset=offset)
    alerts = [alert for alert in await fired_alerts(store, selection, service) if alert.state in states]
    return sorted(alerts, key=lambda alert: -alert.started_us)[offset : offset + ROWS + 1]


def targets(monitor: Monitor) -> list[Target]:
    """Return every notifier as a target, switched on or not."""
    delivery = monitor.alerting.delivery
    rows = []
    for notifier in notifier_classes():
        setting = None if notifier.setting is None else env_name(notifier.setting)
        if notifier.name not in delivery.names:
            rows.append(Target(notifier.name, notifier.label, setting, on=False))
            continue
        finding = delivery.finding(notifier.name)
        advice = "" if finding.well else finding.advice
        rows.append(
            Target(notifier.name, notifier.label, setting, on=True, well=finding.well, text=finding.text, advice=advice)
        )
    return rows


def scope(mute: Mute) -> str:
    """Return what a mute covers as text."""
    if not mute.rule and not mute.service:
        return "Everything"
    rule = rule_title(mute.rule) if mute.rule else "Every rule"
    return f"{rule} of {mute.service}" if mute.service else f"{rule} of every service"


def _active(monitor: Monitor, service: str | None) -> list[Alert]:
    return by_urgency(alert for alert in monitor.alerting.engine.active if service in {None, alert.service})


async def _with_events(view: PageView[AlertsPageParams], alert: Alert, *, events: bool) -> ActiveAlert:
    if not events:
        return ActiveAlert(alert, [], [])
    store = view.monitor.store.alerting
    changes = await store.changes(alert.uid, limit=MOST_CHANGES)
    return ActiveAlert(alert, changes, await store.attempts(alert.uid, limit=MOST_CHANGES))


def _row(limit: EffectiveLimit) -> ThresholdRow:
    unit = "" if isinstance(limit.value, str) else span_of(OverrideKey.parse(limit.key)).unit
    return ThresholdRow(limit, RULES[limit.rule], unit)


def _alert_duration(alert: Alert, now_us: int) -> str:
    until_us = now_us if alert.resolved_us is None else alert.resolved_us
    return formatting.duration(max(until_us - alert.started_us, 0))


def _link(view: PageView[AlertsPageParams]) -> Callable[..., str]:
    """Return a function that makes URLs of this page: they keep its parameters but for the changes."""
    params = view.params
    present = {
        "state": None if params.state == "history" else params.state,
        "page": None if params.page == 1 else params.page,
        "audit": None if params.audit == 1 else params.audit,
    }

    def link(**changes: object) -> str:
        return view.here(**present | {name: None if value == 1 else value for name, value in changes.items()})

    return link


PAGE: Final = Page(
    "alerts",
    f"{HOME}/alerts",
    "Alerts",
    show_alerts,
    AlertsPageParams,
    MenuEntry(7, "Alerts", "M6 17v-6a6 6 0 0 1 12 0v6l2 2H4zM10 21h4"),
    words=("thresholds", "mutes", "report", "notifications", "rules"),
)
