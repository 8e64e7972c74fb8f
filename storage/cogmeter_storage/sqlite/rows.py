"""Reads and writes slots and raw columns: the few statements that several parts of the SQLite store share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.model import Tier
from cogmeter_storage.plan import Extent
from cogmeter_storage.rollup import Columns, SealedSlot, fold
from cogmeter_storage.slot import SlotFormatError, decode, encode

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_CHUNK_ROWS = 1000  # what one C call converts while it holds the interpreter's lock


@contextlib.contextmanager
def transaction(raw: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: all of the block, or nothing."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
        raw.execute("COMMIT")
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


@contextlib.contextmanager
def snapshot(raw: sqlite3.Connection) -> Iterator[None]:
    """One read transaction: all reads of the block see the same state."""
    raw.execute("BEGIN")
    try:
        yield
    finally:
        raw.execute("ROLLBACK")


def seal(raw: sqlite3.Connection, minute: SealedSlot) -> None:
    """Store a finished minute; where its hour or day has been folded already, it joins them."""
    write_slot(raw, minute)
    for tier in (Tier.HOUR, Tier.DAY):
        start_us = minute.start_us // tier.width_us * tier.width_us
        for folded in read_slots(raw, tier, start_us, start_us + 1):
            write_slot(raw, fold([folded, minute], tier))


def write_slot(raw: sqlite3.Connection, slot: SealedSlot) -> None:
    """Store a slot, in place of the one that may stand there."""
    raw.execute(
        "INSERT OR REPLACE INTO slot (tier, start_us, first_id, last_id, data) VALUES (?, ?, ?, ?, ?)",
        (slot.tier, slot.start_us, slot.first_id, slot.last_id, encode(slot.slot)),
    )


def read_slots(
    raw: sqlite3.Connection, tier: Tier, since_us: int, until_us: int, *, newest_first: bool = False
) -> Iterator[SealedSlot]:
    """The slots of a tier that start in [since_us, until_us), in order of time."""
    order = "DESC" if newest_first else "ASC"
    rows = raw.execute(
        "SELECT start_us, first_id, last_id, data FROM slot WHERE tier = ? AND start_us >= ? AND start_us < ?"  # noqa: S608 - the order is one of the two words above
        f" ORDER BY start_us {order}",
        (tier, since_us, until_us),
    )
    for start_us, first_id, last_id, data in rows:
        yield SealedSlot(tier, start_us, first_id, last_id, decode(data))


def edge_slots(raw: sqlite3.Connection, tier: Tier) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(start, last operation id) of the first and the last slot of a tier; None without slots."""
    first = raw.execute("SELECT start_us, last_id FROM slot WHERE tier = ? ORDER BY start_us LIMIT 1", (tier,))
    last = raw.execute("SELECT start_us, last_id FROM slot WHERE tier = ? ORDER BY start_us DESC LIMIT 1", (tier,))
    row = first.fetchone()
    return None if row is None else (row, last.fetchone())


def extents(raw: sqlite3.Connection) -> tuple[dict[Tier, Extent], int]:
    """What is kept of each tier, and the last operation that any slot holds (0 without slots)."""
    kept = {}
    sealed_id = 0
    for tier in Tier:
        edges = edge_slots(raw, tier)
        if edges is not None:
            (first_us, _), (last_us, last_id) = edges
            kept[tier] = Extent(first_us, last_us + tier.width_us)
            sealed_id = max(sealed_id, last_id)
    return kept, sealed_id


def read_columns(raw: sqlite3.Connection, after_id: int) -> Iterator[Columns]:
    """The operations behind this id as columns, in small chunks.

    Raises:
        SlotFormatError: the rows are damaged, though SQLite can read them.
    """
    rows = raw.execute(
        "SELECT id, end_us, series, duration_us, outcome FROM operation WHERE id > ? ORDER BY id", (after_id,)
    )
    while chunk := rows.fetchmany(_CHUNK_ROWS):
        try:
            yield Columns(*(np.array(column, dtype=np.int64) for column in zip(*chunk, strict=True)))
        except (TypeError, ValueError, OverflowError) as error:
            raise SlotFormatError(f"operations {chunk[0][0]} to {chunk[-1][0]} hold what is no number") from error


def first_id_from(raw: sqlite3.Connection, at_us: int) -> int:
    """The id of the first operation that ended at this time or later, or one beyond the last; tolerates gaps."""
    # Asked for together, the two would be found by reading every row.
    (low,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    (high,) = raw.execute("SELECT ifnull(max(id), 0) + 1 FROM operation").fetchone()
    while low < high:
        probe = (low + high) // 2
        found, end_us = raw.execute(
            "SELECT id, end_us FROM operation WHERE id >= ? ORDER BY id LIMIT 1", (probe,)
        ).fetchone()
        low, high = (found + 1, high) if end_us < at_us else (low, probe)
    return int(low)
