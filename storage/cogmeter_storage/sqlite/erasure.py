"""Erases the data that identifies one person, row by row. Totals and slots do not change."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.sql.erasure import (
    erase_from_metadata,
    erase_from_small_tables,
    erased,
    id_pattern,
    replace_in_text,
)
from cogmeter_storage.sqlite.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter_storage.model import Erased, Person
    from cogmeter_storage.sqlite.session import SqliteSession
    from cogmeter_storage.sqlite.writer import Writer

_CHUNK_ROWS: Final = 5_000  # read in one transaction
_PAUSE_S: Final = 0.002


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
        small = await writer.run(partial(erase_from_small_tables, person=person, column_apart="statement"))
        await writer.run(_truncate_log)
    finally:
        await writer.run(_set_secure_delete, on=False)
    return erased(operations, small)


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
    user_id = id_pattern(person)
    updated = (
        (replace_in_text(user_id, error), erase_from_metadata(person, user_id, metadata), key)
        for error, metadata, key in rows
    )
    changed = [new for new, old in zip(updated, rows, strict=True) if new != old]
    with transaction(raw):
        raw.executemany("UPDATE operation SET error = ?, metadata = ? WHERE id = ?", changed)
    return len(changed)


def _set_secure_delete(raw: SqliteSession, *, on: bool) -> None:
    raw.execute(f"PRAGMA secure_delete = {'ON' if on else 'OFF'}").fetchall()


def _truncate_log(raw: SqliteSession) -> None:
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
