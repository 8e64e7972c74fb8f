"""Moves rows with future times out of the way: they were recorded while the clock was ahead.

Operations, slots, usage, samples, traces and markers go to the table ``set_apart`` as INSERT statements that would
restore them. Times of alerts, of errors and of their records become the present. Each correction, and each series of
operations whose end times were moved forward, is a row of ``clock_step``; a clean-up removes both by age.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cogmeter_storage.clock import AHEAD_US, format_time
from cogmeter_storage.model import DAY_US, HOUR_US, LAST_US, ClockSteps, Tier
from cogmeter_storage.sql.errors import move_future_counts
from cogmeter_storage.sqlite.connection import transaction
from cogmeter_storage.sqlite.damage import columns, insert_statement
from cogmeter_storage.sqlite.operation_rows import first_id_from

if TYPE_CHECKING:
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.session import SqliteSession

_CHUNK_ROWS: Final = 5_000
# Tables that may have future rows without a future operation; each is small or has an index on at_us.
_TABLES_AT_US: Final = ("trace", "marker", "audit", "alert_change", "attempt", "usage_part", "usage_last")
_TABLES_WITH_TIMES: Final = (
    *("alert", "alert_change", "delivery", "attempt", "audit", "threshold_override"),
    *("error_group", "error_example", "usage_part", "usage_last"),
)

_logger = logging.getLogger("cogmeter.storage")


def move_future_rows(raw: SqliteSession, damage: DamageLog, now_us: int) -> None:
    """Move future rows to ``set_apart`` in several transactions, after has_future_rows() returned True.

    A ``WritePosition`` from before is invalid afterwards. After an interruption, the next call continues.
    """
    step = _add_clock_step(raw, now_us)
    with transaction(raw):
        _move_slots(raw, damage, step, now_us)
        for table in ("trace", "marker", "sample"):
            _move(raw, step, table, "at_us > ?", (now_us,), now_us=now_us, time_column="at_us")
        _move_usage(raw, step, now_us)
        _correct_times(raw, now_us)
    first_id = first_id_from(raw, now_us + 1)
    (last_id,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    # Newest first, so that the remaining rows are in order after an interruption.
    for low in range(last_id - _CHUNK_ROWS + 1, first_id - _CHUNK_ROWS, -_CHUNK_ROWS):
        where = "id BETWEEN ? AND ? AND end_us > ?"
        bounds = (max(low, first_id), low + _CHUNK_ROWS - 1, now_us)
        with transaction(raw):
            _move(raw, step, "operation", where, bounds, now_us=now_us, time_column="end_us")
    _log_result(raw, step)


def count_clamped(raw: SqliteSession, count: int, now_us: int) -> None:
    """Count operations whose end times were moved forward, in the caller's transaction: one row per hour."""
    added = raw.execute(
        "UPDATE clock_step SET clamped = clamped + ? WHERE id = (SELECT max(id) FROM clock_step)"
        " AND clamped > 0 AND at_us BETWEEN ? AND ?",
        (count, now_us - HOUR_US, now_us),
    )
    if not added.rowcount:
        raw.execute("INSERT INTO clock_step (at_us, clamped) VALUES (?, ?)", (now_us, count))


def clock_steps(raw: SqliteSession) -> ClockSteps:
    """Return the effect of clock steps on stored data, as far as it has not been cleaned up."""
    row = raw.execute(
        "SELECT total(clamped), total(operations), total(others), min(first_us), max(last_us) FROM clock_step"
    ).fetchone()
    clamped, operations, others, first_us, last_us = row
    return ClockSteps(int(clamped), int(operations), int(others), first_us, last_us)


def has_future_rows(raw: SqliteSession, now_us: int) -> bool:
    """Return True if a row is more than AHEAD_US in the future. Only the ends of tables and indexes are read."""
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
    error = "SELECT EXISTS (SELECT 1 FROM error_group WHERE last_us BETWEEN ? AND ?)"
    hours = [
        f"SELECT EXISTS (SELECT 1 FROM {table} WHERE start_us BETWEEN ? AND ?)"  # noqa: S608 - names of our tables
        for table in ("usage_count", "cost")
    ]
    others = [f"SELECT EXISTS (SELECT 1 FROM {table} WHERE at_us BETWEEN ? AND ?)" for table in _TABLES_AT_US]  # noqa: S608 - names of our tables
    return any(
        raw.execute(query, (ahead_us, LAST_US)).fetchone()[0] for query in (sample, mute, error, *hours, *others)
    )


def _add_clock_step(raw: SqliteSession, now_us: int) -> int:
    """Return the id of the row that counts the rows set apart now."""
    with transaction(raw):
        return raw.execute("INSERT INTO clock_step (at_us) VALUES (?)", (now_us,)).lastrowid or 0


