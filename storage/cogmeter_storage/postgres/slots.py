"""Reads, writes, folds and merges slots.

Slots of one time are added up, so a slot is never changed by another run: a late minute is one more row. Folding puts
the minutes of a run's hour into one slot of the hour, and hours into days. Merging puts the slots of all runs of one
time into the slot of run 0. Flags say which rows are contained in which, so that each operation is counted once.
"""

from __future__ import annotations

import itertools
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter_storage.model import Tier
from cogmeter_storage.plan import Extent
from cogmeter_storage.rollup import SealedSlot, fold
from cogmeter_storage.slot import SlotFormatError, decode, encode, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import psycopg

    from cogmeter_storage.postgres.damage import PostgresDamage
    from cogmeter_storage.postgres.session import PostgresSession

MERGED: Final = 0  # the run of merged slots
_MERGED_AT_ONCE: Final = 60  # times in one transaction
SEQUENCE_BITS: Final = 33  # of an operation's id; the others are its run: 8.6 billion operations of a million runs
_COLUMNS: Final = "tier, start_us, run, first_id, last_id, data"
_FINER: Final = {Tier.HOUR: Tier.MINUTE, Tier.DAY: Tier.HOUR}
_UPSERT: Final = (
    "INSERT INTO slot (tier, start_us, run, first_id, last_id, sealed, folded, merged, data)"
    " VALUES (%s, %s, %s, %s, %s, %s, FALSE, FALSE, %s) ON CONFLICT (tier, start_us, run, first_id)"
    " DO UPDATE SET last_id = excluded.last_id, sealed = excluded.sealed, data = excluded.data"
)


class SlotRow(NamedTuple):
    """A stored slot; the names are those of the columns."""

    tier: int
    start_us: int
    run: int
    first_id: int
    last_id: int
    data: bytes


def write_slot(session: PostgresSession, run: int, slot: SealedSlot, *, sealed: bool) -> None:
    """Store a slot of a run, in the caller's transaction; replace the earlier version of an open minute."""
    key = (slot.tier, slot.start_us, slot.first_id, slot.last_id)
    row = (int(slot.tier), slot.start_us, run, slot.first_id, slot.last_id, sealed)
    session.connection.execute(_UPSERT, (*row, encode(slot.slot, key)))


def read_slots(
    session: PostgresSession,
    damage: PostgresDamage,
    tier: Tier,
    since_us: int,
    until_us: int,
    *,
    runs: Collection[int] | None = None,
) -> Iterator[SealedSlot]:
    """Yield slots that together count each operation of [since_us, until_us) once, in order of time.

    They are of this tier, and finer ones that no slot of this tier contains yet. ``runs`` None: all of them.
    """
    of_tier, of_finer, values = "(run = 0 OR NOT merged)", "run <> 0", [] if runs is None else [list(runs)]
    if runs is not None:
        of_tier = of_finer = "run = ANY(%s)"
    period = "start_us >= %s AND start_us < %s"
    statement = f"SELECT {_COLUMNS} FROM slot WHERE tier = %s AND {period} AND {of_tier}"  # noqa: S608 - the texts above
    parameters: list[Any] = [int(tier), since_us, until_us, *values]
    if tier is not Tier.MINUTE:
        statement += (
            f" UNION ALL SELECT {_COLUMNS} FROM slot WHERE tier < %s AND {period} AND NOT folded AND {of_finer}"  # noqa: S608 - the texts above
        )
        parameters += [int(tier), since_us, until_us, *values]
    for row in _rows(session, f"{statement} ORDER BY start_us, tier, run", parameters):
        slot = _slot_of(row, damage)
        if slot is not None:
            yield slot


def read_minutes(
    session: PostgresSession, damage: PostgresDamage, since_us: int, until_us: int
) -> Iterator[tuple[int, SealedSlot]]:
    """Yield the minutes of [since_us, until_us) with their runs, also the open ones, in order of time."""
    where = "tier = %s AND run <> 0 AND start_us >= %s AND start_us < %s"
    statement = f"SELECT {_COLUMNS} FROM slot WHERE {where} ORDER BY start_us, run, first_id"  # noqa: S608 - the texts above
    for row in _rows(session, statement, (int(Tier.MINUTE), since_us, until_us)):
        slot = _slot_of(row, damage)
        if slot is not None:
            yield row.run, slot


def _rows(session: PostgresSession, statement: str, values: Sequence[Any]) -> psycopg.Cursor[SlotRow]:
    """Return rows of _COLUMNS, in the binary format: half of the bytes of a text."""
    return session.connection.cursor(binary=True, row_factory=_slot_row).execute(statement.encode(), values)


def _slot_row(_cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], SlotRow]:
    return SlotRow._make


def _slot_of(row: SlotRow, damage: PostgresDamage) -> SealedSlot | None:
    """Return the slot of a row; count a damaged one, and return None."""
    try:
        slot = decode(row.data, (row.tier, row.start_us, row.first_id, row.last_id))
    except SlotFormatError as error:
        damage.note_slot(row.tier, row.start_us, row.run, str(error))
        return None
    return SealedSlot(Tier(row.tier), row.start_us, row.first_id, row.last_id, slot)


