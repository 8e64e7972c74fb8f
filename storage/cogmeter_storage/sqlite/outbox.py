"""Keeps what is on its way to whom: deliveries that wait, the attempts at them, and what the targets gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter_storage.alerting import Attempt, Delivery
from cogmeter_storage.base import StorageError
from cogmeter_storage.sqlite.alert_rows import ALERT_COLUMNS, CHANGE_COLUMNS, CHANGE_WIDTH, alert_of, change_of
from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

_ENDS = ("sent", "failed", "superseded")
_DELIVERY_COLUMNS = "delivery.id, delivery.target, delivery.attempts, delivery.due_us, delivery.begun_us"
# "state = 'waiting'" stands in each query, for only then may the index of the waiting ones answer it. Left to itself,
# SQLite would rather walk through all that was ever sent in order of the ids.
_WAITING = "delivery INDEXED BY delivery_waiting"
_OTHER = (
    "SELECT 1 FROM delivery AS other"
    " WHERE other.state = 'waiting' AND other.alert = delivery.alert AND other.target = delivery.target AND other.id"
)
_FIRST = f"delivery.state = 'waiting' AND (?1 IS NULL OR delivery.target = ?1) AND NOT EXISTS ({_OTHER} < delivery.id)"


def _joined(columns: str) -> str:
    """Return the query for deliveries that can be tried, each the first of its alert and target, with sound rows."""
    conditions = " AND ".join(map(sound, ("delivery", "alert_change", "alert")))
    return (
        f"SELECT {columns} FROM {_WAITING}"  # noqa: S608 - the texts above
        " JOIN alert_change ON alert_change.id = delivery.change JOIN alert ON alert.id = delivery.alert"
        " LEFT JOIN receipt ON receipt.alert = delivery.alert AND receipt.target = delivery.target"
        f" WHERE {_FIRST} AND {conditions}"
    )


def due(raw: sqlite3.Connection, now_us: int, target: str | None, limit: int) -> list[Delivery]:
    """See AlertStore.due."""
    columns = f"{_DELIVERY_COLUMNS}, receipt.value, EXISTS ({_OTHER} > delivery.id), {CHANGE_COLUMNS}, {ALERT_COLUMNS}"
    statement = f"{_joined(columns)} AND delivery.due_us <= ?2 ORDER BY delivery.id LIMIT ?3"
    return [_delivery(row) for row in raw.execute(statement, (target, now_us, max(limit, 0)))]


def _delivery(row: Sequence[Any]) -> Delivery:
    number, target, attempts, due_us, begun_us, given, superseded, *others = row
    change, alert = change_of(others[:CHANGE_WIDTH]), alert_of(others[CHANGE_WIDTH:])
    return Delivery(number, target, change, alert, attempts, due_us, begun_us, given, bool(superseded))


def next_due_us(raw: sqlite3.Connection, target: str | None) -> int | None:
    """See AlertStore.next_due_us."""
    (first,) = raw.execute(_joined("min(delivery.due_us)"), (target,)).fetchone()
    return None if first is None else int(first)


def end_damaged(raw: sqlite3.Connection, now_us: int) -> int:
    """Give up deliveries whose alert or change is gone, which would block what waits behind them; returns how many."""
    return raw.execute(
        "UPDATE delivery SET state = 'failed', ended_us = ? WHERE state = 'waiting' AND NOT ("
        "EXISTS (SELECT 1 FROM alert WHERE alert.id = delivery.alert)"
        " AND EXISTS (SELECT 1 FROM alert_change WHERE alert_change.id = delivery.change))",
        (now_us,),
    ).rowcount


def begin(raw: sqlite3.Connection, delivery: int, now_us: int) -> None:
    """See AlertStore.begin; one transaction."""
    with transaction(raw):
        _waiting(raw, delivery)
        raw.execute("UPDATE delivery SET begun_us = ?, attempts = attempts + 1 WHERE id = ?", (now_us, delivery))


def check_end(outcome: str, due_us: int | None) -> None:
    """Refuse an end that is none.

    Raises:
        ValueError: another outcome than the four, or a retry without the time of the next attempt.
    """
    if outcome not in (*_ENDS, "retry"):
        raise ValueError(f"outcome {outcome!r}: expected {', '.join(_ENDS)} or retry")
    if outcome == "retry" and due_us is None:
        raise ValueError("a retry needs due_us, the time of the next attempt")


def end(
    raw: sqlite3.Connection,
    delivery: int,
    *,
    outcome: str,
    now_us: int,
    error: str,
    due_us: int | None,
    receipt: str | None,
) -> None:
    """See AlertStore.end; one transaction."""
    with transaction(raw):
        alert, target, begun_us = _waiting(raw, delivery)
        at_us = now_us if begun_us is None else begun_us
        raw.execute(
            "INSERT INTO attempt (delivery, alert, target, at_us, took_us, outcome, error)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (delivery, alert, target, at_us, max(now_us - at_us, 0), outcome, error),
        )
        if receipt is not None:
            raw.execute(
                "INSERT OR REPLACE INTO receipt (alert, target, value) VALUES (?, ?, ?)", (alert, target, receipt)
            )
        if outcome == "retry":
            raw.execute("UPDATE delivery SET begun_us = NULL, due_us = ? WHERE id = ?", (due_us, delivery))
        else:
            raw.execute("UPDATE delivery SET state = ?, ended_us = ? WHERE id = ?", (outcome, now_us, delivery))


def _waiting(raw: sqlite3.Connection, delivery: int) -> tuple[int, str, int | None]:
    """Alert, target and begin of a delivery that waits."""
    find = "SELECT alert, target, begun_us FROM delivery WHERE id = ? AND state = 'waiting'"
    row: tuple[int, str, int | None] | None = raw.execute(find, (delivery,)).fetchone()
    if row is None:
        raise StorageError(f"Delivery {delivery} does not wait: it has ended, or its alert is gone.", permanent=True)
    return row


def receipt(raw: sqlite3.Connection, alert: str, target: str) -> str | None:
    """See AlertStore.receipt."""
    row = raw.execute(
        "SELECT value FROM receipt WHERE alert = (SELECT id FROM alert WHERE uid = ?) AND target = ?", (alert, target)
    ).fetchone()
    return None if row is None else str(row[0])


def attempts(raw: sqlite3.Connection, alert: str | None, limit: int) -> list[Attempt]:
    """See AlertStore.attempts."""
    of_one = "" if alert is None else " AND alert.uid = ?"
    rows = raw.execute(
        "SELECT delivery, target, alert.uid, at_us, took_us, outcome, error"  # noqa: S608 - one of the two texts above
        f" FROM attempt JOIN alert ON alert.id = attempt.alert WHERE {sound('attempt')}{of_one}"
        " ORDER BY attempt.id DESC LIMIT ?",
        (*(() if alert is None else (alert,)), max(limit, 0)),
    )
    return [Attempt(*row) for row in rows]
