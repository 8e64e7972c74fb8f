"""Reads raw operations as columns, and finds operations by time through bisection on their ids."""

from __future__ import annotations

import bisect
import itertools
import operator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter_storage.model import LAST_US, LONGEST_US, Outcome
from cogmeter_storage.rollup import Columns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from cogmeter_storage.sqlite.damage import DamageLog

MAX_ID: Final = 2**63 - 1
_CHUNK_ROWS = 1000  # converted by one C call, which holds the GIL
_MOST_SERIES: Final = 2**40  # limit of a series id


def read_columns(raw: sqlite3.Connection, damage: DamageLog, after_id: int, last_id: int = MAX_ID) -> Iterator[Columns]:
    """Yield the operations with ids in (after_id, last_id] as columns, in small chunks, without damaged rows."""
    rows = raw.execute(
        "SELECT id, end_us, series, duration_us, outcome FROM operation WHERE id > ? AND id <= ? ORDER BY id",
        (after_id, last_id),
    )
    while chunk := rows.fetchmany(_CHUNK_ROWS):
        yield _columns(chunk, damage)


def unsealed_columns(raw: sqlite3.Connection, damage: DamageLog, after_id: int, *, since_us: int) -> Iterator[Columns]:
    """Yield the operations after this id, which are in no slot yet, in order of id and end time.

    A row out of this order, or before ``since_us``, is damaged: it would overwrite a sealed minute, or move the end
    times of all later rows.
    """
    wrong = raw.execute(
        "SELECT EXISTS (SELECT 1 FROM operation WHERE id > ?1 AND end_us NOT BETWEEN ?2 AND ?3) OR EXISTS (SELECT 1"
        " FROM operation AS earlier JOIN operation AS later ON later.id = earlier.id + 1"
        " WHERE earlier.id > ?1 AND earlier.end_us > later.end_us)",
        (after_id, since_us, LAST_US),
    )
    if not wrong.fetchone()[0]:
        yield from read_columns(raw, damage, after_id)
        return
    in_order = _in_order(
        raw.execute(
            "SELECT id, end_us FROM operation WHERE id > ? AND end_us BETWEEN ? AND ? AND typeof(end_us) = 'integer'"
            " ORDER BY id",
            (after_id, since_us, LAST_US),
        ).fetchall()
    )
    for columns in read_columns(raw, damage, after_id):
        inside = np.isin(columns.id, in_order)
        for number in columns.id[~inside].tolist():
            damage.note_row("operation", number, "its end time is out of order")
        yield columns.where(inside)


def _columns(chunk: Sequence[tuple[Any, ...]], damage: DamageLog) -> Columns:
    columns = [np.array(column) for column in zip(*chunk, strict=True)]
    if any(column.dtype != np.int64 for column in columns):
        sound = [all(type(value) is int for value in row) for row in chunk]
        for row in itertools.compress(chunk, map(operator.not_, sound)):
            damage.note_row("operation", row[0], "a value is not a whole number")
        sound_rows = [*itertools.compress(chunk, sound)]
        columns = [*np.array(sound_rows, dtype=np.int64).reshape(-1, 5).T]
    rows = Columns(*columns)
    fine = (rows.outcome >= 0) & (rows.outcome < len(Outcome)) & (rows.series >= 1) & (rows.series < _MOST_SERIES)
    fine &= (rows.duration_us < LONGEST_US) & (np.abs(rows.end_us) <= LAST_US)
    if fine.all():
        return rows
    for number in rows.id[~fine].tolist():
        damage.note_row("operation", number, "an outcome, series, duration or time is impossible")
    return rows.where(fine)


def _in_order(rows: Sequence[tuple[int, int]]) -> list[int]:
    """Return the ids of the longest selection of (id, end time) rows in which end times never decrease."""
    ends: list[int] = []  # lowest last end time of an ordered selection of each length
    at: list[int] = []  # position of the row with that end time
    before: list[int] = []  # for each row, the position of the previous one in its selection
    for place, (_, end_us) in enumerate(rows):
        length = bisect.bisect_right(ends, end_us)
        before.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [end_us]
        at[length : length + 1] = [place]
    ids, place = [], at[-1] if at else -1
    while place >= 0:
        ids.append(rows[place][0])
        place = before[place]
    return ids[::-1]


def first_id_from(raw: sqlite3.Connection, at_us: int) -> int:
    """Return the id of the first operation that ended at this time or later, or one beyond the last.

    It tolerates gaps, and rows whose end time is damaged.
    """
    # Two queries: in one query SQLite would read every row.
    (low,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    (high,) = raw.execute("SELECT ifnull(max(id), 0) + 1 FROM operation").fetchone()
    find = (
        f"SELECT id, end_us FROM operation WHERE id >= ? AND end_us BETWEEN {-LAST_US} AND {LAST_US}"  # noqa: S608 - constants
        " ORDER BY id LIMIT 3"
    )
    while low < high:
        probe = (low + high) // 2
        number, end_us = _probed(raw.execute(find, (probe - 1,)).fetchall(), probe)
        low, high = (number + 1, high) if end_us < at_us else (low, probe)
    return int(low)


def _probed(rows: list[tuple[int, int]], probe: int) -> tuple[int, int]:
    """Return id and end time of the first row from ``probe`` on, of three rows that start with the one before it.

    A row whose end time is not between those of its neighbours is skipped: it is no evidence about the others.
    """
    before = rows.pop(0) if rows and rows[0][0] < probe else None
    if not rows:
        return probe, LAST_US
    if before is not None and len(rows) > 1 and before[1] <= rows[1][1] and not before[1] <= rows[0][1] <= rows[1][1]:
        return rows[1]
    return rows[0]