def extents(session: PostgresSession, runs: Collection[int] | None = None) -> dict[Tier, Extent]:
    """Return the stored range of each tier, with open minutes; of these runs, or of all."""
    where, values = "tier = number", []
    if runs is not None:
        where, values = "tier = number AND run = ANY(?)", [list(runs)] * 2
    rows = session.execute(
        f"SELECT number, (SELECT min(start_us) FROM slot WHERE {where}),"  # noqa: S608 - the texts above
        f" (SELECT max(start_us) FROM slot WHERE {where}) FROM generate_series(0, 2) AS number",
        values,
    )
    return {
        Tier(tier): Extent(first_us, last_us + Tier(tier).width_us)
        for tier, first_us, last_us in rows
        if first_us is not None
    }


def end_silent_runs(session: PostgresSession, silent_us: int) -> int:
    """End the runs without a sign of life for this long, so that their last minutes count as sealed; return how many.

    The server's clock is used: those of the processes may differ. A run that only slept begins a new one.
    """
    with session.transaction("runs"):
        ended = session.execute(
            "UPDATE run SET ended_us = seen_us WHERE ended_us IS NULL AND seen_us < (extract(epoch FROM"
            " clock_timestamp()) * 1000000)::bigint - ?",
            (silent_us,),
        ).rowcount
        session.execute(
            "UPDATE slot SET sealed = TRUE WHERE NOT sealed AND run IN (SELECT id FROM run WHERE ended_us IS NOT NULL)"
        )
    return ended


def fold_one(session: PostgresSession, damage: PostgresDamage, tier: Tier, now_us: int) -> int:
    """Fold the first slot of this tier that ended and has sealed finer slots left; return how many were written.

    It waits for finer slots that are still open until the next one has ended, too: they would be a second row.
    """
    finer = _FINER[tier]
    until_us = now_us // tier.width_us * tier.width_us
    with session.transaction("fold"):
        row = session.execute(
            "SELECT run, start_us / ?1 * ?1 FROM slot WHERE tier = ?2 AND start_us < ?3 AND NOT folded AND run <> 0"
            " GROUP BY 1, 2 HAVING bool_and(sealed) OR start_us / ?1 * ?1 < ?4 AND bool_or(sealed)"
            " ORDER BY 2, 1 LIMIT 1",
            (tier.width_us, int(finer), until_us, until_us - tier.width_us),
        ).fetchone()
        if row is None:
            return 0
        run, start_us = row
        rows = _rows(
            session,
            f"SELECT {_COLUMNS} FROM slot WHERE tier = %s AND start_us >= %s AND start_us < %s AND run = %s"  # noqa: S608 - the text above
            " AND NOT folded AND sealed ORDER BY start_us",
            (int(finer), start_us, start_us + tier.width_us, run),
        ).fetchall()
        found = [slot for row in rows if (slot := _slot_of(row, damage)) is not None]
        if found:
            write_slot(session, run, fold(found, tier), sealed=True)
        _mark(session, "folded", finer, rows)
    return int(bool(found))


def merge_some(session: PostgresSession, damage: PostgresDamage, tier: Tier, until_us: int) -> bool:
    """Merge the sealed slots of all runs, of the first few times before then; return False if there are none.

    One process needs no sums: only its restarts share a time.
    """
    with session.transaction("fold"):
        row = session.execute(
            "SELECT min(start_us), max(start_us) FROM (SELECT DISTINCT start_us FROM slot WHERE tier = ?"
            " AND start_us < ? AND NOT merged AND run <> 0 AND sealed AND (SELECT count(DISTINCT process) > 1 FROM run)"
            " ORDER BY start_us LIMIT ?) AS first",
            (int(tier), until_us, _MERGED_AT_ONCE),
        ).fetchone()
        if row is None or row[0] is None:
            return False
        # The sum of a time is read with its new parts, and written again; run 0 itself is never marked as merged.
        period = "tier = %s AND start_us BETWEEN %s AND %s AND sealed AND NOT merged"
        rows = _rows(
            session,
            f"SELECT {_COLUMNS} FROM slot AS one WHERE {period} AND EXISTS (SELECT 1 FROM slot AS new"  # noqa: S608 - the texts above
            " WHERE new.tier = one.tier AND new.start_us = one.start_us AND new.run <> 0 AND new.sealed"
            " AND NOT new.merged) ORDER BY start_us",
            (int(tier), *row),
        ).fetchall()
        _mark(session, "merged", tier, [one for one in rows if one.run != MERGED])
        for start_us, same in itertools.groupby(rows, key=attrgetter("start_us")):
            found = [slot.slot for one in same if (slot := _slot_of(one, damage)) is not None]
            if found:
                write_slot(session, MERGED, SealedSlot(tier, start_us, 0, 0, merge(found)), sealed=True)
    return True


def _mark(session: PostgresSession, flag: str, tier: Tier, rows: Sequence[SlotRow]) -> None:
    """Set a flag of exactly these rows: others may have come since they were read."""
    columns = [[row.start_us for row in rows], [row.run for row in rows], [row.first_id for row in rows]]
    session.connection.execute(
        f"UPDATE slot SET {flag} = TRUE FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS row (at, run, id)"  # noqa: S608 - one of two words
        " WHERE tier = %s AND start_us = row.at AND slot.run = row.run AND first_id = row.id".encode(),
        (*columns, int(tier)),
    )
