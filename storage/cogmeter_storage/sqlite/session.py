"""A connection of the sqlite3 module as the Session of the shared SQL."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from cogmeter_storage.sqlite import damage
from cogmeter_storage.sqlite.connection import snapshot, transaction

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cogmeter_storage.model import BatchId


class SqliteSession(sqlite3.Connection):
    """See sql.session.Session."""

    def transaction(self, area: str | None = None) -> AbstractContextManager[None]:  # noqa: ARG002 - one writer at a time in any case
        """Run the block in one write transaction."""
        return transaction(self)

    def snapshot(self) -> AbstractContextManager[None]:
        """Run the block in one read transaction."""
        return snapshot(self)

    def claim(self, kind: str, batch: BatchId | None) -> bool:  # noqa: ARG002 - a commit is never in doubt
        """Return True."""
        return True

    def sound_rows(self, table: str) -> str:
        """Return the condition for sound rows."""
        return damage.sound_rows(table)

    def contains(self, column: str) -> str:
        """Return the condition that a text column contains a value."""
        return f"instr({column}, ?)"

    def indexed(self, table: str, index: str) -> str:
        """Return the table with a hint: without it, SQLite would scan everything in order of the ids."""
        return f"{table} INDEXED BY {index}"

    def move_damaged_rows(self, table: str, where: str, values: tuple[object, ...]) -> int:
        """Move damaged rows to the table ``damage``."""
        return damage.move_damaged_rows(self, table, where, values)
