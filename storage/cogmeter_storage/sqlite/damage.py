"""Damaged data: conditions for sound rows, the log of damage, and moving rows to the table ``damage``.

SQLite stores any value in any column, and a damaged file can contain anything. Each query includes the condition of its
table, so that LIMIT and OFFSET count sound rows only.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from cogmeter_storage.alerting import AlertState
from cogmeter_storage.clock import clock, format_time
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import HOUR_US, LAST_US, Damage, Outcome, Tier
from cogmeter_storage.schema import SQLITE_MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    Result: TypeAlias = Literal["rebuilt", "partial", "lost"]

_ERROR_KINDS: Final = ", ".join(f"'{kind.value}'" for kind in ErrorKind)
_STATES: Final = ", ".join(f"'{state.value}'" for state in AlertState)
_TIER_WIDTHS: Final = " ".join(f"WHEN {tier.value} THEN {tier.width_us}" for tier in Tier)
_CHECKED_ELSEWHERE: Final = {
    "slot": ("first_id", "last_id", "data"),
    "usage_slot": ("data",),
    "usage_part": ("data",),
}  # columns with their own check, see slot.py and sketch.py
_STORED_TYPES: Final = {"INTEGER": "'integer'", "REAL": "'real', 'integer'", "TEXT": "'text'", "BLOB": "'blob'"}
# Further conditions by table; {0} is the table's name.
_EXTRA_CONDITIONS: Final = {
    "alert": (f"{{0}}.state IN ({_STATES})",),
    "alert_change": (f"{{0}}.state IN ({_STATES})",),
    "cost": (
        f"{{0}}.start_us % {HOUR_US} = 0",
        "{0}.operations BETWEEN 1 AND 1000000000000",
        *(
            f"{{0}}.{name} BETWEEN 0 AND 1000000000000000"
            for name in ("tokens_in", "tokens_out", "cached_tokens", "micro_usd", "unpriced")
        ),
    ),
    "error_count": ("{0}.day BETWEEN -1000000 AND 2932896", "{0}.errors BETWEEN 1 AND 1000000000000"),  # to year 9999
    "error_group": (f"{{0}}.kind IN ({_ERROR_KINDS})", "{0}.total BETWEEN 0 AND 1000000000000000"),
    "error_person": ("{0}.kind IN ('user', 'guild')",),
    "sample": ("abs({0}.value) < 9e999",),
    "slot": (f"{{0}}.start_us % (CASE {{0}}.tier {_TIER_WIDTHS} END) = 0",),  # NULL for an unknown tier
    "usage_count": (f"{{0}}.start_us % {HOUR_US} = 0", "{0}.count BETWEEN 1 AND 1000000000000"),
    "usage_part": (f"{{0}}.start_us % {HOUR_US} = 0",),
    "usage_slot": (f"{{0}}.tier > 0 AND {{0}}.start_us % (CASE {{0}}.tier {_TIER_WIDTHS} END) = 0",),
    "trace": (f"{{0}}.outcome BETWEEN 0 AND {len(Outcome) - 1}",),
}
_MAX_LOG_LINES: Final = 20  # for slots and rows each; later ones are only counted
_MAX_KNOWN: Final = 10_000  # rows and slots remembered so that they are counted and logged once
_SNAPSHOT_S: Final = 60.0  # a reader sees the state of its beginning for less than this
_RESULT_TEXTS: Final = {
    "rebuilt": "It is rebuilt from finer data.",
    "partial": "It is rebuilt from the finer data that is left; some of its operations are missing.",
    "lost": "No finer data is left, so its operations are missing from all figures.",
}
_logger = logging.getLogger("cogmeter.storage")


@functools.cache
def sound_rows(table: str) -> str:
    """Return the SQL condition for sound rows of a table (types, times, known words); it is never NULL."""
    checked = (column for column in _columns_by_table()[table] if column[0] not in _CHECKED_ELSEWHERE.get(table, ()))
    conditions = [_condition(table, *column) for column in checked]
    conditions += [condition.format(table) for condition in _EXTRA_CONDITIONS.get(table, ())]
    return f"ifnull({' AND '.join(conditions)}, 0)"


@functools.cache
def columns(table: str) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    return tuple(name for name, _, _ in _columns_by_table()[table])


def _condition(table: str, column: str, declared_type: str, required: bool) -> str:
    stored = _STORED_TYPES[declared_type] + ("" if required else ", 'null'")
    condition = f"typeof({table}.{column}) IN ({stored})"
    if column.endswith("_us") and not column.endswith("until_us"):  # a mute may never end
        condition += f" AND ifnull({table}.{column}, 0) BETWEEN {-LAST_US} AND {LAST_US}"
    return condition


@functools.cache
def _columns_by_table() -> dict[str, list[tuple[str, str, bool]]]:
    """Return name, declared type and whether a value is required of each column, from an empty database."""
    with contextlib.closing(sqlite3.Connection(":memory:")) as raw:
        for statements in SQLITE_MIGRATIONS:
            for statement in statements:
                raw.execute(statement)
        rows = raw.execute(
            'SELECT t.name, c.name, c.type, c."notnull" OR c.pk FROM sqlite_schema AS t'
            " JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table' ORDER BY t.name, c.cid"
        ).fetchall()
    columns: dict[str, list[tuple[str, str, bool]]] = {}
    for table, name, declared_type, required in rows:
        columns.setdefault(table, []).append((name, declared_type, bool(required)))
    return columns


class DamageLog:
    """The damage that one open store has found. The threads of its reader and its writer share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._unrepaired: dict[tuple[int, int], Result] = {}  # damaged slots in the file, by tier and start
        self._rows: set[tuple[str, object]] = set()
        self._known: set[tuple[int, int]] = set()
        self._repaired: dict[tuple[int, int], float] = {}  # when the writer replaced them, the latest ones
        self._sound: dict[tuple[int, str], tuple[int, ...]] = {}  # the outermost slots, by tier and order
        self._lines = {"slot": 0, "row": 0}

    def note_slot(self, tier: int, start_us: int, reason: str, result: Result) -> None:
        """Record a damaged slot that is still in the file; ``result`` is what readers get in its place."""
        self._note_slot(tier, start_us, reason, result, repaired=False)

    def note_repaired_slot(self, tier: int, start_us: int, reason: str, result: Result) -> None:
        """Record a damaged slot that the writer has replaced or removed."""
        self._note_slot(tier, start_us, reason, result, repaired=True)

    def note_removed_slot(self, tier: int, start_us: int) -> None:
        """Record that a slot which may have been damaged is no longer in the file."""
        with self._lock:
            self._unrepaired.pop((tier, start_us), None)

    def note_row(self, table: str, number: object, reason: str) -> None:
        """Record a row that is skipped."""
        with self._lock:
            if (table, number) in self._rows or len(self._rows) >= _MAX_KNOWN:
                return
            self._rows.add((table, number))
        self._warn("row", "Row %s of table %s is damaged (%s). It is skipped.", number, table, reason)

    def note_removed_row(self, table: str, number: object) -> None:
        """Record that the writer has moved a damaged row, which the table ``damage`` counts now."""
        with self._lock:
            self._rows.discard((table, number))

    def log_moved_rows(self, table: str, count: int) -> None:
        """Log rows that the writer has moved to the table ``damage`` because they cannot be read."""
        _logger.warning("%d damaged rows of table %s of %s are moved to the table damage", count, table, self._path)

    def log_rebuilt_index(self, table: str, reason: str) -> None:
        """Log an index that the writer has rebuilt."""
        _logger.warning("The index of table %s of %s was damaged (%s). It is rebuilt.", table, self._path, reason)

    def is_lost(self, tier: int, start_us: int) -> bool:
        """Return True if this slot is known to be damaged and cannot be rebuilt."""
        return self._unrepaired.get((tier, start_us)) == "lost"

    def note_sound_slot(self, tier: int, order: str, version: tuple[int, ...]) -> None:
        """Record that the outermost slot of a tier has been checked: start, first and last id, bytes."""
        self._sound[tier, order] = version

    def is_sound_slot(self, tier: int, order: str, version: tuple[int, ...]) -> bool:
        """Return True if this version of the outermost slot of a tier has been checked before."""
        return self._sound.get((tier, order)) == version

    def unrepaired_slots(self) -> list[tuple[int, int]]:
        """Return tier and start of the damaged slots that the writer has not repaired yet."""
        with self._lock:
            return list(self._unrepaired)

    def counts(self, raw: sqlite3.Connection) -> Damage:
        """Return the known damage: the rows of the table, plus what this store found since it was opened."""
        stored: dict[str, int] = dict(raw.execute("SELECT result, count(*) FROM damage GROUP BY result").fetchall())
        with self._lock:
            results = list(self._unrepaired.values())
            rows = len(self._rows)
        return Damage(
            rebuilt_slots=stored.get("rebuilt", 0) + results.count("rebuilt"),
            lost_slots=sum(stored.get(name, 0) + results.count(name) for name in ("partial", "lost")),
            rows=stored.get("removed", 0) + rows,
        )

    def _note_slot(self, tier: int, start_us: int, reason: str, result: Result, *, repaired: bool) -> None:
        key, now_s = (tier, start_us), time.monotonic()
        with self._lock:
            if not repaired and now_s - self._repaired.get(key, -math.inf) < _SNAPSHOT_S:
                return  # a reader that began before the repair still sees the damage, which is counted already
            known = key in self._known
            if len(self._known) < _MAX_KNOWN:
                self._known.add(key)
            if repaired:
                self._unrepaired.pop(key, None)
                self._known.discard(key)  # log it again if it is damaged again
                if len(self._repaired) >= _MAX_KNOWN:
                    self._repaired.clear()
                self._repaired[key] = now_s
            else:
                self._unrepaired[key] = result
        if not known:
            text = "The slot of the %s from %s is damaged (%s). %s"
            self._warn("slot", text, _tier_name(tier), format_time(start_us), reason, _RESULT_TEXTS[result])

    def _warn(self, kind: str, text: str, *values: object) -> None:
        self._lines[kind] += 1
        if self._lines[kind] <= _MAX_LOG_LINES:
            _logger.warning("Database %s: %s", self._path, text % values)
        elif self._lines[kind] == _MAX_LOG_LINES + 1:
            _logger.warning("Database %s: more damaged %ss are counted, and not logged", self._path, kind)


def _tier_name(tier: int) -> str:
    try:
        return Tier(tier).name.lower()
    except ValueError:
        return f"tier {tier}"


def move_damaged_rows(
    raw: sqlite3.Connection, table: str, where: str, values: tuple[object, ...], result: str = "removed"
) -> int:
    """Move rows to the table ``damage`` as INSERT statements that would restore them; return how many."""
    raw.execute(
        "INSERT INTO damage (at_us, kind, result, statement)"  # noqa: S608 - names of our tables and columns
        f" SELECT ?, ?, ?, {insert_statement(table)} FROM {table} WHERE {where}",
        (clock.now_us(), table, result, *values),
    )
    return raw.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount  # noqa: S608 - names of our tables


def insert_statement(table: str) -> str:
    """Return the SQL expression for the statement that would insert a row of the table again."""
    quoted = " || ', ' || ".join(f"quote({name})" for name in columns(table))
    return f"'INSERT INTO {table} ({', '.join(columns(table))}) VALUES (' || {quoted} || ')'"  # noqa: S608 - names of our tables and columns
