"""Reads totals, series and status. Every flush stores the open minute, so the slots alone are complete."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from cogmeter_storage.lease import LiveMinute
from cogmeter_storage.model import HOUR_US, LAST_US, MINUTE_US, ClockSteps, SeriesRecord, StoreStatus, Tier
from cogmeter_storage.plan import first_start_us, plan
from cogmeter_storage.postgres.schema import SCHEMA
from cogmeter_storage.postgres.slots import extents, read_minutes, read_slots
from cogmeter_storage.process import Process, ProcessRecord
from cogmeter_storage.rollup import SealedSlot
from cogmeter_storage.slot import merge
from cogmeter_storage.totals import Accumulator, add_in_chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cogmeter_storage.model import Totals
    from cogmeter_storage.plan import Plan
    from cogmeter_storage.postgres.damage import PostgresDamage
    from cogmeter_storage.postgres.session import PostgresSession


def totals(
    session: PostgresSession,
    damage: PostgresDamage,
    since_us: int,
    until_us: int,
    *,
    groups: Mapping[int, int],
    step_us: int | None,
    only: str | None = None,
) -> Totals:
    """Implement Store.totals, of the operations of one process (None: of all)."""
    with session.snapshot():
        runs = runs_of(session, only)
        covered = plan(since_us, until_us, extents(session), step_us=step_us)
        sums = Accumulator(covered.since_us, covered.until_us, groups=groups, step_us=step_us)
        for piece in covered.pieces if groups else ():
            add_in_chunks(sums, read_slots(session, damage, piece.tier, piece.since_us, piece.until_us, runs=runs))
    return sums.totals()


def runs_of(session: PostgresSession, process: str | None) -> list[int] | None:
    """Return the runs of a process; None for all processes."""
    if process is None:
        return None
    return [number for (number,) in session.execute("SELECT id FROM run WHERE process = ? ORDER BY id", (process,))]


def processes(session: PostgresSession) -> list[ProcessRecord]:
    """Implement Store.processes."""
    rows = session.execute(
        "SELECT DISTINCT ON (process) process, version, shards, host, pid, started_us, seen_us,"
        " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, ended_us IS NOT NULL, last_end_us,"
        " coalesce(ended_us > seen_us, FALSE)"
        " FROM run ORDER BY process, id DESC"
    )
    return sorted(
        (ProcessRecord(Process(name, version, shards), *others) for name, version, shards, *others in rows),
        key=lambda record: record.process.name,
    )


def totals_by_process(
    session: PostgresSession,
    damage: PostgresDamage,
    since_us: int,
    until_us: int,
    *,
    groups: Mapping[int, int],
    only: str | None = None,
) -> dict[str, Totals]:
    """Implement Store.totals_by_process, from the minutes of each run."""
    covered = plan(since_us, until_us, {})
    found: dict[str, list[SealedSlot]] = {}
    with session.snapshot():
        rows = session.execute(
            "SELECT id, process FROM run WHERE (?1 OR process = ?2) AND id IN"
            " (SELECT run FROM slot WHERE tier = 0 AND start_us >= ?3 AND start_us < ?4)",
            (only is None, only or "", covered.since_us, covered.until_us),
        )
        names: dict[int, str] = dict(rows.fetchall())
        for run, slot in read_minutes(session, damage, covered.since_us, covered.until_us):
            if run in names:
                found.setdefault(names[run], []).append(slot)
    return {name: _sum(slots, covered, groups) for name, slots in found.items()}


def _sum(slots: list[SealedSlot], covered: Plan, groups: Mapping[int, int]) -> Totals:
    sums = Accumulator(covered.since_us, covered.until_us, groups=groups, step_us=None)
    if groups:
        add_in_chunks(sums, slots)
    return sums.totals()


def sealed_minutes(
    session: PostgresSession,
    damage: PostgresDamage,
    since_us: int,
    until_us: int,
    limit: int,
    *,
    only: str,
    reached_us: int,
) -> list[SealedSlot]:
    """Implement Store.sealed_minutes, of one process, whose minutes before ``reached_us`` do not change any more."""
    sealed_until_us = min(until_us, reached_us // MINUTE_US * MINUTE_US)
    found: list[SealedSlot] = []
    with session.snapshot():
        minutes = read_slots(session, damage, Tier.MINUTE, since_us, sealed_until_us, runs=runs_of(session, only))
        for _, same in itertools.groupby(minutes, key=lambda slot: slot.start_us):
            if len(found) >= limit:
                break
            found.append(_joined(list(same)))
    return found


def _joined(parts: list[SealedSlot]) -> SealedSlot:
    """Return one slot of the slots of one minute."""
    first, last = min(slot.first_id for slot in parts), max(slot.last_id for slot in parts)
    return SealedSlot(parts[0].tier, parts[0].start_us, first, last, merge([slot.slot for slot in parts]))


def live_minutes(
    session: PostgresSession, damage: PostgresDamage, since_us: int, own: Collection[int]
) -> list[LiveMinute]:
    """Implement Store.live_minutes; ``own`` are the runs of this process."""
    with session.snapshot():
        found = list(read_minutes(session, damage, since_us, LAST_US))
    return [LiveMinute(run, run in own, slot) for run, slot in found]


def hour_versions(
    session: PostgresSession, since_us: int, until_us: int, *, only: str | None = None
) -> dict[int, object] | None:
    """Implement Store.hour_versions: an hour changes when a row that is added up for it is added or grows."""
    with session.snapshot():
        runs = runs_of(session, only)
        stored = extents(session)
        if any(piece.tier is Tier.DAY for piece in plan(since_us, until_us, stored, step_us=HOUR_US).pieces):
            return None
        row = session.execute("SELECT max(last_end_us) FROM run").fetchone()
        last_end_us = 0 if row is None or row[0] is None else row[0]
        rows = session.execute(
            "SELECT start_us / ?1 * ?1, sum(last_id), sum(length(data)), count(*) FROM slot"
            " WHERE tier < ?2 AND start_us >= ?3 AND start_us < ?4 AND run <> 0 AND (?6 OR run = ANY(?7))"
            " GROUP BY 1 HAVING bool_and(sealed) AND bool_or(tier = ?5)",
            (
                *(HOUR_US, int(Tier.DAY), since_us, min(until_us, last_end_us) // HOUR_US * HOUR_US, int(Tier.HOUR)),
                *(runs is None, list(runs or ())),
            ),
        ).fetchall()
    return {start_us: tuple(version) for start_us, *version in rows}


def series(session: PostgresSession) -> list[SeriesRecord]:
    """Implement Store.series. In the order of code points, as everywhere."""
    rows = session.execute(
        'SELECT id, service, operation FROM series ORDER BY service COLLATE "C", operation COLLATE "C"'
    )
    return [SeriesRecord(*row) for row in rows]


def first_us(session: PostgresSession, *, only: str | None = None) -> int | None:
    """Implement Store.first_us."""
    with session.snapshot():
        if only is not None:
            return first_start_us(extents(session, runs_of(session, only)))
        start_us = first_start_us(extents(session))
        row = session.execute(
            "SELECT (SELECT min(start_us) FROM slot WHERE sealed), (SELECT min(end_us) FROM operation)"
        ).fetchone()
    assert row is not None
    return row[1] if row[0] is None else start_us


def status(
    session: PostgresSession, damage: PostgresDamage, *, url: str, last_write_us: int | None, only: str | None = None
) -> StoreStatus:
    """Implement Store.status; with ``only``, the operations and times are those of one process."""
    with session.snapshot():
        runs = runs_of(session, only)
        row: Any = session.execute(
            "SELECT (SELECT version FROM version), (SELECT count(*) FROM series), (SELECT min(end_us) FROM operation),"  # noqa: S608 - a constant
            " (SELECT max(end_us) FROM operation), (SELECT max(last_write_us) FROM run),"
            " (SELECT coalesce(sum(clamped), 0) FROM run), (SELECT count(*) FROM damage),"
            " (SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
            f" WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r')"
        ).fetchone()
        version, names, first_end_us, last_end_us, stored_us, clamped, moved, size = row
        # Ids have no gaps. A minute that is not folded yet is kept longer than its operations.
        of_runs = "run <> 0" if runs is None else "run = ANY(?)"
        operations, first_minute_us = session.execute(
            "SELECT coalesce(sum(last_id - first_id + 1), 0), min(start_us) FROM slot"  # noqa: S608 - one of the two texts above
            f" WHERE tier = 0 AND {of_runs} AND start_us > ?",
            (*(() if runs is None else (runs,)), LAST_US if first_end_us is None else first_end_us - MINUTE_US),
        ).fetchone() or (0, None)
        if only is not None:
            first_end_us = first_minute_us
            find = "SELECT nullif(max(last_end_us), 0) FROM run WHERE process = ?"
            (last_end_us,) = session.execute(find, (only,)).fetchone() or (None,)
        apart: Any = session.execute(
            "SELECT count(*) FILTER (WHERE kind = 'operation'),"
            " count(*) FILTER (WHERE kind IN ('sample', 'trace', 'marker')), min(time_us), max(time_us) FROM set_apart"
            " WHERE kind IN ('operation', 'sample', 'trace', 'marker')"  # recorded data, not aggregates of it
        ).fetchone()
    return StoreStatus(
        url=url,
        size_bytes=size,
        schema_version=version,
        operations=operations,
        series=names,
        first_end_us=first_end_us,
        last_end_us=last_end_us,
        last_write_us=stored_us if last_write_us is None else last_write_us,
        clock=ClockSteps(clamped, *apart),
        damage=damage.counts(moved),
    )
