"""Folding and clean-up in many small transactions, with checkpoints, so that no append waits long."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from cogmeter_storage.base import CorruptStoreError
from cogmeter_storage.model import DAY_US, HOUR_US, Cleaned, Retention, Tier
from cogmeter_storage.rollup import fold
from cogmeter_storage.sql import costs, usage
from cogmeter_storage.sql.cleaning import clean_small_tables, cut_us
from cogmeter_storage.sqlite.connection import transaction
from cogmeter_storage.sqlite.damage import sound_rows
from cogmeter_storage.sqlite.database_file import connect
from cogmeter_storage.sqlite.operation_rows import first_id_from
from cogmeter_storage.sqlite.slots import FINER, last_slot, read_slots, sealed_id, write_slot
from cogmeter_storage.sqlite.verify import repair_all, verify_slots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self, TypeAlias

    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.session import SqliteSession
    from cogmeter_storage.sqlite.writer import Writer

    Deletion: TypeAlias = Callable[[SqliteSession], int]

_CHECKPOINT_INTERVAL_S = 0.25  # each one waits for the disk
_DELETE_ROWS = 5000
_PAUSE_S = 0.005
# The time range whose slots one transaction deletes: a few megabytes of blobs.
_DELETE_RANGE_US = {Tier.MINUTE: 2 * HOUR_US, Tier.HOUR: DAY_US, Tier.DAY: 30 * DAY_US}


class Checkpointer:
    """A second connection that makes checkpoints while a job runs and at its end, so that few commits have to.

    The checkpoints are passive: neither the writer nor a reader waits for one, and each copies what they allow.
    """

    _connection: Connection

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._stack = AsyncExitStack()
        self._last_s = time.perf_counter()

    async def __aenter__(self) -> Self:
        """Open the connection."""
        self._connection = await self._stack.enter_async_context(self._writer.extra_connection(self._open))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make the last checkpoint, unless the job failed, and close the connection."""
        async with self._stack:
            if kind is None:
                await self._connection.run(self._checkpoint)

    async def checkpoint_if_due(self) -> None:
        """Make a checkpoint, unless the last one was a moment ago."""
        if time.perf_counter() - self._last_s >= _CHECKPOINT_INTERVAL_S:
            await self._connection.run(self._checkpoint)
            self._last_s = time.perf_counter()

    def _open(self, stack: ExitStack) -> SqliteSession:
        raw = connect(self._writer.path, "rw")
        stack.callback(raw.close)
        return raw

    def _checkpoint(self, raw: SqliteSession) -> None:
        # A deleted log must not be copied into the database, which others may have changed.
        self._writer.identity.check()
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._writer.identity.check()  # records the new content of the file


async def fold_all(writer: Writer, now_us: int) -> int:
    """Implement Store.fold: one transaction per slot."""
    written = 0
    async with Checkpointer(writer):
        await repair_all(writer)
        for tier in FINER:
            for start_us in await writer.run(unfolded_starts, writer.damage, tier, now_us):
                written += await writer.run(_fold_one, writer.damage, tier, start_us)
        await repair_all(writer)
        await usage.fold_all(writer, writer.damage, now_us)
        await costs.fold_all(writer, now_us)
    return written


