"""Moves what lies in the future out of the way: it was recorded while the clock was ahead.

Operations, slots, samples, traces and markers go into the table ``set_apart``, as the statements that would bring them
back. Times of alerts and of what belongs to them are brought back to the present. Each correction, and each stretch of
operations whose end times were moved forward, is a row of ``clock_step``; a clean-up removes both by its time.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cogmeter_storage.clock import AHEAD_US
from cogmeter_storage.model import HOUR_US, ClockSteps, Tier
from cogmeter_storage.sqlite.rows import first_id_from, transaction
from cogmeter_storage.sqlite.slots import insertion
from cogmeter_storage.sqlite.validity import LAST_US, columns

if TYPE_CHECKING:
    import sqlite3

    from cogmeter_storage.sqlite.damage import DamageLog

_CHUNK_ROWS: Final = 5_000
# What may lie in the future without any operation there, and is found by an index or is little.
_MARKS: Final = ("trace", "marker", "audit", "alert_change", "attempt")
_TIMED: Final = ("alert", "alert_change", "delivery", "attempt", "audit", "threshold_override")

_logger = logging.getLogger("cogmeter.storage")


def set_apart(raw: sqlite3.Connection, damage: DamageLog, now_us: int) -> None:
    """Set apart what lies in the future, in several transactions, after has_future() has found something.

    What ``rollup.Head`` says of the store does not hold afterwards. Called again, it goes on where it was cut off.
    """
    step = _begin(raw, now_us)
    with transaction(raw):
        _slots(raw, damage, step, now_us)
        for table in ("trace", "marker", "sample"):
            _move(raw, step, table, "at_us > ?", (now_us,), now_us=now_us, time="at_us")
        _times(raw, now_us)
    first_id = first_id_from(raw, now_us + 1)
    (last_id,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    # The newest first, so that what is left is in order of time whenever this is cut off.
    for low in range(last_id - _CHUNK_ROWS + 1, first_id - _CHUNK_ROWS, -_CHUNK_ROWS):
        where = "id BETWEEN ? AND ? AND end_us > ?"
        bounds = (max(low, first_id), low + _CHUNK_ROWS - 1, now_us)
        with transaction(raw):
            _move(raw, step, "operation", where, bounds, now_us=now_us, time="end_us")
    _report(raw, step)


def note_clamped(raw: sqlite3.Connection, count: int, now_us: int) -> None:
    """Count operations whose end times were moved forward, in the caller's transaction: one row for each hour."""
    added = raw.execute(
        "UPDATE clock_step SET clamped = clamped + ? WHERE id = (SELECT max(id) FROM clock_step)"
        " AND clamped > 0 AND at_us BETWEEN ? AND ?",
        (count, now_us - HOUR_US, now_us),
    )
    if not added.rowcount:
        raw.execute("INSERT INTO clock_step (at_us, clamped) VALUES (?, ?)", (now_us, count))


def steps(raw: sqlite3.Connection) -> ClockSteps:
    """Return what the clock's steps did to what is stored, as far as a clean-up has not forgotten it."""
    row = raw.execute(
        "SELECT total(clamped), total(operations), total(others), min(first_us), max(last_us) FROM clock_step"
    ).fetchone()
    clamped, operations, others, first_us, last_us = row
    return ClockSteps(int(clamped), int(operations), int(others), first_us, last_us)


def has_future(raw: sqlite3.Connection, now_us: int) -> bool:
    """Return whether anything lies more than AHEAD_US in the future, by a look at the ends of tables and indexes."""
    ahead_us = now_us + AHEAD_US
    newest = "SELECT end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id DESC LIMIT 1"
    row = raw.execute(newest).fetchone()
    if row is not None and ahead_us < row[0] <= LAST_US:
        return True
    slot = "SELECT EXISTS (SELECT 1 FROM slot WHERE tier = ? AND start_us BETWEEN ? AND ?)"
    if any(raw.execute(slot, (tier, ahead_us, LAST_US)).fetchone()[0] for tier in Tier):
        return True
    sample = (
        "SELECT EXISTS (SELECT 1 FROM metric WHERE EXISTS"
        " (SELECT 1 FROM sample WHERE metric = metric.id AND at_us BETWEEN ? AND ?))"
    )
    mute = "SELECT EXISTS (SELECT 1 FROM mute WHERE since_us BETWEEN ? AND ?)"
    marks = [f"SELECT EXISTS (SELECT 1 FROM {table} WHERE at_us BETWEEN ? AND ?)" for table in _MARKS]  # noqa: S608 - names of our tables
    return any(raw.execute(one, (ahead_us, LAST_US)).fetchone()[0] for one in (sample, mute, *marks))