def _move_slots(raw: SqliteSession, damage: DamageLog, step: int, now_us: int) -> None:
    """Move the slots that begin in the future, and those of the present, which are then rebuilt."""
    _move(raw, step, "slot", "start_us > ?", (now_us,), now_us=now_us, time_column="start_us")
    present = [(tier, now_us // tier.width_us * tier.width_us) for tier in Tier]
    for key in [key for key in present if _has_finer(raw, *key)]:
        _move(raw, step, "slot", "tier = ? AND start_us = ?", key, now_us=now_us, time_column="start_us")
    for tier, start_us in damage.unrepaired_slots():
        if start_us > now_us:
            damage.note_removed_slot(tier, start_us)


def _move_usage(raw: SqliteSession, step: int, now_us: int) -> None:
    """Move usage and costs of hours in the future, and the present day's slot, which is folded again from its hours."""
    for table in ("usage_slot", "usage_part", "usage_count", "cost"):
        _move(raw, step, table, "start_us > ?", (now_us,), now_us=now_us, time_column="start_us")
    today_us = now_us // DAY_US * DAY_US
    find = "SELECT EXISTS (SELECT 1 FROM usage_slot WHERE tier = ? AND start_us BETWEEN ? AND ?)"
    if raw.execute(find, (Tier.HOUR, today_us, now_us)).fetchone()[0]:
        where = "tier = ? AND start_us = ?"
        _move(raw, step, "usage_slot", where, (Tier.DAY, today_us), now_us=now_us, time_column="start_us")


def _has_finer(raw: SqliteSession, tier: Tier, start_us: int) -> bool:
    """Return True if finer data exists from which the slot can be rebuilt."""
    until_us = start_us + tier.width_us
    find = "SELECT EXISTS (SELECT 1 FROM slot WHERE tier < ? AND start_us >= ? AND start_us < ?)"
    if raw.execute(find, (tier, start_us, until_us)).fetchone()[0]:
        return True
    first_id = first_id_from(raw, start_us)
    find = "SELECT EXISTS (SELECT 1 FROM operation WHERE id = ? AND end_us < ?)"
    return bool(raw.execute(find, (first_id, until_us)).fetchone()[0])


def _move(
    raw: SqliteSession,
    step: int,
    table: str,
    where: str,
    values: tuple[object, ...],
    *,
    now_us: int,
    time_column: str,
) -> None:
    """Move rows to the table ``set_apart`` and count them, in the caller's transaction."""
    raw.execute(
        "INSERT INTO set_apart (step, at_us, kind, time_us, statement)"  # noqa: S608 - names of our tables and columns
        f" SELECT ?, ?, '{table}', {time_column}, {insert_statement(table)} FROM {table} WHERE {where}",
        (step, now_us, *values),
    )
    count_rows = f"SELECT count(*), min({time_column}), max({time_column}) FROM {table} WHERE {where}"  # noqa: S608 - names of our tables and columns
    count, first_us, last_us = raw.execute(count_rows, values).fetchone()
    if not count:
        return
    raw.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608 - names of our tables and columns
    if table.startswith(("slot", "usage_", "cost")):
        return  # only recorded data is counted, not aggregates of it
    counter = "operations" if table == "operation" else "others"
    raw.execute(
        f"UPDATE clock_step SET {counter} = {counter} + ?1, first_us = min(ifnull(first_us, ?2), ?2),"  # noqa: S608 - one of the two words above
        " last_us = max(ifnull(last_us, ?3), ?3) WHERE id = ?4",
        (count, first_us, last_us, step),
    )


def _correct_times(raw: SqliteSession, now_us: int) -> None:
    """Set future times of alerts, deliveries, errors and mutes to the present; a mute keeps its length."""
    ahead_us = now_us + AHEAD_US
    raw.execute(
        "UPDATE mute SET until_us = ?1 + until_us - since_us, since_us = ?1 WHERE since_us BETWEEN ?2 AND ?3",
        (now_us, ahead_us, LAST_US),
    )
    for table in _TABLES_WITH_TIMES:
        for column in columns(table):
            if column.endswith("_us") and column not in ("muted_until_us", "took_us"):
                change = f"UPDATE {table} SET {column} = ? WHERE {column} BETWEEN ? AND ?"  # noqa: S608 - names of our tables and columns
                raw.execute(change, (now_us, ahead_us, LAST_US))
    move_future_counts(raw, ahead_us, now_us)


def _log_result(raw: SqliteSession, step: int) -> None:
    find = "SELECT operations, others, first_us, last_us FROM clock_step WHERE id = ?"
    operations, others, first_us, last_us = raw.execute(find, (step,)).fetchone()
    _logger.warning(
        "Set apart %d operations and %d other records%s: they were recorded while the clock was ahead. They are kept in"
        " the table set_apart",
        operations,
        others,
        f" from {format_time(first_us)} to {format_time(last_us)}" if first_us is not None else "",
    )
