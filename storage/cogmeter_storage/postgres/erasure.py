"""Erases the data that identifies one person from the operations, a day at a time, and from the small tables."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.model import DAY_US
from cogmeter_storage.sql.erasure import (
    erase_from_metadata,
    erase_from_small_tables,
    erased,
    id_pattern,
    replace_in_text,
)

if TYPE_CHECKING:
    from cogmeter_storage.model import Erased, Person
    from cogmeter_storage.postgres.session import PostgresSession
    from cogmeter_storage.postgres.writer import PostgresWriter

_PAUSE_S: Final = 0.002
_ROWS: Final = 1_000  # changed in one transaction
_FIND: Final = (
    "SELECT error, metadata, end_us, id FROM operation WHERE end_us >= ? AND end_us < ? AND (end_us, id) > (?, ?)"
    " AND (strpos(metadata, ?) > 0 OR strpos(metadata, ?) > 0 OR strpos(error, ?) > 0) ORDER BY end_us, id LIMIT ?"
)


async def erase_person(writer: PostgresWriter, person: Person) -> Erased:
    """Implement Store.erase_person. PostgreSQL reuses the space of the old rows after its next vacuum."""
    operations = 0
    first_us, last_us = await writer.run(_range)
    for start_us in range(first_us // DAY_US * DAY_US, last_us + 1, DAY_US):
        after: tuple[int, int] | None = (start_us, -1)
        while after is not None:
            changed, after = await writer.run(partial(_erase_chunk, person=person, start_us=start_us, after=after))
            operations += changed
            await asyncio.sleep(_PAUSE_S)
    small = await writer.run(partial(erase_from_small_tables, person=person, column_apart="content"))
    return erased(operations, small)


def _range(session: PostgresSession) -> tuple[int, int]:
    row = session.execute("SELECT coalesce(min(end_us), 0), coalesce(max(end_us), -1) FROM operation").fetchone()
    assert row is not None
    return row[0], row[1]


def _erase_chunk(
    session: PostgresSession, person: Person, start_us: int, after: tuple[int, int]
) -> tuple[int, tuple[int, int] | None]:
    """Erase from the next few operations of a day; return how many changed, and where to continue (None: the end)."""
    user_id = id_pattern(person)
    searched = (person.metadata_entry[1], person.user_id, person.user_id)
    with session.transaction():
        rows = session.execute(_FIND, (start_us, start_us + DAY_US, *after, *searched, _ROWS)).fetchall()
        changed = 0
        for error, metadata, end_us, number in rows:
            new = replace_in_text(user_id, error), erase_from_metadata(person, user_id, metadata)
            if new != (error, metadata):
                update = "UPDATE operation SET error = ?, metadata = ? WHERE end_us = ? AND id = ?"
                session.execute(update, (*new, end_us, number))
                changed += 1
    return changed, (rows[-1][2], rows[-1][3]) if len(rows) == _ROWS else None
