"""Upgrades the schema, folds slots, removes old data, and moves rows with future times out of the way."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, LAST_US, Cleaned, Tier
from cogmeter_storage.postgres import slots
from cogmeter_storage.postgres.schema import POSTGRES_MIGRATIONS, POSTGRES_VERSION, SCHEMA
from cogmeter_storage.sql import costs, usage
from cogmeter_storage.sql.cleaning import clean_small_tables, cut_us

if TYPE_CHECKING:
    from cogmeter_storage.model import Retention
    from cogmeter_storage.postgres.damage import PostgresDamage
    from cogmeter_storage.postgres.session import PostgresSession
    from cogmeter_storage.postgres.writer import PostgresWriter
    from cogmeter_storage.sql.cleaning import Deletion

SILENT_US: Final = 5 * 60_000_000  # without a sign of life, after which a run is ended
_MIGRATION_LOCK: Final = 0x636F676D  # "cogm": of all processes that open this database
_PAUSE_S: Final = 0.002
_DELETE_ROWS: Final = 5_000


def migrate(session: PostgresSession, name: str) -> None:
    """Create or upgrade the tables; processes that start at once wait for the first one.

    Raises:
        StorageError: the tables are of a later version with which this one cannot work.
    """
    connection = session.connection
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        connection.execute("CREATE TABLE IF NOT EXISTS version (version integer NOT NULL)")
        row = connection.execute("SELECT version FROM version").fetchone()
        version = 0 if row is None else int(row[0])
        if version > POSTGRES_VERSION:
            raise StorageError(
                f"Database {name} has schema version {version}, later than the {POSTGRES_VERSION} known here; it"
                " has not been changed. To fix it: install that later version of cogmeter again.",
                permanent=True,
            )
        for statements in POSTGRES_MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement.encode())
        if row is None:
            connection.execute("INSERT INTO version (version) VALUES (%s)", (POSTGRES_VERSION,))
        elif version < POSTGRES_VERSION:
            connection.execute("UPDATE version SET version = %s", (POSTGRES_VERSION,))


async def fold_all(writer: PostgresWriter, damage: PostgresDamage, now_us: int) -> int:
    """Implement Store.fold: one transaction for each slot. Any process folds the slots of all."""
    written = 0
    await writer.run(slots.end_silent_runs, SILENT_US)
    for tier in (Tier.HOUR, Tier.DAY):
        while added := await writer.run(slots.fold_one, damage, tier, now_us):
            written += added
            await asyncio.sleep(_PAUSE_S)
    for tier in Tier:
        merged = True
        while merged:
            merged = await writer.run(slots.merge_some, damage, tier, now_us // tier.width_us * tier.width_us)
            await asyncio.sleep(_PAUSE_S)
    await usage.fold_all(writer, damage, now_us)
    await costs.fold_all(writer, now_us)
    return written


async def clean(writer: PostgresWriter, retention: Retention, now_us: int) -> Cleaned:
    """Implement Store.clean. Operations and minutes are removed in whole days: a day of operations is one table.

    What minutes keep back, because it is not folded yet, is kept in hours and days, too: otherwise it would be folded
    into slots of which the rest is gone.
    """
    raw_cut = cut_us(now_us, retention.raw_hours, DAY_US)
    hour_cut = cut_us(now_us, retention.hour_hours, DAY_US)
    day_cut = cut_us(now_us, retention.day_hours, DAY_US)
    operations_until_us = await writer.run(_sealed_until, raw_cut)
    raw_until_us = await writer.run(_folded_until, Tier.MINUTE, raw_cut)
    operations = 0
    while dropped := await writer.run(_drop_first_day, operations_until_us):
        operations += dropped - 1
        await asyncio.sleep(_PAUSE_S)
    writer.forget_partitions()
    await writer.run(_forget_batches, raw_until_us)
    removed = 0
    hours_until_us = await writer.run(_folded_until, Tier.HOUR, min(hour_cut, raw_until_us))
    days_until_us = min(day_cut, hours_until_us)
    for tier, until_us in ((Tier.MINUTE, raw_until_us), (Tier.HOUR, hours_until_us), (Tier.DAY, days_until_us)):
        while deleted := await writer.run(_delete_slots, tier, until_us):
            removed += deleted
            await asyncio.sleep(_PAUSE_S)
    small = await clean_small_tables(
        partial(_delete_in_chunks, writer), retention, now_us, corrections=("damage", "set_apart")
    )
    return Cleaned(operations, removed, **small._asdict())


async def _delete_in_chunks(writer: PostgresWriter, delete: Deletion) -> int:
    total = 0
    while removed := await writer.run(delete):
        total += removed
        await asyncio.sleep(_PAUSE_S)
    return total


def _sealed_until(session: PostgresSession, before_us: int) -> int:
    """Return the time up to which operations may be removed: their minutes are sealed, and before the cut."""
    row = session.execute("SELECT min(start_us) FROM slot WHERE NOT sealed").fetchone()
    first_us = LAST_US if row is None or row[0] is None else row[0]
    return min(before_us, first_us // DAY_US * DAY_US)


def _folded_until(session: PostgresSession, tier: Tier, before_us: int) -> int:
    """Return the time up to which the slots of a tier may be removed: all of them are folded, and before the cut."""
    find = "SELECT min(start_us) FROM slot WHERE tier = ? AND NOT folded AND run <> 0"
    row = session.execute(find, (int(tier),)).fetchone()
    first_us = LAST_US if row is None or row[0] is None else row[0]
    return min(before_us, first_us // DAY_US * DAY_US)


def _drop_first_day(session: PostgresSession, until_us: int) -> int:
    """Drop the first partition that ends by then; return 0 without one, else the number of its rows and one."""
    with session.transaction("partitions"):
        rows = session.execute(
            "SELECT c.relname FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid"
            " WHERE inhparent = 'operation'::regclass"
        ).fetchall()
        days = sorted((_day_of(name), name) for (name,) in rows)
        if not days or (days[0][0] + 1) * DAY_US > until_us:
            return 0
        (count,) = session.execute(f"SELECT count(*) FROM {days[0][1]}").fetchone() or (0,)  # noqa: S608 - the name of a partition
        session.execute(f"DROP TABLE {days[0][1]}")
        return int(count) + 1


def _forget_batches(session: PostgresSession, until_us: int) -> None:
    """Delete the ids of batches whose operations would be removed anyway."""
    with session.transaction():
        session.execute("DELETE FROM stored_batch WHERE at_us < ?", (until_us,))


def _day_of(name: str) -> int:
    """Return the day of a partition, the reverse of PostgresWriter.make_partitions."""
    number = int(name.rpartition("_")[2])
    return -number if name.startswith("operation_before_") else number


def _delete_slots(session: PostgresSession, tier: Tier, until_us: int) -> int:
    """Delete a few slots of a tier that start before then; return how many."""
    with session.transaction():
        return session.execute(
            "DELETE FROM slot WHERE (tier, start_us, run, first_id) IN (SELECT tier, start_us, run, first_id FROM slot"
            " WHERE tier = ? AND start_us < ? ORDER BY start_us LIMIT ?)",
            (int(tier), until_us, _DELETE_ROWS),
        ).rowcount


def read_tier(session: PostgresSession, damage: PostgresDamage, tier: Tier) -> None:
    """Read every slot of a tier, so that damaged ones are counted."""
    with session.snapshot():
        for _ in slots.read_slots(session, damage, tier, -LAST_US, LAST_US):
            pass


def vacuum(session: PostgresSession) -> None:
    """Implement Store.vacuum, outside of a transaction."""
    for table in ("operation", "slot", "sample", "trace", "usage_slot", "usage_part", "memory"):
        session.connection.execute(f"VACUUM (FULL) {SCHEMA}.{table}")
