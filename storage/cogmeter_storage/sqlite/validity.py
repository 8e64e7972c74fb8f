"""SQL conditions for rows that hold what was written: columns of the right type, times that exist, known words.

SQLite keeps what it is given, whatever type a column was declared with; a damaged file can hold anything. Queries add
the condition of their table, so that LIMIT and OFFSET count sound rows alone.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import Final

from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import Outcome, Tier
from cogmeter_storage.schema import SQLITE_MIGRATIONS

LAST_US: Final = 253_402_300_799_999_999  # the end of the year 9999: later times cannot be shown
_STATES: Final = ", ".join(f"'{state.value}'" for state in AlertState)
_WIDTHS: Final = " ".join(f"WHEN {tier.value} THEN {tier.width_us}" for tier in Tier)
_ANY: Final = {"slot": ("first_id", "last_id", "data")}  # what has a check of its own, by table; see slot.py
_STORED: Final = {"INTEGER": "'integer'", "REAL": "'real', 'integer'", "TEXT": "'text'", "BLOB": "'blob'"}
# What else has to be true, by table; {0} is the table's name in the query.
_MORE: Final = {
    "alert": (f"{{0}}.state IN ({_STATES})",),
    "alert_change": (f"{{0}}.state IN ({_STATES})",),
    "sample": ("abs({0}.value) < 9e999",),
    "slot": (f"{{0}}.start_us % (CASE {{0}}.tier {_WIDTHS} END) = 0",),  # NULL, and so not true, for another tier
    "trace": (f"{{0}}.outcome BETWEEN 0 AND {len(Outcome) - 1}",),
}


@functools.cache
def sound(table: str, name: str = "") -> str:
    """Return the condition for sound rows of a table, which the query calls ``name``; it is never NULL."""
    name = name or table
    checked = (column for column in _columns(table) if column[0] not in _ANY.get(table, ()))
    conditions = [_condition(name, *column) for column in checked]
    conditions += [one.format(name) for one in _MORE.get(table, ())]
    return f"ifnull({' AND '.join(conditions)}, 0)"


@functools.cache
def columns(table: str) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    return tuple(name for name, _, _ in _columns(table))


def _condition(table: str, column: str, kind: str, needed: bool) -> str:
    stored = _STORED[kind] + ("" if needed else ", 'null'")
    condition = f"typeof({table}.{column}) IN ({stored})"
    if column.endswith("_us") and not column.endswith("until_us"):  # a mute may last for ever
        condition += f" AND ifnull({table}.{column}, 0) BETWEEN {-LAST_US} AND {LAST_US}"
    return condition


@functools.cache
def _columns(table: str) -> tuple[tuple[str, str, bool], ...]:
    """Name, declared type and whether a value is needed, of each column; read once from an empty database."""
    with contextlib.closing(sqlite3.connect(":memory:")) as raw:
        for statements in SQLITE_MIGRATIONS:
            for statement in statements:
                raw.execute(statement)
        found = raw.execute(f"PRAGMA table_info({table})").fetchall()
    return tuple((name, kind, bool(needed or key)) for _, name, kind, needed, _, key in found)