def unfolded_starts(raw: SqliteSession, damage: DamageLog, tier: Tier, until_us: int) -> list[int]:
    """Return the starts of slots that ended by then and follow the last folded one of their tier."""
    last = last_slot(raw, damage, tier)
    since_us = last.end_us if last is not None else 0
    rows = raw.execute(
        "SELECT DISTINCT start_us / ?1 * ?1 FROM slot WHERE tier = ?2 AND start_us >= ?3 AND start_us < ?4 ORDER BY 1",
        (tier.width_us, FINER[tier], since_us, until_us // tier.width_us * tier.width_us),
    )
    return [start_us for (start_us,) in rows]


def _fold_one(raw: SqliteSession, damage: DamageLog, tier: Tier, start_us: int) -> int:
    end_us = start_us + tier.width_us
    # A late minute may just have started an hour of this day: fold the day next time.
    if tier is Tier.DAY and unfolded_starts(raw, damage, Tier.HOUR, end_us):
        return 0
    with transaction(raw):
        finer = list(read_slots(raw, damage, FINER[tier], start_us, end_us))
        if finer:  # otherwise all of them are lost, and will be removed
            write_slot(raw, fold(finer, tier))
    return bool(finer)


async def clean(writer: Writer, retention: Retention, now_us: int) -> Cleaned:
    """Implement Store.clean.

    Cuts are on the borders of the coarser tier, so that a slot always replaces all of its finer ones. Nothing is
    removed that the coarser tier does not contain yet.
    """
    raw_cut = cut_us(now_us, retention.raw_hours, HOUR_US)
    cuts = {
        Tier.MINUTE: raw_cut,
        Tier.HOUR: cut_us(now_us, retention.hour_hours, DAY_US),
        Tier.DAY: cut_us(now_us, retention.day_hours, DAY_US),
    }
    await _verify_before_clean(writer, cuts)
    failed: list[CorruptStoreError] = []
    async with Checkpointer(writer) as checkpointer:
        delete_all, damage = partial(_delete_in_chunks, writer, checkpointer, failed), writer.damage
        operations = await delete_all(partial(_delete_operations, damage=damage, before_us=raw_cut))
        slots = 0
        for tier, before_us in cuts.items():
            slots += await delete_all(partial(_delete_slots, damage=damage, tier=tier, before_us=before_us))
        small = await clean_small_tables(
            delete_all, retention, now_us, corrections=("damage", "set_apart", "clock_step")
        )
    if failed:
        raise failed[0]
    return Cleaned(operations, slots, **small._asdict())


async def _verify_before_clean(writer: Writer, cuts: Mapping[Tier, int]) -> None:
    """Repair the slots that replace the data to be removed, while there is finer data to rebuild them from."""
    for tier, until_us in (
        (Tier.MINUTE, cuts[Tier.MINUTE]),
        (Tier.HOUR, cuts[Tier.MINUTE]),
        (Tier.DAY, cuts[Tier.HOUR]),
    ):
        first_us = await writer.run(_first_finer, tier)
        if first_us is not None:
            since_us = first_us // tier.width_us * tier.width_us
            await verify_slots(writer, writer.damage, tier, since_us=since_us, until_us=until_us)
    await repair_all(writer)


def _first_finer(raw: SqliteSession, tier: Tier) -> int | None:
    """Return the time of the oldest data from which a slot of this tier can be rebuilt; None without any."""
    if tier is Tier.MINUTE:
        find = "SELECT end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id LIMIT 1"
        row = raw.execute(find).fetchone()
        return None if row is None else int(row[0])
    return _first_start(raw, FINER[tier])


def _first_start(raw: SqliteSession, tier: Tier) -> int | None:
    """Return the start of the first slot of a tier without reading the slot, which may be damaged."""
    find = f"SELECT start_us FROM slot WHERE tier = ? AND {sound_rows('slot')} ORDER BY start_us LIMIT 1"  # noqa: S608 - names of our columns
    row = raw.execute(find, (tier,)).fetchone()
    return None if row is None else int(row[0])


async def _delete_in_chunks(
    writer: Writer, checkpointer: Checkpointer, failed: list[CorruptStoreError], delete: Deletion
) -> int:
    """Call ``delete`` with pauses until it deletes nothing more; return the number of deleted rows.

    A table with damaged pages is added to ``failed``, and the others are still cleaned up: otherwise they would grow.
    """
    total = 0
    try:
        while removed := await writer.run(delete):
            total += removed
            await checkpointer.checkpoint_if_due()
            await asyncio.sleep(_PAUSE_S)
    except CorruptStoreError as error:
        failed.append(error)
    return total


def _delete_operations(raw: SqliteSession, damage: DamageLog, before_us: int) -> int:
    """Delete the oldest few sealed operations that ended before the cut; return how many."""
    (first_id,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    last_id = min(first_id_from(raw, before_us) - 1, sealed_id(raw, damage), first_id + _DELETE_ROWS - 1)
    if last_id < first_id:
        return 0
    with transaction(raw):
        return raw.execute("DELETE FROM operation WHERE id BETWEEN ? AND ?", (first_id, last_id)).rowcount


def _delete_slots(raw: SqliteSession, damage: DamageLog, tier: Tier, before_us: int) -> int:
    """Delete the oldest few slots of a tier that are before the cut; return how many."""
    if tier is not Tier.DAY:
        coarser = last_slot(raw, damage, Tier(tier + 1))
        before_us = min(before_us, coarser.end_us if coarser is not None else 0)
    first_us = _first_start(raw, tier)
    if first_us is None or first_us >= before_us:
        return 0
    width = _DELETE_RANGE_US[tier]
    stop_us = min(before_us, (first_us // width + 1) * width)
    with transaction(raw):
        return raw.execute("DELETE FROM slot WHERE tier = ? AND start_us < ?", (tier, stop_us)).rowcount
