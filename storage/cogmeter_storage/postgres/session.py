"""A psycopg connection as the Session of the shared SQL.

Values are written into the statement by psycopg (its client-side cursor), not prepared on the server: nothing is left
in a server connection, as PgBouncer's transaction mode requires, and the type of a value follows from its place.
"""

from __future__ import annotations

import contextlib
import functools
import re
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.adapt import Loader

from cogmeter_storage.clock import clock
from cogmeter_storage.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cogmeter_storage.model import BatchId

_NUMBERED: Final = re.compile(r"\?(\d+)")
_BEGIN: Final = f"BEGIN ISOLATION LEVEL %s; SET LOCAL search_path = {SCHEMA}"
_ENTER: Final = "SET LOCAL idle_in_transaction_session_timeout = '5s'; SELECT 1 FROM area WHERE name = ? FOR UPDATE"
_WRITING: Final = (_BEGIN % "READ COMMITTED, READ WRITE").encode()
_READING: Final = (_BEGIN % "REPEATABLE READ, READ ONLY").encode()


class _NumericLoader(Loader):
    """Loads numeric, the type of PostgreSQL's sums of bigint, as int or float, as SQLite does."""

    def load(self, data: Any) -> int | float:
        """Return the number."""
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)


class PostgresSession:
    """See sql.session.Session."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection in autocommit mode: transactions begin and end here."""
        self.connection = connection
        connection.adapters.register_loader("numeric", _NumericLoader)
        self._cursor = psycopg.ClientCursor(connection)
        self._in_block = False

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Run a statement; outside of a transaction in one of its own."""
        with contextlib.ExitStack() as stack:
            if not self._in_block:
                stack.enter_context(self.transaction())
            cursor = psycopg.ClientCursor(self.connection)
            text, numbered = _translated(statement)
            storable = [_storable(value) for value in values]
            if numbered:
                cursor.execute(text, {f"p{place}": value for place, value in enumerate(storable, 1)})
            else:
                cursor.execute(text, storable)
            return cursor

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> psycopg.Cursor[Any]:
        """Run a statement once for each row."""
        with contextlib.ExitStack() as stack:
            if not self._in_block:
                stack.enter_context(self.transaction())
            cursor = psycopg.ClientCursor(self.connection)
            text, _ = _translated(statement)
            cursor.executemany(text, [[_storable(value) for value in row] for row in rows])
            return cursor

    @contextlib.contextmanager
    def transaction(self, area: str | None = None) -> Iterator[None]:
        """Run the block in one write transaction, alone in its area among all processes."""
        with self._block(_WRITING):
            if area is not None:  # the server ends the transaction of a paused process, for which others wait
                self.execute(_ENTER, (area,))
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Run the block in one read transaction."""
        with self._block(_READING):
            yield

    @contextlib.contextmanager
    def _block(self, begin: bytes) -> Iterator[None]:
        if self._in_block:
            raise RuntimeError("a transaction is open already")
        self._cursor.execute(begin)  # two statements, one round trip
        self._in_block = True
        try:
            yield
            self._in_block = False
            self._cursor.execute("COMMIT")
        finally:
            self._in_block = False
            if not self.connection.closed and self.connection.info.transaction_status:
                self._cursor.execute("ROLLBACK")

    def claim(self, kind: str, batch: BatchId | None) -> bool:
        """Record a batch; wait for a transaction that stores it, and whose commit is still in doubt."""
        if batch is None:
            return True
        claimed = self.execute(
            "INSERT INTO stored_batch (source, kind, number, at_us) VALUES (?, ?, ?, ?) ON CONFLICT (source, kind)"
            " DO UPDATE SET number = excluded.number, at_us = excluded.at_us"
            " WHERE stored_batch.number < excluded.number",
            (batch.source, kind, batch.number, clock.now_us()),
        )
        return bool(claimed.rowcount)

    def sound_rows(self, table: str) -> str:  # noqa: ARG002 - PostgreSQL checks the types and the pages of every table
        """Return a condition that is always true."""
        return "TRUE"

    def contains(self, column: str) -> str:
        """Return the condition that a text column contains a value."""
        return f"strpos({column}, ?) > 0"

    def indexed(self, table: str, index: str) -> str:  # noqa: ARG002 - PostgreSQL chooses the index
        """Return the name of the table."""
        return table

    def move_damaged_rows(self, table: str, where: str, values: tuple[object, ...]) -> int:
        """Move damaged rows to the table ``damage``, as JSON."""
        self.execute(
            "INSERT INTO damage (at_us, kind, content)"  # noqa: S608 - names of our tables
            f" SELECT ?, ?, row_to_json({table})::text FROM {table} WHERE {where}",
            (clock.now_us(), table, *values),
        )
        return self.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount  # noqa: S608 - names of our tables


@functools.lru_cache(maxsize=512)
def _translated(statement: str) -> tuple[bytes, bool]:
    """Return the statement with psycopg's placeholders, and whether they are numbered."""
    escaped = statement.replace("%", "%%")
    numbered, count = _NUMBERED.subn(r"%(p\1)s", escaped)
    return (numbered if count else escaped.replace("?", "%s")).encode(), bool(count)


def _storable(value: Any) -> Any:
    """Return a value that PostgreSQL can store: a text without NUL characters and unpaired surrogates."""
    if isinstance(value, str):
        return storable_text(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def storable_text(text: str) -> str:
    """Return the text with a replacement character for each NUL and each unpaired surrogate."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
