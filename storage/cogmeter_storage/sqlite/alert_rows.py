"""Keeps alerts and what happened to them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from cogmeter_storage.alerting import Alert, AlertChange, AlertState, AuditEntry
from cogmeter_storage.sqlite import audit
from cogmeter_storage.sqlite.rows import snapshot, transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from cogmeter_storage.alerting import Step

_DELETE_ALERTS = 200  # each with some ten changes, deliveries and attempts

# The fields of the record and the columns of the table, in one order; only "group" is no name for a column.
_FIELDS = tuple(one.name for one in dataclasses.fields(Alert))
_COLUMNS = tuple("group_uid" if name == "group" else name for name in _FIELDS)
ALERT_COLUMNS = ", ".join(f"alert.{name}" for name in _COLUMNS)
_WRITTEN = tuple(name for name in _FIELDS if name != "id")
_INSERT = (
    f"INSERT INTO alert ({', '.join(name for name in _COLUMNS if name != 'id')})"  # noqa: S608 - the record's own names
    f" VALUES ({', '.join('?' * len(_WRITTEN))})"
)
_UPDATE = f"UPDATE alert SET {', '.join(f'{name} = ?' for name in _COLUMNS if name != 'id')} WHERE id = ?"  # noqa: S608 - the record's own names

CHANGE_COLUMNS = (
    "alert.uid, alert_change.kind, alert_change.state, alert_change.severity, alert_change.message,"
    " alert_change.current, alert_change.threshold, alert_change.at_us, alert_change.actor, alert_change.note,"
    " alert_change.id"
)
CHANGE_WIDTH = len(dataclasses.fields(AlertChange))


def check(steps: Sequence[Step]) -> None:
    """Refuse what cannot be stored, before anything is.

    Raises:
        ValueError: a change of another alert, targets without a change, or a figure that is no number.
    """
    for step in steps:
        alert, change = step.alert, step.change
        if change is None and step.targets:
            raise ValueError(f"alert {alert.uid}: without a change there is nothing to tell {step.targets}")
        if change is not None and change.alert != alert.uid:
            raise ValueError(f"alert {alert.uid}: the change is one of alert {change.alert}")
        figures = (alert.threshold, alert.current, alert.worst, *((change.threshold, change.current) if change else ()))
        if any(math.isnan(figure) for figure in figures):
            raise ValueError(f"alert {alert.uid}: a figure is not a number")


def save(raw: sqlite3.Connection, steps: Sequence[Step]) -> list[Alert]:
    """See AlertStore.save; one transaction."""
    with transaction(raw):
        return [_save(raw, step) for step in steps]


def _save(raw: sqlite3.Connection, step: Step) -> Alert:
    known = raw.execute("SELECT id, version, state FROM alert WHERE uid = ?", (step.alert.uid,)).fetchone()
    number, version, state = known or (0, 0, "")
    version += step.change is not None
    alert = dataclasses.replace(step.alert, id=number, version=version)
    values = [getattr(alert, name) for name in _WRITTEN]
    if known:
        raw.execute(_UPDATE, (*values, number))
    else:
        alert = dataclasses.replace(alert, id=raw.execute(_INSERT, values).lastrowid or 0)
    if step.change is not None:
        _add_change(raw, alert, step.change, step.targets, state)
    return alert


def _add_change(
    raw: sqlite3.Connection, alert: Alert, change: AlertChange, targets: Sequence[str], before: str
) -> None:
    values = [getattr(change, one.name) for one in dataclasses.fields(change)][1:-1]
    added = raw.execute(
        "INSERT INTO alert_change (alert, kind, state, severity, message, current, threshold, at_us, actor, note)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (alert.id, *values),
    ).lastrowid
    raw.executemany(
        "INSERT INTO delivery (alert, change, target, state, attempts, due_us) VALUES (?, ?, ?, 'waiting', 0, ?)",
        [(alert.id, added, target, change.at_us) for target in dict.fromkeys(targets)],
    )
    if change.kind == "acknowledged":
        subject = audit.subject(alert.rule, alert.service, alert.operation)
        audit.add(raw, AuditEntry(change.at_us, change.actor, "acknowledge", subject, before, f"alert {alert.id}"))


def drop(raw: sqlite3.Connection, uids: Collection[str]) -> None:
    """See AlertStore.drop; one transaction."""
    find = "SELECT id FROM alert WHERE uid = ? AND fired_us IS NULL"
    with transaction(raw):
        _delete(raw, [row for uid in uids for row in raw.execute(find, (uid,)).fetchall()])


def delete(raw: sqlite3.Connection, cut_us: int) -> int:
    """Delete a few alerts that were resolved before the cut and of which nobody is yet to be told; 0 without any."""
    with transaction(raw):
        found = raw.execute(
            "SELECT id FROM alert WHERE state = 'resolved' AND changed_us < ? AND NOT EXISTS"
            " (SELECT 1 FROM delivery WHERE delivery.alert = alert.id AND delivery.state = 'waiting')"
            " ORDER BY changed_us LIMIT ?",
            (cut_us, _DELETE_ALERTS),
        ).fetchall()
        _delete(raw, found)
    return len(found)


def _delete(raw: sqlite3.Connection, rows: Sequence[tuple[int]]) -> None:
    for table in ("attempt", "receipt", "delivery", "alert_change"):
        raw.executemany(f"DELETE FROM {table} WHERE alert = ?", rows)  # noqa: S608 - one of the names above
    raw.executemany("DELETE FROM alert WHERE id = ?", rows)


def alerts(
    raw: sqlite3.Connection,
    states: Sequence[str],
    *,
    since_us: int,
    service: str | None,
    group: str | None,
    limit: int,
    offset: int,
) -> list[Alert]:
    """See AlertStore.alerts."""
    rows = raw.execute(
        f"SELECT {ALERT_COLUMNS} FROM alert WHERE state IN ({', '.join('?' * len(states))}) AND changed_us >= ?"  # noqa: S608 - the columns and question marks are ours
        f" AND {sound('alert')} AND ifnull(service = ?, 1) AND ifnull(group_uid = ?, 1)"
        " ORDER BY changed_us DESC, id DESC LIMIT ? OFFSET ?",
        (*states, since_us, service, group, max(limit, 0), max(offset, 0)),  # below 0, SQLite knows no limit
    )
    return [alert_of(row) for row in rows]


def alert(raw: sqlite3.Connection, uid: str) -> Alert | None:
    """See AlertStore.alert."""
    row = raw.execute(f"SELECT {ALERT_COLUMNS} FROM alert WHERE uid = ? AND {sound('alert')}", (uid,)).fetchone()  # noqa: S608 - the columns are ours
    return None if row is None else alert_of(row)


def changes(raw: sqlite3.Connection, uid: str | None, since_us: int, limit: int) -> list[AlertChange]:
    """See AlertStore.changes."""
    of_one = "" if uid is None else " AND alert_change.alert = ?"
    with snapshot(raw):
        known = () if uid is None else raw.execute("SELECT id FROM alert WHERE uid = ?", (uid,)).fetchone()
        if known is None:
            return []
        rows = raw.execute(
            f"SELECT {CHANGE_COLUMNS} FROM alert_change JOIN alert ON alert.id = alert_change.alert"  # noqa: S608 - the columns are ours
            f" WHERE at_us >= ?{of_one} AND {sound('alert_change')} ORDER BY at_us DESC, alert_change.id DESC LIMIT ?",
            (since_us, *known, max(limit, 0)),
        )
        return [change_of(row) for row in rows]


def alert_of(row: Sequence[Any]) -> Alert:
    """Return the record of a row of ALERT_COLUMNS that is sound."""
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    values["state"] = AlertState(values["state"])
    values |= {name: bool(values[name]) for name in ("escalated", "flapping")}
    return Alert(**values)


def change_of(row: Sequence[Any]) -> AlertChange:
    """Return the record of a row of CHANGE_COLUMNS that is sound."""
    uid, kind, state, *others = row
    return AlertChange(uid, kind, AlertState(state), *others)
