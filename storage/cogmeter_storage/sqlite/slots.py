"""Reads and writes slots. A damaged slot is rebuilt from finer slots or operations, or left out; see damage.py.

Readers get the rebuilt slot in memory. The writer stores it when it folds or verifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.model import MINUTE_US, Tier
from cogmeter_storage.plan import Extent
from cogmeter_storage.rollup import OpenMinute, SealedSlot, fold
from cogmeter_storage.slot import SlotFormatError, check, decode, encode, has_checksum
from cogmeter_storage.sqlite.damage import move_damaged_rows, sound_rows
from cogmeter_storage.sqlite.operation_rows import first_id_from, read_columns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeAlias

    from cogmeter_storage.slot import Slot
    from cogmeter_storage.sqlite.damage import DamageLog, Result

    Row: TypeAlias = tuple[Any, Any, Any, Any]  # of _COLUMNS; a damaged file can contain any type

FINER: Final = {Tier.HOUR: Tier.MINUTE, Tier.DAY: Tier.HOUR}
_COLUMNS: Final = "start_us, first_id, last_id, data"


def seal(raw: sqlite3.Connection, damage: DamageLog, minute: SealedSlot) -> None:
    """Store a finished minute; where its hour or day is folded already, add it to them."""
    write_slot(raw, minute)
    for tier in FINER:
        start_us = minute.start_us // tier.width_us * tier.width_us
        cursor = raw.execute(f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us = ?", (tier, start_us))  # noqa: S608 - the columns above
        row = cursor.fetchone()
        if row is None:
            continue
        try:
            folded = _decode(tier, row)
        except SlotFormatError:
            repair(raw, damage, tier, start_us)  # from the finer slots, which include the minute now
        else:
            write_slot(raw, fold([folded, minute], tier))


def write_slot(raw: sqlite3.Connection, slot: SealedSlot) -> None:
    """Store a slot; replace the previous one."""
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
    """Yield the slots of a tier that start in [since_us, until_us) in order of time; rebuild or skip damaged ones."""
    order = "DESC" if newest_first else "ASC"
    rows = raw.execute(
        f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us >= ? AND start_us < ?"  # noqa: S608 - the order is one of the two words above
        f" ORDER BY start_us {order}",
        (tier, since_us, until_us),
    )
    for row in rows:
        slot = _readable_slot(raw, damage, tier, row)
        if slot is not None:
            yield slot


class SlotHeader(NamedTuple):
    """The position of a stored slot, without its aggregates."""

    tier: Tier
    start_us: int
    last_id: int

    @property
    def end_us(self) -> int:
        """The end of the slot."""
        return self.start_us + self.tier.width_us


def last_slot(raw: sqlite3.Connection, damage: DamageLog, tier: Tier) -> SlotHeader | None:
    """Return the last readable slot of a tier; None without any."""
    return _outermost_slot(raw, damage, tier, "DESC")


def sealed_id(raw: sqlite3.Connection, damage: DamageLog) -> int:
    """Return the id of the last operation in any slot; 0 without slots."""
    newest = (last_slot(raw, damage, tier) for tier in Tier)
    return max((slot.last_id for slot in newest if slot is not None), default=0)


def extents(raw: sqlite3.Connection, damage: DamageLog) -> tuple[dict[Tier, Extent], int]:
    """Return the stored range of each tier, and the id of the last operation in any slot (0 without slots)."""
    stored = {}
    newest_id = 0
    for tier in Tier:
        first, last = _outermost_slot(raw, damage, tier, "ASC"), last_slot(raw, damage, tier)
        if first is not None and last is not None:
            stored[tier] = Extent(first.start_us, last.end_us)
            newest_id = max(newest_id, last.last_id)
    return stored, newest_id


def repair(raw: sqlite3.Connection, damage: DamageLog, tier: int, start_us: int) -> None:
    """Replace a damaged slot by a rebuilt one, or remove it, in the caller's transaction.

    A sound slot of the format without checksum gets one.
    """
    cursor = raw.execute(f"SELECT {_COLUMNS} FROM slot WHERE tier = ? AND start_us = ?", (tier, start_us))  # noqa: S608 - the columns above
    row = cursor.fetchone()
    if row is None:
        damage.note_removed_slot(tier, start_us)
        return
    try:
        sound_slot = _decode(Tier(tier), row)
    except SlotFormatError as error:
        slot, result = _rebuild(raw, damage, Tier(tier), start_us, row[1:3])
        move_damaged_rows(raw, "slot", "tier = ? AND start_us = ?", (tier, start_us), result)
        if slot is not None:
            write_slot(raw, slot)
        damage.note_repaired_slot(tier, start_us, str(error), result)
    else:
        if not has_checksum(row[-1]):
            write_slot(raw, sound_slot)


def needs_repair(tier: int, row: Row) -> bool:
    """Return True if a stored slot is damaged or lacks a checksum."""
    try:
        _check(tier, row)
    except SlotFormatError:
        return True
    return not has_checksum(row[-1])


def _outermost_slot(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, order: str) -> SlotHeader | None:
    """Return the first or the last readable slot; its aggregates are read only once for each of its versions.

    As in Store.hour_versions, a slot changes with its ids. Every read needs these slots, and those of days are large.
    """
    where = f"FROM slot WHERE tier = ? AND {sound_rows('slot')} ORDER BY start_us {order}"
    version = raw.execute(f"SELECT start_us, first_id, last_id, length(data) {where} LIMIT 1", (tier,)).fetchone()
    if version is None:
        return None
    if damage.is_sound_slot(tier, order, version):
        return SlotHeader(tier, version[0], version[2])
    for row in raw.execute(f"SELECT {_COLUMNS} {where}", (tier,)):
        try:
            _check(tier, row)
        except SlotFormatError:
            slot = _readable_slot(raw, damage, tier, row)
            if slot is not None:
                return SlotHeader(tier, slot.start_us, slot.last_id)
        else:
            damage.note_sound_slot(tier, order, (*row[:3], len(row[3])))
            return SlotHeader(tier, row[0], row[2])
    return None


def _readable_slot(raw: sqlite3.Connection, damage: DamageLog, tier: Tier, row: Row) -> SealedSlot | None:
    """Return a slot as it was stored, or rebuilt if it is damaged; None if it is lost."""
    try:
        return _decode(tier, row)
    except SlotFormatError as error:
        start_us, *ids, _ = row
        if damage.is_lost(tier, start_us):
            return None
        slot, result = _rebuild(raw, damage, tier, start_us, ids)
        damage.note_slot(tier, start_us, str(error), result)
        return slot


def _decode(tier: Tier, row: Row) -> SealedSlot:
    start_us, first_id, last_id, data = row
    slot = decode(data, (tier, start_us, first_id, last_id))
    if not has_checksum(data):
        _compare_with_row(tier, row, slot)
    return SealedSlot(tier, start_us, first_id, last_id, slot)


def _check(tier: int, row: Row) -> None:
    """Check a slot as _decode() does, which for one with a checksum takes less time.

    Raises:
        SlotFormatError: it is damaged.
    """
    *key, data = row
    if not has_checksum(check(data, (tier, *key))):
        _decode(Tier(tier), row)


def _compare_with_row(tier: Tier, row: Row, slot: Slot) -> None:
    """Compare a slot without checksum with its row.

    Raises:
        SlotFormatError: they contradict each other.
    """
    start_us, first_id, last_id, _ = row
    if not all(type(value) is int for value in row[:3]) or start_us % tier.width_us:
        raise SlotFormatError("its start or an id is impossible")
    if not 1 <= int(slot.counts.sum(dtype="f8")) <= last_id - first_id + 1:
        raise SlotFormatError("it counts more operations than its ids span")


def _rebuild(
    raw: sqlite3.Connection, damage: DamageLog, tier: Tier, start_us: int, ids: Sequence[object]
) -> tuple[SealedSlot | None, Result]:
    """Return the slot rebuilt from finer data; ``ids`` are the first and last operation in its row."""
    if type(start_us) is not int or start_us % tier.width_us:
        return None, "lost"  # no slot starts there, so no data is known to belong to it
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
    # Clean-up removes the oldest data first: with older data before it, the slot is complete.
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
            minute = OpenMinute.from_rows(inside) if minute is None else minute.with_rows(inside)
    return None if minute is None else minute.sealed()
