"""Folding and clean-up: many small transactions between the writer's own, so that no append waits long."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from cogmeter_storage.base import CorruptStoreError
from cogmeter_storage.model import DAY_US, HOUR_US, Cleaned, Retention, Tier
from cogmeter_storage.rollup import fold
from cogmeter_storage.sqlite import alert_rows, samples, traces
from cogmeter_storage.sqlite.checkpoint import Checkpoints
from cogmeter_storage.sqlite.rows import first_id_from, transaction
from cogmeter_storage.sqlite.slots import FINER, last_edge, read_slots, sealed_id, write_slot
from cogmeter_storage.sqlite.validity import sound
from cogmeter_storage.sqlite.verify import repair_all, verify_slots

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.writer import Writer

    Deletion: TypeAlias = Callable[[sqlite3.Connection], int]  # deletes a few rows, and says how many

_DELETE_ROWS = 5000
_PAUSE_S = 0.005
_DELETE_US = {Tier.MINUTE: 2 * HOUR_US, Tier.HOUR: DAY_US, Tier.DAY: 30 * DAY_US}  # a few megabytes of blobs each


async def fold_all(writer: Writer, now_us: int) -> int:
    """See Store.fold: one transaction a slot."""
    written = 0
    async with Checkpoints(writer):
        await repair_all(writer)
        for tier in FINER:
            for start_us in await writer.run(unfolded, writer.damage, tier, now_us):
                written += await writer.run(_fold_one, writer.damage, tier, start_us)
        await repair_all(writer)
    return written


def unfolded(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, until_us: int) -> list[int]:
    """The starts of the slots that ended by then and can be folded, but are not: those behind the last folded one."""
    last = last_edge(raw, damage, tier)
    since_us = last.end_us if last is not None else 0
    rows = raw.execute(
        "SELECT DISTINCT start_us / ?1 * ?1 FROM slot WHERE tier = ?2 AND start_us >= ?3 AND start_us < ?4 ORDER BY 1",
        (tier.width_us, FINER[tier], since_us, until_us // tier.width_us * tier.width_us),
    )
    return [start_us for (start_us,) in rows]


def _fold_one(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, start_us: int) -> int:
    end_us = start_us + tier.width_us
    # A late minute may have opened an hour of this day a moment ago: the day waits for the next time.
    if tier is Tier.DAY and unfolded(raw, damage, Tier.HOUR, end_us):
        return 0
    with transaction(raw):
        finer = list(read_slots(raw, damage, FINER[tier], start_us, end_us))
        if finer:  # or all of them are lost, and will be removed
            write_slot(raw, fold(finer, tier))
    return bool(finer)


async def clean(writer: Writer, retention: Retention, now_us: int) -> Cleaned:
    """See Store.clean.

    Cuts are on the coarser tier's borders, so that where a slot stands for finer ones, it stands for all of them; and
    nothing goes that the coarser tier does not hold yet.
    """
    raw_cut = _cut(now_us, retention.raw_hours, HOUR_US)
    cuts = {
        Tier.MINUTE: raw_cut,
        Tier.HOUR: _cut(now_us, retention.hour_hours, DAY_US),
        Tier.DAY: _cut(now_us, retention.day_hours, DAY_US),
    }
    await _verify_before(writer, cuts)
    failed: list[CorruptStoreError] = []
    async with Checkpoints(writer) as checkpoints:
        paced, damage = partial(_paced, writer, checkpoints, failed), writer.damage
        cleaned = Cleaned(
            operations=await paced(partial(_delete_operations, damage=damage, cut_us=raw_cut)),
            slots=sum(
                [
                    await paced(partial(_delete_slots, damage=damage, tier=tier, cut_us=cut))
                    for tier, cut in cuts.items()
                ]
            ),
            traces=await paced(partial(traces.delete, cut_us=raw_cut)),
            samples=await paced(partial(samples.delete, cut_us=raw_cut)),
            alerts=await _clean_alerting(paced, raw_cut, cuts[Tier.DAY]),
        )
    if failed:
        raise failed[0]
    return cleaned


async def _verify_before(writer: Writer, cuts: Mapping[Tier, int]) -> None:
    """Repair the slots that stand for what is about to go, as long as there is something to rebuild them from."""
    for tier, cut_us in ((Tier.MINUTE, cuts[Tier.MINUTE]), (Tier.HOUR, cuts[Tier.MINUTE]), (Tier.DAY, cuts[Tier.HOUR])):
        first_us = await writer.run(_first_finer, tier)
        if first_us is not None:
            since_us = first_us // tier.width_us * tier.width_us
            await verify_slots(writer, writer.damage, tier, since_us=since_us, until_us=cut_us)
    await repair_all(writer)


def _first_finer(raw: sqlite3.Connection, tier: Tier) -> int | None:
    """Return the time of the oldest data that a slot of this tier can be rebuilt from; None without any."""
    if tier is Tier.MINUTE:
        find = "SELECT end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id LIMIT 1"
        row = raw.execute(find).fetchone()
        return None if row is None else int(row[0])
    return _first_start(raw, FINER[tier])


def _first_start(raw: sqlite3.Connection, tier: Tier) -> int | None:
    """Return the start of the first slot of a tier; it is not read, for it may be damaged."""
    find = f"SELECT start_us FROM slot WHERE tier = ? AND {sound('slot')} ORDER BY start_us LIMIT 1"  # noqa: S608 - names of our columns
    row = raw.execute(find, (tier,)).fetchone()
    return None if row is None else int(row[0])


async def _clean_alerting(paced: Callable[[Deletion], Awaitable[int]], raw_cut: int, day_cut: int) -> int:
    """Remove ended alerts, what was noted on the way, and old damage; returns how many alerts it were."""
    alerts = await paced(partial(alert_rows.delete, cut_us=day_cut))
    for table, time, cut_us in (
        ("attempt", "at_us", raw_cut),
        ("delivery", "ended_us", raw_cut),  # NULL, and so never before the cut, while it waits
        ("mute", "until_us", raw_cut),
        ("audit", "at_us", day_cut),
        ("marker", "at_us", day_cut),
        ("damage", "at_us", raw_cut),
        ("set_apart", "at_us", raw_cut),
        ("clock_step", "at_us", raw_cut),
    ):
        await paced(partial(_delete_rows, table=table, time=time, cut_us=cut_us))
    return alerts


async def _paced(writer: Writer, checkpoints: Checkpoints, failed: list[CorruptStoreError], delete: Deletion) -> int:
    """Call it, with pauses, until it deletes nothing any more; returns how much it did.

    A table with damaged pages is noted in ``failed``: the others are cleaned up all the same, or they would grow.
    """
    total = 0
    try:
        while removed := await writer.run(delete):
            total += removed
            await checkpoints.make()
            await asyncio.sleep(_PAUSE_S)
    except CorruptStoreError as error:
        failed.append(error)
    return total


def _cut(now_us: int, hours: float, width_us: int) -> int:
    return int(now_us - hours * HOUR_US) // width_us * width_us


def _delete_operations(raw: sqlite3.Connection, damage: DamageLog, cut_us: int) -> int:
    """Delete the oldest few sealed operations that ended before the cut; 0 when there is none."""
    (first_id,) = raw.execute("SELECT ifnull(min(id), 1) FROM operation").fetchone()
    last_id = min(first_id_from(raw, cut_us) - 1, sealed_id(raw, damage), first_id + _DELETE_ROWS - 1)
    if last_id < first_id:
        return 0
    with transaction(raw):
        return raw.execute("DELETE FROM operation WHERE id BETWEEN ? AND ?", (first_id, last_id)).rowcount


def _delete_rows(raw: sqlite3.Connection, table: str, time: str, cut_us: int) -> int:
    """Delete the oldest few rows of a small table whose time lies before the cut; 0 when there is none."""
    oldest = f"SELECT id FROM {table} WHERE {time} < ? ORDER BY {time} LIMIT ?"  # noqa: S608 - names of our tables
    with transaction(raw):
        return raw.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (cut_us, _DELETE_ROWS)).rowcount  # noqa: S608 - the text above


def _delete_slots(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, cut_us: int) -> int:
    """Delete the oldest few slots of a tier that lie before the cut; 0 when there is none."""
    if tier is not Tier.DAY:
        coarser = last_edge(raw, damage, Tier(tier + 1))
        cut_us = min(cut_us, coarser.end_us if coarser is not None else 0)
    first_us = _first_start(raw, tier)
    if first_us is None or first_us >= cut_us:
        return 0
    width = _DELETE_US[tier]
    stop_us = min(cut_us, (first_us // width + 1) * width)
    with transaction(raw):
        return raw.execute("DELETE FROM slot WHERE tier = ? AND start_us < ?", (tier, stop_us)).rowcount