def _begin(raw: sqlite3.Connection, now_us: int) -> int:
    """Return the number of the row that counts what is set apart now."""
    with transaction(raw):
        return raw.execute("INSERT INTO clock_step (at_us) VALUES (?)", (now_us,)).lastrowid or 0


def _slots(raw: sqlite3.Connection, damage: DamageLog, step: int, now_us: int) -> None:
    """Set apart the slots that begin in the future, and those that the present is in: they are written anew."""
    _move(raw, step, "slot", "start_us > ?", (now_us,), now_us=now_us, time="start_us")
    present = [(tier, now_us // tier.width_us * tier.width_us) for tier in Tier]
    for key in [key for key in present if _has_finer(raw, *key)]:
        _move(raw, step, "slot", "tier = ? AND start_us = ?", key, now_us=now_us, time="start_us")
    for tier, start_us in damage.waiting():
        if start_us > now_us:
            damage.removed(tier, start_us)


def _has_finer(raw: sqlite3.Connection, tier: Tier, start_us: int) -> bool:
    """Return whether there is something that the slot can be written from again."""
    until_us = start_us + tier.width_us
    find = "SELECT EXISTS (SELECT 1 FROM slot WHERE tier < ? AND start_us >= ? AND start_us < ?)"
    if raw.execute(find, (tier, start_us, until_us)).fetchone()[0]:
        return True
    first_id = first_id_from(raw, start_us)
    find = "SELECT EXISTS (SELECT 1 FROM operation WHERE id = ? AND end_us < ?)"
    return bool(raw.execute(find, (first_id, until_us)).fetchone()[0])


def _move(
    raw: sqlite3.Connection, step: int, table: str, where: str, values: tuple[object, ...], *, now_us: int, time: str
) -> None:
    """Move rows into the table ``set_apart``, and count them in their step; in the caller's transaction."""
    raw.execute(
        "INSERT INTO set_apart (step, at_us, kind, time_us, statement)"  # noqa: S608 - names of our tables and columns
        f" SELECT ?, ?, '{table}', {time}, {insertion(table)} FROM {table} WHERE {where}",
        (step, now_us, *values),
    )
    found = f"SELECT count(*), min({time}), max({time}) FROM {table} WHERE {where}"  # noqa: S608 - names of our tables and columns
    count, first_us, last_us = raw.execute(found, values).fetchone()
    if not count:
        return
    raw.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608 - names of our tables and columns
    if table == "slot":
        return  # what people recorded is counted, and not what was made of it
    counter = "operations" if table == "operation" else "others"
    raw.execute(
        f"UPDATE clock_step SET {counter} = {counter} + ?1, first_us = min(ifnull(first_us, ?2), ?2),"  # noqa: S608 - one of the two words above
        " last_us = max(ifnull(last_us, ?3), ?3) WHERE id = ?4",
        (count, first_us, last_us, step),
    )


def _times(raw: sqlite3.Connection, now_us: int) -> None:
    """Bring the times of alerts, deliveries and mutes back to the present; a mute keeps its length."""
    ahead_us = now_us + AHEAD_US
    raw.execute(
        "UPDATE mute SET until_us = ?1 + until_us - since_us, since_us = ?1 WHERE since_us BETWEEN ?2 AND ?3",
        (now_us, ahead_us, LAST_US),
    )
    for table in _TIMED:
        for column in columns(table):
            if column.endswith("_us") and column not in ("muted_until_us", "took_us"):
                change = f"UPDATE {table} SET {column} = ? WHERE {column} BETWEEN ? AND ?"  # noqa: S608 - names of our tables and columns
                raw.execute(change, (now_us, ahead_us, LAST_US))


def _report(raw: sqlite3.Connection, step: int) -> None:
    find = "SELECT operations, others, first_us, last_us FROM clock_step WHERE id = ?"
    operations, others, first_us, last_us = raw.execute(find, (step,)).fetchone()
    _logger.warning(
        "Set apart %d operations and %d other records%s: they were recorded while the clock was ahead. They are kept in"
        " the table set_apart",
        operations,
        others,
        f" from {_text(first_us)} to {_text(last_us)}" if first_us is not None else "",
    )


def _text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
