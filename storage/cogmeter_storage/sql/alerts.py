"""SQL for alerts, their changes, and the outbox: waiting deliveries, attempts and receipts."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Attempt, AuditEntry, Delivery, Revision
from cogmeter_storage.base import StorageError
from cogmeter_storage.lease import ChangedAlertError, LostLeadError
from cogmeter_storage.sql.mutes_and_overrides import add_entry, subject
from cogmeter_storage.sql.session import marks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cogmeter_storage.alerting import Step
    from cogmeter_storage.sql.session import Session

_DELETE_ALERTS = 200  # each with about ten changes, deliveries and attempts

# Fields of the record and columns of the table in the same order; "group" is a keyword of SQL.
_FIELDS = tuple(field.name for field in dataclasses.fields(Alert))
_COLUMNS = tuple("group_uid" if name == "group" else name for name in _FIELDS)
ALERT_COLUMNS = ", ".join(f"alert.{name}" for name in _COLUMNS)
_WRITTEN = tuple(name for name in _FIELDS if name != "id")
_INSERT = (
    f"INSERT INTO alert ({', '.join(name for name in _COLUMNS if name != 'id')})"  # noqa: S608 - the record's own names
    f" VALUES ({', '.join('?' * len(_WRITTEN))}) RETURNING id"
)
_UPDATE = f"UPDATE alert SET {', '.join(f'{name} = ?' for name in _COLUMNS if name != 'id')} WHERE id = ?"  # noqa: S608 - the record's own names

CHANGE_COLUMNS = (
    "alert.uid, alert_change.kind, alert_change.state, alert_change.severity, alert_change.message,"
    " alert_change.current, alert_change.threshold, alert_change.at_us, alert_change.actor, alert_change.note,"
    " alert_change.id"
)
CHANGE_WIDTH = len(dataclasses.fields(AlertChange))
_FINAL_OUTCOMES = ("sent", "failed", "superseded")
_DELIVERY_COLUMNS = "delivery.id, delivery.target, delivery.attempts, delivery.due_us, delivery.begun_us"
# Each query contains "state = 'waiting'", because only then can SQLite use the partial index.
_SAME_PAIR = (
    "SELECT 1 FROM delivery AS other"
    " WHERE other.state = 'waiting' AND other.alert = delivery.alert AND other.target = delivery.target AND other.id"
)
_FIRST_OF_PAIR = (
    f"delivery.state = 'waiting' AND (?1 IS NULL OR delivery.target = ?1) AND NOT EXISTS ({_SAME_PAIR} < delivery.id)"
)


def check_steps(steps: Sequence[Step]) -> None:
    """Refuse steps that cannot be stored, before anything is.

    Raises:
        ValueError: a change of another alert, targets without a change, or a value that is not a number.
    """
    for step in steps:
        alert, change = step.alert, step.change
        if change is None and step.targets:
            raise ValueError(f"alert {alert.uid}: without a change there is nothing to send to {step.targets}")
        if change is not None and change.alert != alert.uid:
            raise ValueError(f"alert {alert.uid}: the change is one of alert {change.alert}")
        figures = (alert.threshold, alert.current, alert.worst, *((change.threshold, change.current) if change else ()))
        if any(math.isnan(figure) for figure in figures):
            raise ValueError(f"alert {alert.uid}: a value is not a number")


def save_steps(raw: Session, steps: Sequence[Step], token: int | None, *, exact: bool) -> list[Alert]:
    """Implement AlertStore.save; one transaction."""
    with raw.transaction("alerts"):
        _check_token(raw, token)
        return [_save(raw, step, exact=exact) for step in steps]


def _check_token(raw: Session, token: int | None) -> None:
    """Refuse the caller's transaction if another process leads by now; no other one takes over before its commit.

    There are tokens only where processes share the store.

    Raises:
        LostLeadError: the token is not that of the lease.
    """
    if token is not None:
        found = raw.execute("SELECT token FROM lease WHERE name = 'leader' FOR SHARE").fetchone()
        if found is None or found[0] != token:
            raise LostLeadError


def _save(raw: Session, step: Step, *, exact: bool) -> Alert:
    known = raw.execute("SELECT id, version, state FROM alert WHERE uid = ?", (step.alert.uid,)).fetchone()
    number, version, state = known or (0, 0, "")
    if exact and known and version != step.alert.version:
        raise ChangedAlertError(step.alert.uid)
    version += step.change is not None
    alert = dataclasses.replace(step.alert, id=number, version=version)
    values = [getattr(alert, name) for name in _WRITTEN]
    if known:
        raw.execute(_UPDATE, (*values, number))
    else:
        alert = dataclasses.replace(alert, id=raw.execute(_INSERT, values).fetchone()[0])
    if step.change is not None:
        _add_change(raw, alert, step.change, step.targets, state)
    return alert


def _add_change(raw: Session, alert: Alert, change: AlertChange, targets: Sequence[str], before: str) -> None:
    values = [getattr(change, field.name) for field in dataclasses.fields(change)][1:-1]
    (added,) = raw.execute(
        "INSERT INTO alert_change (alert, kind, state, severity, message, current, threshold, at_us, actor, note)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (alert.id, *values),
    ).fetchone()
    raw.executemany(
        "INSERT INTO delivery (alert, change, target, state, attempts, due_us) VALUES (?, ?, ?, 'waiting', 0, ?)",
        [(alert.id, added, target, change.at_us) for target in dict.fromkeys(targets)],
    )
    if change.kind == "acknowledged":
        audit_subject = subject(alert.rule, alert.service, alert.operation)
        add_entry(
            raw, AuditEntry(change.at_us, change.actor, "acknowledge", audit_subject, before, f"alert {alert.id}")
        )


def delete_unfired(raw: Session, uids: Collection[str], token: int | None) -> None:
    """Implement AlertStore.delete_unfired; one transaction."""
    find = "SELECT id FROM alert WHERE uid = ? AND fired_us IS NULL"
    with raw.transaction("alerts"):
        _check_token(raw, token)
        _delete(raw, [row for uid in uids for row in raw.execute(find, (uid,)).fetchall()])


def delete_resolved(raw: Session, cut_us: int) -> int:
    """Delete a few alerts that were resolved before the cut and have no waiting delivery; return how many."""
    with raw.transaction("alerts"):
        rows = raw.execute(
            "SELECT id FROM alert WHERE state = 'resolved' AND changed_us < ? AND NOT EXISTS"
            " (SELECT 1 FROM delivery WHERE delivery.alert = alert.id AND delivery.state = 'waiting')"
            " ORDER BY changed_us LIMIT ?",
            (cut_us, _DELETE_ALERTS),
        ).fetchall()
        _delete(raw, rows)
    return len(rows)


def _delete(raw: Session, rows: Sequence[tuple[int]]) -> None:
    for table in ("attempt", "receipt", "delivery", "alert_change"):
        raw.executemany(f"DELETE FROM {table} WHERE alert = ?", rows)  # noqa: S608 - one of the names above
    raw.executemany("DELETE FROM alert WHERE id = ?", rows)


def read_alerts(
    raw: Session,
    states: Sequence[str],
    *,
    since_us: int,
    service: str | None,
    group: str | None,
    limit: int,
    offset: int,
) -> list[Alert]:
    """Implement AlertStore.alerts."""
    rows = raw.execute(
        f"SELECT {ALERT_COLUMNS} FROM alert WHERE state IN ({marks(states)}) AND changed_us >= ?"  # noqa: S608 - the columns and question marks are ours
        f" AND {raw.sound_rows('alert')} AND (? IS NULL OR service = ?) AND (? IS NULL OR group_uid = ?)"
        " ORDER BY started_us DESC, id DESC LIMIT ? OFFSET ?",
        (
            *states,
            since_us,
            service,
            service,
            group,
            group,
            max(limit, 0),
            max(offset, 0),
        ),  # a negative LIMIT means no limit
    )
    return [alert_of(row) for row in rows]


def read_alert(raw: Session, uid: str) -> Alert | None:
    """Implement AlertStore.alert."""
    find = f"SELECT {ALERT_COLUMNS} FROM alert WHERE uid = ? AND {raw.sound_rows('alert')}"  # noqa: S608 - the columns are ours
    row = raw.execute(find, (uid,)).fetchone()
    return None if row is None else alert_of(row)


def read_changes(raw: Session, uid: str | None, since_us: int, limit: int) -> list[AlertChange]:
    """Implement AlertStore.changes."""
    alert_condition = "" if uid is None else " AND alert_change.alert = ?"
    with raw.snapshot():
        known = () if uid is None else raw.execute("SELECT id FROM alert WHERE uid = ?", (uid,)).fetchone()
        if known is None:
            return []
        rows = raw.execute(
            f"SELECT {CHANGE_COLUMNS} FROM alert_change JOIN alert ON alert.id = alert_change.alert"  # noqa: S608 - the columns are ours
            f" WHERE at_us >= ?{alert_condition} AND {raw.sound_rows('alert_change')}"
            " ORDER BY at_us DESC, alert_change.id DESC LIMIT ?",
            (since_us, *known, max(limit, 0)),
        )
        return [change_of(row) for row in rows]


def alert_of(row: Sequence[Any]) -> Alert:
    """Return the record of a sound row of ALERT_COLUMNS."""
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    values["state"] = AlertState(values["state"])
    values |= {name: bool(values[name]) for name in ("escalated", "flapping")}
    return Alert(**values)


def change_of(row: Sequence[Any]) -> AlertChange:
    """Return the record of a sound row of CHANGE_COLUMNS."""
    uid, kind, state, *others = row
    return AlertChange(uid, kind, AlertState(state), *others)


def _due_query(raw: Session, columns: str) -> str:
    """Return the query for deliveries that can be sent, each the first of its alert and target, with sound rows."""
    conditions = " AND ".join(map(raw.sound_rows, ("delivery", "alert_change", "alert")))
    return (
        f"SELECT {columns} FROM {raw.indexed('delivery', 'delivery_waiting')}"  # noqa: S608 - the texts above
        " JOIN alert_change ON alert_change.id = delivery.change JOIN alert ON alert.id = delivery.alert"
        " LEFT JOIN receipt ON receipt.alert = delivery.alert AND receipt.target = delivery.target"
        f" WHERE {_FIRST_OF_PAIR} AND {conditions}"
    )


def due_deliveries(raw: Session, now_us: int, target: str | None, limit: int) -> list[Delivery]:
    """Implement AlertStore.due."""
    columns = (
        f"{_DELIVERY_COLUMNS}, receipt.value, EXISTS ({_SAME_PAIR} > delivery.id), {CHANGE_COLUMNS}, {ALERT_COLUMNS}"
    )
    statement = f"{_due_query(raw, columns)} AND delivery.due_us <= ?2 ORDER BY delivery.id LIMIT ?3"
    return [_delivery_of(row) for row in raw.execute(statement, (target, now_us, max(limit, 0)))]


def _delivery_of(row: Sequence[Any]) -> Delivery:
    number, target, attempts, due_us, begun_us, receipt, superseded, *others = row
    change, alert = change_of(others[:CHANGE_WIDTH]), alert_of(others[CHANGE_WIDTH:])
    return Delivery(number, target, change, alert, attempts, due_us, begun_us, receipt, bool(superseded))


def next_due_us(raw: Session, target: str | None) -> int | None:
    """Implement AlertStore.next_due_us."""
    (first,) = raw.execute(_due_query(raw, "min(delivery.due_us)"), (target,)).fetchone()
    return None if first is None else int(first)


def fail_damaged_deliveries(raw: Session, now_us: int) -> int:
    """Fail deliveries whose alert or change is gone, because they block the later ones; return how many."""
    return raw.execute(
        "UPDATE delivery SET state = 'failed', ended_us = ? WHERE state = 'waiting' AND NOT ("
        "EXISTS (SELECT 1 FROM alert WHERE alert.id = delivery.alert)"
        " AND EXISTS (SELECT 1 FROM alert_change WHERE alert_change.id = delivery.change))",
        (now_us,),
    ).rowcount


def begin_attempt(raw: Session, delivery: int, now_us: int, token: int | None) -> None:
    """Implement AlertStore.begin; one transaction."""
    with raw.transaction("alerts"):
        _check_token(raw, token)
        _waiting_delivery(raw, delivery)
        raw.execute("UPDATE delivery SET begun_us = ?, attempts = attempts + 1 WHERE id = ?", (now_us, delivery))


def check_attempt_end(outcome: str, due_us: int | None) -> None:
    """Refuse an invalid result of an attempt.

    Raises:
        ValueError: another outcome than the four, or a retry without the time of the next attempt.
    """
    if outcome not in (*_FINAL_OUTCOMES, "retry"):
        raise ValueError(f"outcome {outcome!r}: expected {', '.join(_FINAL_OUTCOMES)} or retry")
    if outcome == "retry" and due_us is None:
        raise ValueError("a retry needs due_us, the time of the next attempt")


def end_attempt(
    raw: Session,
    delivery: int,
    *,
    outcome: str,
    now_us: int,
    error: str,
    due_us: int | None,
    receipt: str | None,
) -> None:
    """Implement AlertStore.end; one transaction."""
    with raw.transaction("alerts"):
        alert, target, begun_us = _waiting_delivery(raw, delivery)
        at_us = now_us if begun_us is None else begun_us
        raw.execute(
            "INSERT INTO attempt (delivery, alert, target, at_us, took_us, outcome, error)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (delivery, alert, target, at_us, max(now_us - at_us, 0), outcome, error),
        )
        if receipt is not None:
            raw.execute(
                "INSERT INTO receipt (alert, target, value) VALUES (?, ?, ?)"
                " ON CONFLICT (alert, target) DO UPDATE SET value = excluded.value",
                (alert, target, receipt),
            )
        if outcome == "retry":
            raw.execute("UPDATE delivery SET begun_us = NULL, due_us = ? WHERE id = ?", (due_us, delivery))
        else:
            raw.execute("UPDATE delivery SET state = ?, ended_us = ? WHERE id = ?", (outcome, now_us, delivery))


def _waiting_delivery(raw: Session, delivery: int) -> tuple[int, str, int | None]:
    """Return alert, target and start of a waiting delivery."""
    find = "SELECT alert, target, begun_us FROM delivery WHERE id = ? AND state = 'waiting'"
    row: tuple[int, str, int | None] | None = raw.execute(find, (delivery,)).fetchone()
    if row is None:
        raise StorageError(
            f"Delivery {delivery} is not waiting: it has ended, or its alert was deleted.", permanent=True
        )
    return row


def read_revision(raw: Session) -> Revision:
    """Implement AlertStore.revision. Both tables are written in transactions of the area, one after the other."""
    row = raw.execute(
        "SELECT coalesce((SELECT max(id) FROM audit), 0), coalesce((SELECT max(id) FROM alert_change), 0)"
    ).fetchone()
    return Revision(*row)


def read_receipt(raw: Session, alert: str, target: str) -> str | None:
    """Implement AlertStore.receipt."""
    row = raw.execute(
        "SELECT value FROM receipt WHERE alert = (SELECT id FROM alert WHERE uid = ?) AND target = ?", (alert, target)
    ).fetchone()
    return None if row is None else str(row[0])


def read_attempts(raw: Session, alert: str | None, limit: int) -> list[Attempt]:
    """Implement AlertStore.attempts."""
    alert_condition = "" if alert is None else " AND alert.uid = ?"
    rows = raw.execute(
        "SELECT delivery, target, alert.uid, at_us, took_us, outcome, error"  # noqa: S608 - one of the two texts above
        f" FROM attempt JOIN alert ON alert.id = attempt.alert WHERE {raw.sound_rows('attempt')}{alert_condition}"
        " ORDER BY attempt.id DESC LIMIT ?",
        (*(() if alert is None else (alert,)), max(limit, 0)),
    )
    return [Attempt(*row) for row in rows]
