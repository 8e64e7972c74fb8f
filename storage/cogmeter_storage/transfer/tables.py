"""The tables that a transfer copies row by row; operations and slots have their own way, see reading.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.sql.session import marks
from cogmeter_storage.sqlite.damage import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter_storage.sql.session import Session

KEY: Final = "transfer"  # of the progress, in the target's table memory
_LARGE_ROW: Final = 40  # such a row counts as so many in a chunk


@dataclass(frozen=True, slots=True)
class TransferTable:
    """A table with the same columns in every engine, except for ``names``."""

    name: str
    keys: tuple[str, ...] = ("id",)
    large: bool = False  # rows of kilobytes
    names: Mapping[str, str] | None = None  # by SQLite's name of a column: PostgreSQL's
    # Columns of SQLite alone, with the value that a copied row gets there.
    only_sqlite: Mapping[str, Any] | None = None

    def columns(self, *, postgres: bool) -> tuple[str, ...]:
        """Return the names of the copied columns in an engine, quoted where SQL needs it."""
        copied = [name for name in columns(self.name) if name not in (self.only_sqlite or {})]
        names = (self.names or {}) if postgres else {}
        return tuple('"user"' if name == "user" else names.get(name, name) for name in copied)

    @property
    def key_places(self) -> tuple[int, ...]:
        """The places of the key in a row."""
        found = self.columns(postgres=False)
        return tuple(found.index(name) for name in self.keys)

    def rows_per_chunk(self, rows: int) -> int:
        """Return how many rows are copied at once where ``rows`` small ones are."""
        return max(rows // _LARGE_ROW, 1) if self.large else rows


_APART: Final = {"statement": "content"}
TABLES: Final = (
    TransferTable("series"),
    TransferTable("trace", large=True),
    TransferTable("metric"),
    TransferTable("sample", ("metric", "at_us")),
    TransferTable("marker"),
    TransferTable("memory", ("name",), large=True),
    TransferTable("alert"),
    TransferTable("alert_change"),
    TransferTable("delivery"),
    TransferTable("attempt"),
    TransferTable("receipt", ("alert", "target")),
    TransferTable("mute"),
    TransferTable("threshold_override", ("name",)),
    TransferTable("audit"),
    TransferTable("error_group"),
    TransferTable("error_count", ("error_group", "day", "service", "operation")),
    TransferTable("error_person", ("error_group", "kind", "hash")),
    TransferTable("error_example", large=True),
    TransferTable("usage_slot", ("tier", "start_us"), large=True),
    TransferTable("usage_part", large=True),
    TransferTable("usage_count", ("start_us", "kind", "name")),
    TransferTable("usage_last", ("series",)),
    TransferTable("cost", ("start_us", "service", "caller", "model", "guild", '"user"')),
    TransferTable("set_apart", large=True, names=_APART, only_sqlite={"step": 1}),
    TransferTable("damage", large=True, names=_APART, only_sqlite={"result": "removed"}),
)
NUMBERED: Final = tuple(table for table in TABLES if table.keys == ("id",) and table.name != "series")


def read_rows(
    session: Session, table: TransferTable, after: Sequence[Any] | None, limit: int, *, postgres: bool
) -> list[tuple[Any, ...]]:
    """Return the next rows after a key (None: the first ones), in order of the key, without damaged ones."""
    keys = ", ".join(table.keys)
    later = f" AND ({keys}) > ({marks(table.keys)})" if after is not None else ""
    return session.execute(
        f"SELECT {', '.join(table.columns(postgres=postgres))} FROM {table.name}"  # noqa: S608 - names of our tables and columns
        f" WHERE {_copied(session, table)}{later} ORDER BY {keys} LIMIT ?",
        (*(after or ()), limit),
    ).fetchall()


def count_rows(session: Session, table: TransferTable) -> tuple[int, int]:
    """Return the number of rows that are copied, and of damaged ones, which are not."""
    copied = _copied(session, table)
    find = f"SELECT count(*), coalesce(sum(CASE WHEN {session.sound_rows(table.name)} THEN 0 ELSE 1 END), 0)"
    (damaged,) = session.execute(f"{find} FROM {table.name}").fetchone()[1:]
    (count,) = session.execute(f"SELECT count(*) FROM {table.name} WHERE {copied}").fetchone()  # noqa: S608 - names of our tables and columns
    return int(count), int(damaged)


def _copied(session: Session, table: TransferTable) -> str:
    sound = session.sound_rows(table.name)
    return f"{sound} AND name <> '{KEY}'" if table.name == "memory" else sound
