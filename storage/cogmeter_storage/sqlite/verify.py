"""Reads all slots and checks the small tables, so that damage is found before the data is needed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import CorruptStoreError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import Tier
from cogmeter_storage.sqlite import usage
from cogmeter_storage.sqlite.alerts import fail_damaged_deliveries
from cogmeter_storage.sqlite.connection import damaged_error, transaction
from cogmeter_storage.sqlite.damage import LAST_US, move_damaged_rows, sound_rows
from cogmeter_storage.sqlite.errors import delete_orphans
from cogmeter_storage.sqlite.slots import needs_repair, read_slots, repair

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.writer import Writer

    Check: TypeAlias = Callable[[Connection, Writer | None, DamageLog], Awaitable[None]]

_SLOTS_PER_CHUNK: Final = 50  # read at once: about a millisecond
_REPAIRS_PER_CHUNK: Final = 20  # in one transaction
_PAUSE_S: Final = 0.005
# Without operations: there may be millions, their ids have no gaps, and totals are not read from them.
_TABLES: Final = (
    *("slot", "series", "alert", "alert_change", "delivery", "attempt", "mute", "threshold_override", "audit"),
    *("marker", "memory", "sample", "trace", "error_group", "error_count", "error_person", "error_example"),
    *("usage_slot", "usage_part", "usage_count", "usage_last", "cost"),
)
# Totals are read through these indexes: an entry missing there is missing from every total.
_INDEXED: Final = ("slot", "series")


async def verify(reading: Connection, writer: Writer | None, damage: DamageLog) -> None:
    """Implement Store.verify. A table with damaged pages does not prevent the check of the others."""
    failed: list[CorruptStoreError] = []
    for table in _INDEXED:
        try:
            await _verify_index(reading, writer, damage, table)
        except CorruptStoreError as error:
            failed.append(error)
    checks: list[Check] = [*(partial(_verify_table, table=table) for table in _TABLES), usage.verify]
    for check in checks:
        try:
            await check(reading, writer, damage)
        except CorruptStoreError as error:
            failed.append(error)
    for tier in Tier:
        starts_us = await verify_slots(reading, damage, tier, since_us=-LAST_US, until_us=LAST_US)
        if writer is not None:
            await _repair_in_chunks(writer, [(tier, start_us) for start_us in starts_us])
    if failed:
        raise failed[0]


async def _verify_table(reading: Connection, writer: Writer | None, damage: DamageLog, table: str) -> None:
    """Count the damaged rows of a table, or move them to the table ``damage``."""
    if writer is None:
        await reading.run(_count_damaged_rows, damage, table)
    elif await reading.run(_has_damage, table):
        await writer.run(_move_damaged_rows_of, damage, table)


async def _verify_index(reading: Connection, writer: Writer | None, damage: DamageLog, table: str) -> None:
    """Rebuild the index of a table if it differs from the table.

    Raises:
        CorruptStoreError: it differs and cannot be rebuilt, or the table itself is damaged.
    """
    fault = await reading.run(_index_fault, table)
    if fault and writer is not None:
        await writer.run(_rebuild_index, damage, table, fault)
        fault = await reading.run(_index_fault, table)
    if fault:
        raise damaged_error(reading.path, fault)


async def verify_slots(
    source: Connection | Writer,
    damage: DamageLog,
    tier: Tier,
    *,
    since_us: int,
    until_us: int,
) -> list[int]:
    """Read the slots that start in [since_us, until_us), a few at a time; return the starts of those to repair."""
    damaged: list[int] = []
    next_us: int | None = since_us
    while next_us is not None:
        starts_us, next_us = await source.run(_find_damaged, damage, tier, next_us, until_us)
        damaged += starts_us
        await asyncio.sleep(_PAUSE_S)
    return damaged


async def repair_all(writer: Writer) -> None:
    """Repair the slots that were found damaged since the last call."""
    await _repair_in_chunks(writer, writer.damage.unrepaired_slots())


async def _repair_in_chunks(writer: Writer, keys: Sequence[tuple[int, int]]) -> None:
    for at in range(0, len(keys), _REPAIRS_PER_CHUNK):
        await writer.run(_repair, writer.damage, keys[at : at + _REPAIRS_PER_CHUNK])
        await asyncio.sleep(_PAUSE_S)


def _repair(raw: sqlite3.Connection, damage: DamageLog, keys: Sequence[tuple[int, int]]) -> None:
    with transaction(raw):
        for tier, start_us in keys:
            repair(raw, damage, tier, start_us)


def _find_damaged(
    raw: sqlite3.Connection, damage: DamageLog, tier: Tier, since_us: int, until_us: int
) -> tuple[list[int], int | None]:
    """Return which of the next slots need a repair, and where to continue (None: at the end)."""
    rows = raw.execute(
        "SELECT start_us, first_id, last_id, data FROM slot WHERE tier = ? AND start_us >= ? AND start_us < ?"
        " ORDER BY start_us LIMIT ?",
        (tier, since_us, until_us, _SLOTS_PER_CHUNK),
    ).fetchall()
    damaged = [row[0] for row in rows if needs_repair(tier, row)]
    for start_us in damaged:
        for _ in read_slots(raw, damage, tier, start_us, start_us + 1):  # records slots that cannot be read
            pass
    return damaged, rows[-1][0] + 1 if len(rows) == _SLOTS_PER_CHUNK else None


def _index_fault(raw: sqlite3.Connection, table: str) -> str:
    """Return what is wrong with the pages or the index of a table; "" if nothing is."""
    (text,) = raw.execute(f"PRAGMA integrity_check({table})").fetchone()
    return "" if text == "ok" else str(text)


def _rebuild_index(raw: sqlite3.Connection, damage: DamageLog, table: str, fault: str) -> None:
    with transaction(raw):
        raw.execute(f"REINDEX {table}")
        raw.execute(
            "INSERT INTO damage (at_us, kind, result, statement) VALUES (?, 'index', 'rebuilt', ?)",
            (clock.now_us(), f"REINDEX {table}"),
        )
    damage.log_rebuilt_index(table, fault)


def _has_damage(raw: sqlite3.Connection, table: str) -> bool:
    return bool(raw.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE NOT {sound_rows(table)})").fetchone()[0])  # noqa: S608 - names of our tables


def _count_damaged_rows(raw: sqlite3.Connection, damage: DamageLog, table: str) -> None:
    """Count the damaged rows of a table; a slot with a damaged key counts as a row."""
    (count,) = raw.execute(f"SELECT count(*) FROM {table} WHERE NOT {sound_rows(table)}").fetchone()  # noqa: S608 - names of our tables
    for number in range(count):
        damage.note_row(table, number, "a value has an impossible type or range")


def _move_damaged_rows_of(raw: sqlite3.Connection, damage: DamageLog, table: str) -> None:
    with transaction(raw):
        damage.log_moved_rows(table, move_damaged_rows(raw, table, f"NOT {sound_rows(table)}", ()))
        fail_damaged_deliveries(raw, clock.now_us())
        delete_orphans(raw)
