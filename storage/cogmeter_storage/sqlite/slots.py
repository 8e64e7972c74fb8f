"""Reads and writes slots. A damaged one is rebuilt from finer slots or raw operations, or else left out; see damage.py.

Readers get the rebuilt slot in memory, and the writer puts it into the file when it folds or verifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.clock import clock
from cogmeter_storage.model import MINUTE_US, Tier
from cogmeter_storage.plan import Extent
from cogmeter_storage.rollup import OpenMinute, SealedSlot, fold
from cogmeter_storage.slot import SlotFormatError, check, decode, encode, has_checksum
from cogmeter_storage.sqlite.rows import first_id_from, read_columns
from cogmeter_storage.sqlite.validity import columns, sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeAlias

    from cogmeter_storage.slot import Slot
    from cogmeter_storage.sqlite.damage import DamageLog, Result

    Row: TypeAlias = tuple[Any, Any, Any, Any]  # of _COLUMNS, of whatever types a damaged file holds

FINER: Final = {Tier.HOUR: Tier.MINUTE, Tier.DAY: Tier.HOUR}
_COLUMNS: Final = "start_us, first_id, last_id, data"


def seal(raw: sqlite3.Connection, damage: DamageLog, minute: SealedSlot) -> None:
    """Store a finished minute; where its hour or day has been folded already, it joins them."""
    write_slot(raw, minute)
    for tier in FINER:
        start_us = minute.start_us // tier.width_us * tier.width_us
        found = raw.execute(f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us = ?", (tier, start_us))  # noqa: S608 - the columns above
        row = found.fetchone()
        if row is None:
            continue
        try:
            folded = _decoded(tier, row)
        except SlotFormatError:
            repair(raw, damage, tier, start_us)  # from the finer slots, of which the minute is one now
        else:
            write_slot(raw, fold([folded, minute], tier))


def write_slot(raw: sqlite3.Connection, slot: SealedSlot) -> None:
    """Store a slot, in place of the one that may stand there."""
    row = (slot.tier, slot.start_us, slot.first_id, slot.last_id)
    raw.execute(
        "INSERT OR REPLACE INTO slot (tier, start_us, first_id, last_id, data) VALUES (?, ?, ?, ?, ?)",
        (*row, encode(slot.slot, row)),
    )


def read_slots(
    raw: sqlite3.Connection,
    damage: DamageLog,
    tier: Tier,
    since_us: int,
    until_us: int,
    *,
    newest_first: bool = False,
) -> Iterator[SealedSlot]:
    """Yield the slots of a tier that start in [since_us, until_us), in order of time: damaged ones rebuilt, or none."""
    order = "DESC" if newest_first else "ASC"
    rows = raw.execute(
        f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us >= ? AND start_us < ?"  # noqa: S608 - the order is one of the two words above
        f" ORDER BY start_us {order}",
        (tier, since_us, until_us),
    )
    for row in rows:
        slot = _slot(raw, damage, tier, row)
        if slot is not None:
            yield slot


class Edge(NamedTuple):
    """Where a tier begins or ends: the slot there, without its figures."""

    tier: Tier
    start_us: int
    last_id: int

    @property
    def end_us(self) -> int:
        """When the slot ended."""
        return self.start_us + self.tier.width_us


def last_edge(raw: sqlite3.Connection, damage: DamageLog, tier: Tier) -> Edge | None:
    """Return the last slot of a tier that can be read; None without any."""
    return _edge(raw, damage, tier, "DESC")


def sealed_id(raw: sqlite3.Connection, damage: DamageLog) -> int:
    """Return the last operation that any slot holds; 0 without slots."""
    found = (last_edge(raw, damage, tier) for tier in Tier)
    return max((edge.last_id for edge in found if edge is not None), default=0)


def extents(raw: sqlite3.Connection, damage: DamageLog) -> tuple[dict[Tier, Extent], int]:
    """Return what is kept of each tier, and the last operation that any slot holds (0 without slots)."""
    kept = {}
    newest_id = 0
    for tier in Tier:
        first, last = _edge(raw, damage, tier, "ASC"), last_edge(raw, damage, tier)
        if first is not None and last is not None:
            kept[tier] = Extent(first.start_us, last.end_us)
            newest_id = max(newest_id, last.last_id)
    return kept, newest_id


def repair(raw: sqlite3.Connection, damage: DamageLog, tier: int, start_us: int) -> None:
    """Replace a slot that is damaged by what can be rebuilt, or remove it, in the caller's transaction.

    A sound slot of a format without checksum gets one.
    """
    found = raw.execute(f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us = ?", (tier, start_us))  # noqa: S608 - the columns above
    row = found.fetchone()
    if row is None:
        damage.removed(tier, start_us)
        return
    try:
        sound_slot = _decoded(Tier(tier), row)
    except SlotFormatError as error:
        slot, result = _rebuilt(raw, damage, Tier(tier), start_us, row[1:3])
        set_aside(raw, "slot", "tier = ? AND start_us = ?", (tier, start_us), result)
        if slot is not None:
            write_slot(raw, slot)
        damage.repaired(tier, start_us, str(error), result)
    else:
        if not has_checksum(row[-1]):
            write_slot(raw, sound_slot)


def set_aside(
    raw: sqlite3.Connection, table: str, where: str, values: tuple[object, ...], result: str = "removed"
) -> int:
    """Move rows into the table ``damage``, as the statements that would bring them back; returns how many."""
    raw.execute(
        "INSERT INTO damage (at_us, kind, result, statement)"  # noqa: S608 - names of our tables and columns
        f" SELECT ?, ?, ?, {insertion(table)} FROM {table} WHERE {where}",
        (clock.now_us(), table, result, *values),
    )
    return raw.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount  # noqa: S608 - names of our tables


def insertion(table: str) -> str:
    """Return the SQL expression for the statement that would insert a row of the table again."""
    quoted = " || ', ' || ".join(f"quote({name})" for name in columns(table))
    return f"'INSERT INTO {table} ({', '.join(columns(table))}) VALUES (' || {quoted} || ')'"  # noqa: S608 - names of our tables and columns


def needs_repair(tier: int, row: Row) -> bool:
    """Return whether a stored slot is damaged or lacks a checksum."""
    try:
        _check(tier, row)
    except SlotFormatError:
        return True
    return not has_checksum(row[-1])


def _edge(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, order: str) -> Edge | None:
    rows = raw.execute(
        f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND {sound('slot')} ORDER BY start_us {order}",  # noqa: S608 - names of our columns
        (tier,),
    )
    for row in rows:
        try:
            _check(tier, row)
        except SlotFormatError:
            slot = _slot(raw, damage, tier, row)
            if slot is not None:
                return Edge(tier, slot.start_us, slot.last_id)
        else:
            return Edge(tier, row[0], row[2])
    return None


def _slot(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, row: Row) -> SealedSlot | None:
    """Return a slot as it was read, or rebuilt if that is damaged; None if it is lost."""
    try:
        return _decoded(tier, row)
    except SlotFormatError as error:
        start_us, *ids, _ = row
        if damage.is_lost(tier, start_us):
            return None
        slot, result = _rebuilt(raw, damage, tier, start_us, ids)
        damage.slot(tier, start_us, str(error), result)
        return slot


def _decoded(tier: Tier, row: Row) -> SealedSlot:
    start_us, first_id, last_id, data = row
    slot = decode(data, (tier, start_us, first_id, last_id))
    if not has_checksum(data):
        _compare(tier, row, slot)
    return SealedSlot(tier, start_us, first_id, last_id, slot)


def _check(tier: int, row: Row) -> None:
    """Check a slot as _decoded() does, which for one with a checksum costs less.

    Raises:
        SlotFormatError: it is damaged.
    """
    *key, data = row
    if not has_checksum(check(data, (tier, *key))):
        _decoded(Tier(tier), row)


def _compare(tier: Tier, row: Row, slot: Slot) -> None:
    """Compare a slot without checksum with its row.

    Raises:
        SlotFormatError: they contradict each other.
    """
    start_us, first_id, last_id, _ = row
    if not all(type(value) is int for value in row[:3]) or start_us % tier.width_us:
        raise SlotFormatError("its start or an id is impossible")
    if not 1 <= int(slot.counts.sum(dtype="f8")) <= last_id - first_id + 1:
        raise SlotFormatError("it counts more operations than its ids span")


def _rebuilt(
    raw: sqlite3.Connection, damage: DamageLog, tier: Tier, start_us: int, ids: Sequence[object]
) -> tuple[SealedSlot | None, Result]:
    """Return the slot made anew from what is finer; ``ids`` are the first and last operation that its row names."""
    if type(start_us) is not int or start_us % tier.width_us:
        return None, "lost"  # it starts where no slot does: no data is known to belong to it
    if tier is Tier.MINUTE:
        slot = _from_operations(raw, damage, start_us)
        (oldest,) = raw.execute("SELECT min(id) FROM operation").fetchone()
        more_before = slot is not None and oldest < slot.first_id
    else:
        finer = list(read_slots(raw, damage, FINER[tier], start_us, start_us + tier.width_us))
        slot = fold(finer, tier) if finer else None
        find = "SELECT EXISTS (SELECT 1 FROM slot WHERE tier = ? AND start_us < ?)"
        more_before = bool(raw.execute(find, (FINER[tier], start_us)).fetchone()[0])
    if slot is None:
        return None, "lost"
    # Clean-up removes the oldest data first, so what has older data before it is complete.
    complete = more_before or _covers(slot, *ids)
    without_gaps = int(slot.slot.counts.sum(dtype="i8")) == slot.last_id - slot.first_id + 1
    return slot, "rebuilt" if complete and without_gaps else "partial"


def _covers(slot: SealedSlot, first_id: object, last_id: object) -> bool:
    return (
        isinstance(first_id, int) and isinstance(last_id, int) and slot.first_id <= first_id <= last_id <= slot.last_id
    )


def _from_operations(raw: sqlite3.Connection, damage: DamageLog, start_us: int) -> SealedSlot | None:
    """Return the minute of the raw operations that ended in it; None if none is left."""
    minute: OpenMinute | None = None
    until_us = start_us + MINUTE_US
    first_id, behind_id = first_id_from(raw, start_us), first_id_from(raw, until_us)
    for part in read_columns(raw, damage, first_id - 1, behind_id - 1):
        inside = part.where((part.end_us >= start_us) & (part.end_us < until_us))
        if inside.id.size:
            minute = OpenMinute.of(inside) if minute is None else minute.with_rows(inside)
    return None if minute is None else minute.sealed()
