"""What the SQL of this package needs from an engine: a synchronous connection, and the few words that differ.

The statements keep to what SQLite and PostgreSQL both accept: RETURNING instead of a last row id, ON CONFLICT with its
columns instead of INSERT OR REPLACE, coalesce, CASE instead of a minimum of two values, and "user" in quotes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cogmeter_storage.model import BatchId

P = ParamSpec("P")
T = TypeVar("T")


class Result(Protocol):
    """The rows of one statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that the statement changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row as a tuple, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows that are left."""
        ...


class Session(Protocol):
    """One connection, used by one thread at a time. Values are ``?``, or ``?1`` to use one value more than once."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Result:
        """Run a statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Result:
        """Run a statement without results once for each row."""
        ...

    def transaction(self, area: str | None = None) -> AbstractContextManager[None]:
        """Run the block in one write transaction: all of it, or nothing.

        ``area`` names the tables that the block reads before it writes them: no other process is in a block of the
        same area at the same time.
        """
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Run the block in one read transaction: all reads see the same state."""
        ...

    def claim(self, kind: str, batch: BatchId | None) -> bool:
        """Record in the caller's transaction that it stores a batch; return False if it has been stored already.

        Each kind has its own numbers. Where a commit is never in doubt, nothing is recorded.
        """
        ...

    def sound_rows(self, table: str) -> str:
        """Return the condition for rows of a table that are not damaged; it is never NULL."""
        ...

    def contains(self, column: str) -> str:
        """Return the condition that a text column contains the value of the next ``?``."""
        ...

    def indexed(self, table: str, index: str) -> str:
        """Return the name of a table in a FROM clause, with a hint to use this index where the engine needs it."""
        ...

    def move_damaged_rows(self, table: str, where: str, values: tuple[object, ...]) -> int:
        """Move rows that cannot be read to the table ``damage``, in the caller's transaction; return how many."""
        ...


class DamagedRows(Protocol):
    """Counts and logs rows that cannot be read."""

    def note_row(self, table: str, number: object, reason: str) -> None:
        """Record a row that is skipped."""
        ...

    def note_removed_row(self, table: str, number: object) -> None:
        """Record that a damaged row is no longer in its table."""
        ...


class Runner(Protocol):
    """Runs a function with a session on another thread, after all earlier calls."""

    async def run(self, function: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function, whose first argument is the session; raises StorageError."""
        ...


def marks(values: Collection[object]) -> str:
    """Return a question mark for each value, with commas; NULL without values, so that IN finds nothing."""
    return ", ".join("?" * len(values)) or "NULL"
