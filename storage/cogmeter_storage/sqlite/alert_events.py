"""The alert events of the first release, on the tables of alerting. To be removed with Store.alerts and add_alert."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import AlertEvent
from cogmeter_storage.sqlite import alert_rows

if TYPE_CHECKING:
    import sqlite3


def add(raw: sqlite3.Connection, event: AlertEvent) -> int:
    """Store the event as an alert that has come and gone, and return its id; one transaction."""
    alert = Alert(
        uid=secrets.token_hex(16),
        rule=event.rule,
        service=event.service,
        operation="",
        state=AlertState.RESOLVED,
        severity=event.severity,
        message=event.message,
        threshold=event.threshold,
        current=event.current,
        worst=event.current,
        started_us=event.at_us,
        seen_us=event.at_us,
        changed_us=event.at_us,
        fired_us=event.at_us,
        resolved_us=event.at_us,
    )
    measured = (event.severity, event.message, event.current, event.threshold, event.at_us)
    change = AlertChange(alert.uid, "fired", AlertState(event.state), *measured)
    return alert_rows.save(raw, [Step(alert, change)])[0].id


def newest(raw: sqlite3.Connection, since_us: int, limit: int) -> list[AlertEvent]:
    """See Store.alerts."""
    rows = raw.execute(
        "SELECT rule, service, alert_change.severity, alert_change.message, alert_change.threshold,"
        " alert_change.current, at_us, alert_change.state, alert.id"
        " FROM alert_change JOIN alert ON alert.id = alert_change.alert WHERE at_us >= ? AND kind = 'fired'"
        " ORDER BY at_us DESC, alert_change.id DESC LIMIT ?",
        (since_us, limit),
    )
    return [AlertEvent(*row) for row in rows]
