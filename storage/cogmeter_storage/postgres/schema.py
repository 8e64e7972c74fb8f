"""The tables on PostgreSQL, as numbered migrations; all of them are in the schema ``cogmeter``.

A released migration is never changed, and each leaves the tables usable by the version before it: processes of two
versions run side by side while a fleet is upgraded.
"""

from __future__ import annotations

from typing import Final

from cogmeter_storage.postgres.small_tables import SMALL_TABLES

SCHEMA: Final = "cogmeter"
LOCKED_AREAS: Final = ("alerts", "costs", "errors", "fold", "partitions", "runs", "series", "usage")

_FLEET: Final = (
    "CREATE TABLE area (name text PRIMARY KEY)",  # rows to lock: see Session.transaction
    # One start of a process. Its number is part of the ids of its operations. next_id is the number of its next
    # operation; it also shows whether an append whose commit was not confirmed has been written.
    """
    CREATE TABLE run (
        id bigint PRIMARY KEY,
        process text NOT NULL,
        host text NOT NULL,
        pid integer NOT NULL,
        version text NOT NULL,
        shards text NOT NULL,
        started_us bigint NOT NULL,
        seen_us bigint NOT NULL,
        ended_us bigint,
        next_id bigint NOT NULL,
        last_end_us bigint NOT NULL,
        last_write_us bigint,
        clamped bigint NOT NULL
    )
    """,
    "CREATE INDEX run_process ON run (process)",
    """
    CREATE TABLE series (
        id integer PRIMARY KEY,
        service text NOT NULL,
        operation text NOT NULL,
        UNIQUE (service, operation)
    )
    """,
    # One partition for each day, created before the first row of the day, and dropped as a whole.
    """
    CREATE TABLE operation (
        id bigint NOT NULL,
        end_us bigint NOT NULL,
        series integer NOT NULL,
        duration_us bigint NOT NULL,
        outcome smallint NOT NULL,
        error text,
        metadata text,
        PRIMARY KEY (end_us, id)
    ) PARTITION BY RANGE (end_us)
    """,
    # Every row is added up, so two rows may cover the same minute. sealed: it does not change any more. folded: a slot
    # of the next tier contains it. merged: the slot of run 0, which has the sum of all runs, contains it.
    """
    CREATE TABLE slot (
        tier smallint NOT NULL,
        start_us bigint NOT NULL,
        run bigint NOT NULL,
        first_id bigint NOT NULL,
        last_id bigint NOT NULL,
        sealed boolean NOT NULL,
        folded boolean NOT NULL,
        merged boolean NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (tier, start_us, run, first_id)
    ) WITH (fillfactor = 50)
    """,
    # Slots are compressed by their own format, so PostgreSQL need not try.
    "ALTER TABLE slot ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX slot_run ON slot (run, tier, start_us)",
    "CREATE INDEX slot_unfolded ON slot (tier, start_us) WHERE NOT folded AND run <> 0",
    "CREATE INDEX slot_unmerged ON slot (tier, start_us) WHERE NOT merged AND run <> 0",
    "CREATE INDEX slot_open ON slot (run) WHERE NOT sealed",
    "CREATE TABLE memory (name text PRIMARY KEY, value bytea NOT NULL)",
    """
    CREATE TABLE set_apart (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_us bigint NOT NULL,
        kind text NOT NULL,
        time_us bigint NOT NULL,
        content text NOT NULL
    )
    """,
    "CREATE INDEX set_apart_at_us ON set_apart (at_us)",
    """
    CREATE TABLE damage (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_us bigint NOT NULL,
        kind text NOT NULL,
        content text NOT NULL
    )
    """,
    "CREATE INDEX damage_at_us ON damage (at_us)",
    # The last batch of each kind that a start of a process has stored, recorded in the transaction of its rows: a batch
    # that comes again, from memory or from a spool, is not stored twice.
    """
    CREATE TABLE stored_batch (
        source text NOT NULL,
        kind text NOT NULL,
        number bigint NOT NULL,
        at_us bigint NOT NULL,
        PRIMARY KEY (source, kind)
    ) WITH (fillfactor = 50)
    """,
    # Of the leader. The token rises with each new one; a write with an earlier token is refused.
    """
    CREATE TABLE lease (
        name text PRIMARY KEY,
        run bigint NOT NULL,
        token bigint NOT NULL,
        until_us bigint NOT NULL
    )
    """,
)

_VIEW: Final = """
    CREATE VIEW operations AS
    SELECT
        operation.id AS id,
        series.service AS service,
        series.operation AS operation,
        to_timestamp((end_us - duration_us) / 1000000.0) AS started,
        to_timestamp(end_us / 1000000.0) AS ended,
        duration_us / 1000.0 AS duration_ms,
        CASE outcome
            WHEN 0 THEN 'ok' WHEN 1 THEN 'error' WHEN 2 THEN 'upstream' WHEN 3 THEN 'user' WHEN 4 THEN 'cancelled'
        END AS outcome,
        error,
        coalesce(metadata, '{}') AS metadata
    FROM operation JOIN series ON series.id = operation.series
"""

_AREAS: Final = tuple(f"INSERT INTO area (name) VALUES ('{name}')" for name in LOCKED_AREAS)  # noqa: S608 - the names above

POSTGRES_MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = ((*_FLEET, *SMALL_TABLES, _VIEW, *_AREAS),)
POSTGRES_VERSION: Final = len(POSTGRES_MIGRATIONS)
