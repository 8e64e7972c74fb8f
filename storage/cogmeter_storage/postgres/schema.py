"""The tables on PostgreSQL, as numbered migrations; all of them are in the schema ``cogmeter``.

A released migration is never changed, and each leaves the tables usable by the version before it: processes of two
versions run side by side while a fleet is upgraded.
"""

from __future__ import annotations

from typing import Final

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

_OBSERVATIONS: Final = (
    """
    CREATE TABLE trace (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_us bigint NOT NULL,
        service text NOT NULL,
        operation text NOT NULL,
        duration_us bigint NOT NULL,
        outcome smallint NOT NULL,
        error text,
        left_out integer NOT NULL,
        spans text NOT NULL
    )
    """,
    "CREATE INDEX trace_at_us ON trace (at_us)",
    "CREATE TABLE metric (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE)",
    """
    CREATE TABLE sample (
        metric bigint NOT NULL,
        at_us bigint NOT NULL,
        value double precision NOT NULL,
        PRIMARY KEY (metric, at_us)
    )
    """,
    """
    CREATE TABLE marker (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_us bigint NOT NULL,
        kind text NOT NULL,
        name text NOT NULL
    )
    """,
    "CREATE INDEX marker_at_us ON marker (at_us)",
)

_ALERTS: Final = (
    """
    CREATE TABLE alert (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        uid text NOT NULL UNIQUE,
        rule text NOT NULL,
        service text NOT NULL,
        operation text NOT NULL,
        state text NOT NULL,
        severity text NOT NULL,
        message text NOT NULL,
        threshold double precision NOT NULL,
        current double precision NOT NULL,
        worst double precision NOT NULL,
        started_us bigint NOT NULL,
        seen_us bigint NOT NULL,
        changed_us bigint NOT NULL,
        fired_us bigint,
        acknowledged_us bigint,
        acknowledged_by text NOT NULL,
        resolved_us bigint,
        muted_until_us bigint,
        reminded_us bigint,
        escalated boolean NOT NULL,
        flapping boolean NOT NULL,
        group_uid text NOT NULL,
        version bigint NOT NULL
    )
    """,
    "CREATE INDEX alert_state ON alert (state, changed_us)",
    "CREATE INDEX alert_group ON alert (group_uid)",
    """
    CREATE TABLE alert_change (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        alert bigint NOT NULL,
        kind text NOT NULL,
        state text NOT NULL,
        severity text NOT NULL,
        message text NOT NULL,
        current double precision NOT NULL,
        threshold double precision NOT NULL,
        at_us bigint NOT NULL,
        actor text NOT NULL,
        note text NOT NULL
    )
    """,
    "CREATE INDEX alert_change_alert ON alert_change (alert, at_us)",
    "CREATE INDEX alert_change_at_us ON alert_change (at_us)",
    """
    CREATE TABLE delivery (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        alert bigint NOT NULL,
        change bigint NOT NULL,
        target text NOT NULL,
        state text NOT NULL,
        attempts integer NOT NULL,
        due_us bigint NOT NULL,
        begun_us bigint,
        ended_us bigint
    )
    """,
    "CREATE INDEX delivery_waiting ON delivery (target, alert, id) WHERE state = 'waiting'",
    "CREATE INDEX delivery_alert ON delivery (alert)",
    "CREATE INDEX delivery_ended_us ON delivery (ended_us)",
    """
    CREATE TABLE attempt (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        delivery bigint NOT NULL,
        alert bigint NOT NULL,
        target text NOT NULL,
        at_us bigint NOT NULL,
        took_us bigint NOT NULL,
        outcome text NOT NULL,
        error text NOT NULL
    )
    """,
    "CREATE INDEX attempt_alert ON attempt (alert)",
    "CREATE INDEX attempt_at_us ON attempt (at_us)",
    """
    CREATE TABLE receipt (
        alert bigint NOT NULL,
        target text NOT NULL,
        value text NOT NULL,
        PRIMARY KEY (alert, target)
    )
    """,
    """
    CREATE TABLE mute (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        service text NOT NULL,
        rule text NOT NULL,
        since_us bigint NOT NULL,
        until_us bigint NOT NULL,
        actor text NOT NULL,
        reason text NOT NULL
    )
    """,
    """
    CREATE TABLE threshold_override (
        name text PRIMARY KEY,
        value text NOT NULL,
        at_us bigint NOT NULL,
        actor text NOT NULL
    )
    """,
    """
    CREATE TABLE audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_us bigint NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        subject text NOT NULL,
        value_before text NOT NULL,
        value_after text NOT NULL
    )
    """,
    "CREATE INDEX audit_at_us ON audit (at_us)",
)

_ERRORS: Final = (
    """
    CREATE TABLE error_group (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        fingerprint text NOT NULL,
        kind text NOT NULL,
        type text NOT NULL,
        message text NOT NULL,
        file text,
        function text,
        line bigint,
        own boolean,
        total bigint NOT NULL,
        first_us bigint NOT NULL,
        last_us bigint NOT NULL,
        first_version text,
        last_version text,
        resolved_us bigint,
        resolved_by text NOT NULL,
        reopened_us bigint,
        muted_until_us bigint,
        UNIQUE (fingerprint, kind)
    )
    """,
    "CREATE INDEX error_group_last_us ON error_group (last_us)",
    """
    CREATE TABLE error_count (
        error_group bigint NOT NULL,
        day bigint NOT NULL,
        service text NOT NULL,
        operation text NOT NULL,
        errors bigint NOT NULL,
        PRIMARY KEY (error_group, day, service, operation)
    )
    """,
    """
    CREATE TABLE error_person (
        error_group bigint NOT NULL,
        kind text NOT NULL,
        hash text NOT NULL,
        PRIMARY KEY (error_group, kind, hash)
    )
    """,
    """
    CREATE TABLE error_example (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        error_group bigint NOT NULL,
        at_us bigint NOT NULL,
        service text NOT NULL,
        operation text NOT NULL,
        "user" text,
        version text,
        chain text NOT NULL
    )
    """,
    "CREATE INDEX error_example_group ON error_example (error_group, at_us)",
)

_USAGE_AND_COSTS: Final = (
    """
    CREATE TABLE usage_slot (
        tier smallint NOT NULL,
        start_us bigint NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (tier, start_us)
    )
    """,
    """
    CREATE TABLE usage_part (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        start_us bigint NOT NULL,
        at_us bigint NOT NULL,
        data bytea NOT NULL
    )
    """,
    """
    CREATE TABLE usage_count (
        start_us bigint NOT NULL,
        kind text NOT NULL,
        name text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (start_us, kind, name)
    )
    """,
    "CREATE TABLE usage_last (series integer PRIMARY KEY, at_us bigint NOT NULL)",
    """
    CREATE TABLE cost (
        start_us bigint NOT NULL,
        service text NOT NULL,
        caller text NOT NULL,
        model text NOT NULL,
        guild text NOT NULL,
        "user" text NOT NULL,
        operations bigint NOT NULL,
        tokens_in bigint NOT NULL,
        tokens_out bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        micro_usd bigint NOT NULL,
        unpriced bigint NOT NULL,
        PRIMARY KEY (start_us, service, caller, model, guild, "user")
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

POSTGRES_MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (*_FLEET, *_OBSERVATIONS, *_ALERTS, *_ERRORS, *_USAGE_AND_COSTS, _VIEW, *_AREAS),
)
POSTGRES_VERSION: Final = len(POSTGRES_MIGRATIONS)
