"""Reads all slots and checks the small tables, so that damage is found before the data is needed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import CorruptStoreError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import LAST_US, Tier
from cogmeter_storage.sql.alerts import fail_damaged_deliveries
from cogmeter_storage.sql.errors import delete_orphans
from cogmeter_storage.sql.usage import decoded, set_apart
from cogmeter_storage.sqlite.connection import damaged_error, snapshot, transaction
from cogmeter_storage.sqlite.damage import move_damaged_rows, sound_rows
from cogmeter_storage.sqlite.slots import needs_repair, read_slots, repair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.session import SqliteSession
    from cogmeter_storage.sqlite.writer import Writer

    Check: TypeAlias = Callable[[Connection, Writer | None, DamageLog], Awaitable[None]]

_SLOTS_PER_CHUNK: Final = 50  # read at once: about a millisecond
_REPAIRS_PER_CHUNK: Final = 20  # in one transaction
_PAUSE_S: Final = 0.005
_USAGE_SLOTS_PER_CHUNK: Final = 20
_USAGE_SLOT_ROWS: Final = "SELECT rowid, tier, start_us, data FROM usage_slot WHERE rowid > ? ORDER BY rowid LIMIT ?"
_USAGE_PART_ROWS: Final = f"SELECT id, {Tier.HOUR:d}, start_us, data FROM usage_part WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - a number
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
    checks: list[Check] = [*(partial(_verify_table, table=table) for table in _TABLES), _verify_usage]
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


def _repair(raw: SqliteSession, damage: DamageLog, keys: Sequence[tuple[int, int]]) -> None:
    with transaction(raw):
        for tier, start_us in keys:
            repair(raw, damage, tier, start_us)


def _find_damaged(
    raw: SqliteSession, damage: DamageLog, tier: Tier, since_us: int, until_us: int
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


def _index_fault(raw: SqliteSession, table: str) -> str:
    """Return what is wrong with the pages or the index of a table; "" if nothing is."""
    (text,) = raw.execute(f"PRAGMA integrity_check({table})").fetchone()
    return "" if text == "ok" else str(text)


def _rebuild_index(raw: SqliteSession, damage: DamageLog, table: str, fault: str) -> None:
    with transaction(raw):
        raw.execute(f"REINDEX {table}")
        raw.execute(
            "INSERT INTO damage (at_us, kind, result, statement) VALUES (?, 'index', 'rebuilt', ?)",
            (clock.now_us(), f"REINDEX {table}"),
        )
    damage.log_rebuilt_index(table, fault)


def _has_damage(raw: SqliteSession, table: str) -> bool:
    return bool(raw.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE NOT {sound_rows(table)})").fetchone()[0])  # noqa: S608 - names of our tables


def _count_damaged_rows(raw: SqliteSession, damage: DamageLog, table: str) -> None:
    """Count the damaged rows of a table; a slot with a damaged key counts as a row."""
    (count,) = raw.execute(f"SELECT count(*) FROM {table} WHERE NOT {sound_rows(table)}").fetchone()  # noqa: S608 - names of our tables
    for number in range(count):
        damage.note_row(table, number, "a value has an impossible type or range")


def _move_damaged_rows_of(raw: SqliteSession, damage: DamageLog, table: str) -> None:
    with transaction(raw):
        damage.log_moved_rows(table, move_damaged_rows(raw, table, f"NOT {sound_rows(table)}", ()))
        fail_damaged_deliveries(raw, clock.now_us())
        delete_orphans(raw)


async def _verify_usage(reading: Connection, writer: Writer | None, damage: DamageLog) -> None:
    """Read all slots and parts, a few at a time; count damaged ones, or move them to the table ``damage``."""
    for select, table in ((_USAGE_SLOT_ROWS, "usage_slot"), (_USAGE_PART_ROWS, "usage_part")):
        last_id: int | None = -LAST_US
        while last_id is not None:
            if writer is None:
                last_id = await reading.run(_check_usage_rows, damage, select, table, last_id, repairing=False)
            else:
                last_id = await writer.run(_check_usage_rows, damage, select, table, last_id, repairing=True)
            await asyncio.sleep(_PAUSE_S)


def _check_usage_rows(
    raw: SqliteSession, damage: DamageLog, select: str, table: str, after_id: int, *, repairing: bool
) -> int | None:
    """Check the next few rows; return the last one's id, None at the end."""
    with raw.transaction("usage") if repairing else snapshot(raw):
        rows = raw.execute(select, (after_id, _USAGE_SLOTS_PER_CHUNK)).fetchall()
        for number, tier, start_us, data in rows:
            key = (tier, start_us) if table == "usage_slot" else (number,)
            if decoded(damage, table, key, (tier, start_us), data) is None and repairing:
                set_apart(raw, damage, table, key)
    return rows[-1][0] if len(rows) == _USAGE_SLOTS_PER_CHUNK else None
