"""Takes what leads to one person out of what is stored, row by row; the figures stay as they are."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.sqlite.rows import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from cogmeter_storage.model import Person
    from cogmeter_storage.sqlite.writer import Writer

FORGOTTEN: Final = "(forgotten)"
_IDS: Final = 5_000  # that one transaction looks at
_PAUSE_S: Final = 0.002
# Texts in which the number may stand, and names of who did something.
_TEXTS: Final = {
    "trace": ("error", "spans"),
    "alert": ("message", "acknowledged_by"),
    "alert_change": ("message", "actor", "note"),
    "attempt": ("error",),
    "mute": ("actor", "reason"),
    "audit": ("actor", "subject", "value_before", "value_after"),
    "threshold_override": ("actor", "value"),
    "marker": ("name",),
}
_ACTORS: Final = (
    ("alert", "acknowledged_by"),
    ("alert_change", "actor"),
    ("mute", "actor"),
    ("audit", "actor"),
    ("threshold_override", "actor"),
)


async def forget(writer: Writer, person: Person) -> int:
    """See Store.forget. What was there is overwritten with zeros, in the file and its write-ahead log."""
    found = 0
    await writer.run(_overwriting, on=True)
    try:
        for first_id, last_id in _ranges(*await writer.run(_extent)):
            found += await writer.run(partial(_operations, person=person, first_id=first_id, last_id=last_id))
            await asyncio.sleep(_PAUSE_S)
        found += await writer.run(partial(_others, person=person))
        await writer.run(_empty_log)
    finally:
        await writer.run(_overwriting, on=False)
    return found


def _extent(raw: sqlite3.Connection) -> tuple[int, int]:
    (first,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    (last,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    return first, last


def _ranges(first_id: int, last_id: int) -> Iterator[tuple[int, int]]:
    for start in range(first_id, last_id + 1, _IDS):
        yield start, min(start + _IDS - 1, last_id)


def _operations(raw: sqlite3.Connection, person: Person, first_id: int, last_id: int) -> int:
    rows = raw.execute(
        "SELECT error, metadata, id FROM operation WHERE id BETWEEN ?1 AND ?2"
        " AND (instr(metadata, ?3) OR instr(metadata, ?4) OR instr(error, ?4))",
        (first_id, last_id, person.member[1], person.number),
    ).fetchall()
    number = _pattern(person)
    made = ((_without(number, error), _metadata(person, number, metadata), key) for error, metadata, key in rows)
    changed = [new for new, old in zip(made, rows, strict=True) if new != old]
    with transaction(raw):
        raw.executemany("UPDATE operation SET error = ?, metadata = ? WHERE id = ?", changed)
    return len(changed)


def _metadata(person: Person, number: re.Pattern[str], text: Any) -> str | None:
    """The metadata without the person; unchanged, to the letter, where it holds nothing."""
    if text is None:
        return None
    try:
        members = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _without(number, text)
    name, value = person.member
    kept = members
    if isinstance(members, dict) and members.get(name) == value:
        kept = {key: one for key, one in members.items() if key != name}
    kept = _cleaned(kept, number)
    return text if kept == members else json.dumps(kept)


def _cleaned(value: Any, number: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {_without(number, key): _cleaned(one, number) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, number) for one in value]
    if isinstance(value, str):
        return _without(number, value)
    return FORGOTTEN if isinstance(value, int) and number.fullmatch(str(value)) else value


def _others(raw: sqlite3.Connection, person: Person) -> int:
    """The small tables, in one transaction."""
    number, found = _pattern(person), 0
    with transaction(raw):
        for table, columns in _TEXTS.items():
            for column in columns:
                found += _replaced(raw, table, column, number, person.number)
        # What was set aside or apart cannot be searched column by column.
        for table in ("damage", "set_apart"):
            gone = (
                f"DELETE FROM {table} WHERE instr(statement, ?1) OR instr(statement, ifnull(?2, ?1))"  # noqa: S608 - names of our tables
                " OR instr(statement, ?3)"
            )
            found += raw.execute(gone, (person.number, person.name, person.member[1])).rowcount
        for table, column in _ACTORS if person.name else ():
            said = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - names of our tables
            found += raw.execute(said, (FORGOTTEN, person.name)).rowcount
    return found


def _replaced(raw: sqlite3.Connection, table: str, column: str, number: re.Pattern[str], wanted: str) -> int:
    # By rowid: a damaged text is not equal to what it is read as.
    select = f"SELECT rowid, {column} FROM {table} WHERE instr({column}, ?)"  # noqa: S608 - names of our tables
    update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608 - names of our tables
    rows = [(_without(number, text), text, key) for key, text in raw.execute(select, (wanted,)).fetchall()]
    return sum(raw.execute(update, (new, key)).rowcount for new, old, key in rows if new != old)


def _without(number: re.Pattern[str], text: object) -> str | None:
    """Return the text without the number; a value of a damaged row is made a text."""
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return number.sub(FORGOTTEN, str(text))


def _pattern(person: Person) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9]){re.escape(person.number)}(?![0-9])")


def _overwriting(raw: sqlite3.Connection, *, on: bool) -> None:
    raw.execute(f"PRAGMA secure_delete = {'ON' if on else 'OFF'}").fetchall()


def _empty_log(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
