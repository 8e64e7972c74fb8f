"""Erases the data that identifies one person, row by row. Totals and slots do not change."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.model import Erased
from cogmeter_storage.sql.costs import forget_user
from cogmeter_storage.sqlite.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter_storage.model import Person
    from cogmeter_storage.sqlite.session import SqliteSession
    from cogmeter_storage.sqlite.writer import Writer

ERASED: Final = "(forgotten)"
_CHUNK_ROWS: Final = 5_000  # read in one transaction
_PAUSE_S: Final = 0.002
# Texts that may contain the user id, and display names of actors.
_TEXT_COLUMNS: Final = {
    "trace": ("error", "spans"),
    "alert": ("message", "acknowledged_by"),
    "alert_change": ("message", "actor", "note"),
    "attempt": ("error",),
    "mute": ("actor", "reason"),
    "audit": ("actor", "subject", "value_before", "value_after"),
    "threshold_override": ("actor", "value"),
    "marker": ("name",),
    "error_group": ("message", "resolved_by"),
    "error_example": ("chain",),
}
_NAME_COLUMNS: Final = (
    ("alert", "acknowledged_by"),
    ("alert_change", "actor"),
    ("mute", "actor"),
    ("audit", "actor"),
    ("threshold_override", "actor"),
    ("error_group", "resolved_by"),
)

_ERASE_HASH: Final = {
    "error_person": "DELETE FROM error_person WHERE hash = ?",
    "error_example": "UPDATE error_example SET user = NULL WHERE user = ?",
}
_KINDS: Final = {  # the fields of Erased
    "trace": "traces",
    **dict.fromkeys(("error_group", "error_example", "error_person"), "errors"),
    **dict.fromkeys(("alert", "alert_change", "attempt", "mute"), "alerts"),
}


async def erase_person(writer: Writer, person: Person) -> Erased:
    """Implement Store.erase_person. Old content is overwritten with zeros, in the file and in its write-ahead log."""
    operations, small = 0, Counter[str]()
    await writer.run(_set_secure_delete, on=True)
    try:
        for first_id, last_id in _id_chunks(*await writer.run(_id_range)):
            operations += await writer.run(
                partial(_erase_from_operations, person=person, first_id=first_id, last_id=last_id)
            )
            await asyncio.sleep(_PAUSE_S)
        small = await writer.run(partial(_erase_from_small_tables, person=person))
        await writer.run(_truncate_log)
    finally:
        await writer.run(_set_secure_delete, on=False)
    kinds: Counter[str] = Counter()
    for table, rows in small.items():
        kinds[_KINDS.get(table, "others")] += rows
    return Erased(operations, **kinds)


def _id_range(raw: SqliteSession) -> tuple[int, int]:
    (first,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    (last,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    return first, last


def _id_chunks(first_id: int, last_id: int) -> Iterator[tuple[int, int]]:
    for start in range(first_id, last_id + 1, _CHUNK_ROWS):
        yield start, min(start + _CHUNK_ROWS - 1, last_id)


def _erase_from_operations(raw: SqliteSession, person: Person, first_id: int, last_id: int) -> int:
    rows = raw.execute(
        "SELECT error, metadata, id FROM operation WHERE id BETWEEN ?1 AND ?2"
        " AND (instr(metadata, ?3) OR instr(metadata, ?4) OR instr(error, ?4))",
        (first_id, last_id, person.metadata_entry[1], person.user_id),
    ).fetchall()
    user_id = _id_pattern(person)
    updated = (
        (_replace_in_text(user_id, error), _erase_from_metadata(person, user_id, metadata), key)
        for error, metadata, key in rows
    )
    changed = [new for new, old in zip(updated, rows, strict=True) if new != old]
    with transaction(raw):
        raw.executemany("UPDATE operation SET error = ?, metadata = ? WHERE id = ?", changed)
    return len(changed)


def _erase_from_metadata(person: Person, user_id: re.Pattern[str], text: Any) -> str | None:
    """Return the metadata without the person; exactly the same text if nothing changes."""
    if text is None:
        return None
    try:
        members = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _replace_in_text(user_id, text)
    name, value = person.metadata_entry
    erased = members
    if isinstance(members, dict) and members.get(name) == value:
        erased = {key: member for key, member in members.items() if key != name}
    erased = _replace_in_json(erased, user_id)
    return text if erased == members else json.dumps(erased)


def _replace_in_json(value: Any, user_id: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {_replace_in_text(user_id, key): _replace_in_json(item, user_id) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_in_json(item, user_id) for item in value]
    if isinstance(value, str):
        return _replace_in_text(user_id, value)
    return ERASED if isinstance(value, int) and user_id.fullmatch(str(value)) else value


def _erase_from_small_tables(raw: SqliteSession, person: Person) -> Counter[str]:
    """Erase from the small tables in one transaction; return the number of changed rows by table."""
    user_id, changed = _id_pattern(person), Counter[str]()
    with transaction(raw):
        for table, columns in _TEXT_COLUMNS.items():
            for column in columns:
                changed[table] += _replace_in_column(raw, table, column, user_id, person.user_id)
        for table, statement in _ERASE_HASH.items():
            changed[table] += raw.execute(statement, (person.metadata_entry[1],)).rowcount
        if person.metadata_entry[0] == "user":
            changed["cost"] += forget_user(raw, person.metadata_entry[1])
        # Statements cannot be searched column by column.
        for table in ("damage", "set_apart"):
            delete = (
                f"DELETE FROM {table} WHERE instr(statement, ?1) OR instr(statement, ifnull(?2, ?1))"  # noqa: S608 - names of our tables
                " OR instr(statement, ?3)"
            )
            changed[table] += raw.execute(
                delete, (person.user_id, person.display_name, person.metadata_entry[1])
            ).rowcount
        for table, column in _NAME_COLUMNS if person.display_name else ():
            update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - names of our tables
            changed[table] += raw.execute(update, (ERASED, person.display_name)).rowcount
    return changed


def _replace_in_column(raw: SqliteSession, table: str, column: str, user_id: re.Pattern[str], searched: str) -> int:
    # By rowid: a damaged text differs from its decoded value.
    select = f"SELECT rowid, {column} FROM {table} WHERE instr({column}, ?)"  # noqa: S608 - names of our tables
    update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608 - names of our tables
    rows = [(_replace_in_text(user_id, text), text, key) for key, text in raw.execute(select, (searched,)).fetchall()]
    return sum(raw.execute(update, (new, key)).rowcount for new, old, key in rows if new != old)


def _replace_in_text(user_id: re.Pattern[str], text: object) -> str | None:
    """Return the text without the user id; a value of a damaged row becomes a text."""
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return user_id.sub(ERASED, str(text))


def _id_pattern(person: Person) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9]){re.escape(person.user_id)}(?![0-9])")


def _set_secure_delete(raw: SqliteSession, *, on: bool) -> None:
    raw.execute(f"PRAGMA secure_delete = {'ON' if on else 'OFF'}").fetchall()


def _truncate_log(raw: SqliteSession) -> None:
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
