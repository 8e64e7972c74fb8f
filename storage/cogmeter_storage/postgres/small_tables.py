"""The tables on PostgreSQL whose SQL is shared with SQLite, in ``sql/``: the statements of the first migration."""

from __future__ import annotations

from typing import Final

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

SMALL_TABLES: Final = (*_OBSERVATIONS, *_ALERTS, *_ERRORS, *_USAGE_AND_COSTS)
