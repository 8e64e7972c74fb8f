"""Reads totals, series and status on a read-only connection, so that no query waits for the writer."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from cogmeter_storage.model import HOUR_US, LAST_US, SeriesRecord, StoreStatus, Tier
from cogmeter_storage.plan import first_start_us, plan
from cogmeter_storage.rollup import WritePosition
from cogmeter_storage.sqlite.connection import snapshot
from cogmeter_storage.sqlite.damage import sound_rows
from cogmeter_storage.sqlite.future_rows import clock_steps
from cogmeter_storage.sqlite.operation_rows import unsealed_columns
from cogmeter_storage.sqlite.slots import extents, read_slots
from cogmeter_storage.totals import Accumulator, add_in_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cogmeter_storage.model import Totals
    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.session import SqliteSession

_BY_ID = "SELECT id, end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id"


def totals(
    raw: SqliteSession,
    damage: DamageLog,
    position: WritePosition | None,
    since_us: int,
    until_us: int,
    *,
    groups: Mapping[int, int],
    step_us: int | None,
) -> Totals:
    """Implement Store.totals. ``position`` is the writer's, read before; None when another process writes."""
    with snapshot(raw):
        stored, sealed_id = extents(raw, damage)
        covered = plan(since_us, until_us, stored, step_us=step_us)
        sums = Accumulator(covered.since_us, covered.until_us, groups=groups, step_us=step_us)
        if not groups:  # only the covered range is needed
            return sums.totals()
        for piece in covered.pieces:
            add_in_chunks(sums, read_slots(raw, damage, piece.tier, piece.since_us, piece.until_us))
        sealed_us = stored[Tier.MINUTE].until_us if Tier.MINUTE in stored else -LAST_US
        if covered.until_us > sealed_us:
            tail = unsealed_minutes(raw, damage, position, sealed_id, sealed_us)
            add_in_chunks(sums, (slot for slot in tail if covered.since_us <= slot.start_us < covered.until_us))
    return sums.totals()


def sealed_minutes(raw: SqliteSession, damage: DamageLog, since_us: int, until_us: int, limit: int) -> list[SealedSlot]:
    """Implement Store.sealed_minutes."""
    with snapshot(raw):
        return list(itertools.islice(read_slots(raw, damage, Tier.MINUTE, since_us, until_us), max(limit, 0)))


def hour_versions(raw: SqliteSession, damage: DamageLog, since_us: int, until_us: int) -> dict[int, object] | None:
    """Implement Store.hour_versions.

    A slot is the sum of the operations between its ids, so it changes with them; readers rebuild a damaged one as its
    repair does. Only after a clock step are ids used again.
    """
    with snapshot(raw):
        stored, _ = extents(raw, damage)
        if any(piece.tier is Tier.DAY for piece in plan(since_us, until_us, stored, step_us=HOUR_US).pieces):
            return None
        _, last_end_us = raw.execute(f"{_BY_ID} DESC LIMIT 1").fetchone() or (0, 0)
        step = "SELECT at_us FROM clock_step ORDER BY id DESC LIMIT 1"
        rows = raw.execute(
            f"SELECT start_us, first_id, last_id, length(data), ({step}) FROM slot"  # noqa: S608 - names of our columns
            f" WHERE tier = ? AND start_us >= ? AND start_us < ? AND {sound_rows('slot')}",
            (Tier.HOUR, since_us, min(until_us, last_end_us) // HOUR_US * HOUR_US),
        ).fetchall()
    return {start_us: tuple(version) for start_us, *version in rows}


def unsealed_minutes(
    raw: SqliteSession, damage: DamageLog, position: WritePosition | None, sealed_id: int, sealed_us: int
) -> list[SealedSlot]:
    """Return the minutes after the last sealed one of this snapshot, as if they were sealed now.

    The writer's open minute is used when both agree on what is sealed. When a minute was sealed in between, or another
    process writes, the rows themselves are read.
    """
    if position is not None and position.sealed_id == sealed_id:
        return [position.open_minute.sealed()] if position.open_minute else []
    position, minutes = WritePosition(), []
    for columns in unsealed_columns(raw, damage, sealed_id, since_us=sealed_us):
        position, finished = position.after(columns)
        minutes += finished
    return [*minutes, position.open_minute.sealed()] if position.open_minute else []


def series(raw: SqliteSession) -> list[SeriesRecord]:
    """Implement Store.series."""
    find = f"SELECT id, service, operation FROM series WHERE {sound_rows('series')} ORDER BY service, operation"  # noqa: S608 - names of our columns
    rows = raw.execute(find)
    return [SeriesRecord(*row) for row in rows]


def first_us(raw: SqliteSession, damage: DamageLog) -> int | None:
    """Implement Store.first_us."""
    with snapshot(raw):
        stored, _ = extents(raw, damage)
        start_us = first_start_us(stored)
        return _first_operation(raw)[1] if start_us is None else start_us


def status(raw: SqliteSession, damage: DamageLog, path: Path, *, url: str, last_write_us: int | None) -> StoreStatus:
    """Implement Store.status."""
    with snapshot(raw):
        (version,) = raw.execute("PRAGMA user_version").fetchone()
        first = _first_operation(raw)
        last = raw.execute(f"{_BY_ID} DESC LIMIT 1").fetchone() or (-1, None)
        (names,) = raw.execute("SELECT count(*) FROM series").fetchone()
        damaged, clock = damage.counts(raw), clock_steps(raw)
    return StoreStatus(
        url=url,
        size_bytes=_size(path),
        schema_version=version,
        operations=last[0] - first[0] + 1,  # ids have no gaps; counting ten million rows would take a second
        series=names,
        first_end_us=first[1],
        last_end_us=last[1],
        last_write_us=last_write_us,
        clock=clock,
        damage=damaged,
    )


def _first_operation(raw: SqliteSession) -> tuple[int, int | None]:
    """Return the id and the end of the first operation, (0, None) without operations."""
    return raw.execute(f"{_BY_ID} LIMIT 1").fetchone() or (0, None)


def _size(path: Path) -> int:
    size = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            size += path.with_name(path.name + suffix).stat().st_size
    return size
