"""The tables, as numbered migrations: each upgrades a database from the version before to its own."""

from __future__ import annotations

from cogmeter_storage.cost_tables import COST_TABLES
from cogmeter_storage.error_tables import ERROR_TABLES
from cogmeter_storage.usage_tables import USAGE_TABLES

APPLICATION_ID = 0x636F676D  # "cogm", at byte 68 of an SQLite file

# Statements of each migration; the first one makes version 1. A released migration is never changed.
SQLITE_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE series (
            id INTEGER PRIMARY KEY,
            service TEXT NOT NULL,
            operation TEXT NOT NULL,
            UNIQUE (service, operation)
        )
        """,
        # No second index on purpose: ids rise with end times, so a time is found by bisection on the id. An index
        # would double the cost of writing.
        """
        CREATE TABLE operation (
            id INTEGER PRIMARY KEY,
            end_us INTEGER NOT NULL,
            series INTEGER NOT NULL,
            duration_us INTEGER NOT NULL,
            outcome INTEGER NOT NULL,
            error TEXT,
            metadata TEXT
        )
        """,
        """
        CREATE TABLE slot (
            tier INTEGER NOT NULL,
            start_us INTEGER NOT NULL,
            first_id INTEGER NOT NULL,
            last_id INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (tier, start_us)
        )
        """,
        """
        CREATE TABLE alert_event (
            id INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            rule TEXT NOT NULL,
            service TEXT NOT NULL,
            severity TEXT NOT NULL,
            state TEXT NOT NULL,
            message TEXT NOT NULL,
            threshold REAL NOT NULL,
            current REAL NOT NULL
        )
        """,
        """
        CREATE VIEW operations AS
        SELECT
            operation.id AS id,
            series.service AS service,
            series.operation AS operation,
            strftime('%Y-%m-%dT%H:%M:%fZ', (end_us - duration_us) / 1000000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', end_us / 1000000.0, 'unixepoch') AS ended,
            duration_us / 1000.0 AS duration_ms,
            CASE outcome
                WHEN 0 THEN 'ok' WHEN 1 THEN 'error' WHEN 2 THEN 'upstream' WHEN 3 THEN 'user' WHEN 4 THEN 'cancelled'
            END AS outcome,
            error,
            metadata
        FROM operation JOIN series ON series.id = operation.series
        """,
    ),
    (
        # With names instead of a series id: the interaction of a trace need not be a series.
        """
        CREATE TABLE trace (
            id INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            service TEXT NOT NULL,
            operation TEXT NOT NULL,
            duration_us INTEGER NOT NULL,
            outcome INTEGER NOT NULL,
            error TEXT,
            left_out INTEGER NOT NULL,
            spans TEXT NOT NULL
        )
        """,
        "CREATE INDEX trace_at_us ON trace (at_us)",
        "CREATE TABLE metric (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        # Without a rowid: the samples of a metric are stored together, in order of time.
        """
        CREATE TABLE sample (
            at_us INTEGER NOT NULL,
            metric INTEGER NOT NULL,
            value REAL NOT NULL,
            PRIMARY KEY (metric, at_us)
        ) WITHOUT ROWID
        """,
    ),
    (
        # AUTOINCREMENT: the ids of alerts, changes and deliveries are used outside ("Alert 12") or during a send, so
        # none is ever reused.
        """
        CREATE TABLE alert (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            uid TEXT NOT NULL UNIQUE,
            rule TEXT NOT NULL,
            service TEXT NOT NULL,
            operation TEXT NOT NULL,
            state TEXT NOT NULL,
            severity TEXT NOT NULL,
            message TEXT NOT NULL,
            threshold REAL NOT NULL,
            current REAL NOT NULL,
            worst REAL NOT NULL,
            started_us INTEGER NOT NULL,
            seen_us INTEGER NOT NULL,
            changed_us INTEGER NOT NULL,
            fired_us INTEGER,
            acknowledged_us INTEGER,
            acknowledged_by TEXT NOT NULL,
            resolved_us INTEGER,
            muted_until_us INTEGER,
            reminded_us INTEGER,
            escalated INTEGER NOT NULL,
            flapping INTEGER NOT NULL,
            group_uid TEXT NOT NULL,
            version INTEGER NOT NULL
        )
        """,
        "CREATE INDEX alert_state ON alert (state, changed_us)",
        "CREATE INDEX alert_group ON alert (group_uid)",
        """
        CREATE TABLE alert_change (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            alert INTEGER NOT NULL,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            severity TEXT NOT NULL,
            message TEXT NOT NULL,
            current REAL NOT NULL,
            threshold REAL NOT NULL,
            at_us INTEGER NOT NULL,
            actor TEXT NOT NULL,
            note TEXT NOT NULL
        )
        """,
        "CREATE INDEX alert_change_alert ON alert_change (alert, at_us)",
        "CREATE INDEX alert_change_at_us ON alert_change (at_us)",
        # The outbox. state: waiting, sent, failed, superseded.
        """
        CREATE TABLE delivery (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            alert INTEGER NOT NULL,
            change INTEGER NOT NULL,
            target TEXT NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            due_us INTEGER NOT NULL,
            begun_us INTEGER,
            ended_us INTEGER
        )
        """,
        # A partial index: few deliveries wait, however long the history is.
        "CREATE INDEX delivery_waiting ON delivery (target, alert, id) WHERE state = 'waiting'",
        "CREATE INDEX delivery_alert ON delivery (alert)",
        "CREATE INDEX delivery_ended_us ON delivery (ended_us)",
        """
        CREATE TABLE attempt (
            id INTEGER PRIMARY KEY,
            delivery INTEGER NOT NULL,
            alert INTEGER NOT NULL,
            target TEXT NOT NULL,
            at_us INTEGER NOT NULL,
            took_us INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            error TEXT NOT NULL
        )
        """,
        "CREATE INDEX attempt_alert ON attempt (alert)",
        "CREATE INDEX attempt_at_us ON attempt (at_us)",
        """
        CREATE TABLE receipt (
            alert INTEGER NOT NULL,
            target TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (alert, target)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE mute (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            service TEXT NOT NULL,
            rule TEXT NOT NULL,
            since_us INTEGER NOT NULL,
            until_us INTEGER NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE threshold_override (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            at_us INTEGER NOT NULL,
            actor TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at_us INTEGER NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            value_before TEXT NOT NULL,
            value_after TEXT NOT NULL
        )
        """,
        "CREATE INDEX audit_at_us ON audit (at_us)",
        """
        CREATE TABLE marker (
            id INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL
        )
        """,
        "CREATE INDEX marker_at_us ON marker (at_us)",
        "CREATE TABLE memory (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
        # An event of version 2 has no end: it becomes an alert that began, fired and ended at once.
        """
        INSERT INTO alert
        SELECT
            id, lower(hex(randomblob(16))), rule, service, '', 'resolved', severity, message,
            threshold, current, current, at_us, at_us, at_us, at_us, NULL, '', at_us, NULL, NULL, 0, 0, '', 1
        FROM alert_event ORDER BY id
        """,
        """
        INSERT INTO alert_change
        SELECT id, id, 'fired', state, severity, message, current, threshold, at_us, '', ''
        FROM alert_event ORDER BY id
        """,
        "DROP TABLE alert_event",
        """
        CREATE VIEW alerts AS
        SELECT
            id,
            rule,
            service,
            operation,
            state,
            severity,
            message,
            threshold,
            current,
            worst,
            strftime('%Y-%m-%dT%H:%M:%fZ', started_us / 1000000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', fired_us / 1000000.0, 'unixepoch') AS fired,
            strftime('%Y-%m-%dT%H:%M:%fZ', acknowledged_us / 1000000.0, 'unixepoch') AS acknowledged,
            acknowledged_by,
            strftime('%Y-%m-%dT%H:%M:%fZ', resolved_us / 1000000.0, 'unixepoch') AS resolved,
            (ifnull(resolved_us, seen_us) - started_us) / 1000000.0 AS duration_s,
            escalated,
            flapping,
            group_uid,
            uid
        FROM alert
        """,
    ),
    (
        # From this version on, slots have a checksum (see slot.py), which earlier releases would report as damage.
        # Damaged rows are moved here, as INSERT statements that would restore them, until a clean-up.
        # result: rebuilt, partial, lost (slots), removed (rows).
        """
        CREATE TABLE damage (
            id INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            kind TEXT NOT NULL,
            result TEXT NOT NULL,
            statement TEXT NOT NULL
        )
        """,
        "CREATE INDEX damage_at_us ON damage (at_us)",
        # In the view, metadata is a JSON object in every row, so that a program can parse all of them.
        "DROP VIEW operations",
        """
        CREATE VIEW operations AS
        SELECT
            operation.id AS id,
            series.service AS service,
            series.operation AS operation,
            strftime('%Y-%m-%dT%H:%M:%fZ', (end_us - duration_us) / 1000000.0, 'unixepoch') AS started,
            strftime('%Y-%m-%dT%H:%M:%fZ', end_us / 1000000.0, 'unixepoch') AS ended,
            duration_us / 1000.0 AS duration_ms,
            CASE outcome
                WHEN 0 THEN 'ok' WHEN 1 THEN 'error' WHEN 2 THEN 'upstream' WHEN 3 THEN 'user' WHEN 4 THEN 'cancelled'
            END AS outcome,
            error,
            ifnull(metadata, '{}') AS metadata
        FROM operation JOIN series ON series.id = operation.series
        """,
    ),
    (
        # The effect on stored data when the clock had been ahead, or was set back a little.
        """
        CREATE TABLE clock_step (
            id INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            clamped INTEGER NOT NULL DEFAULT 0,
            operations INTEGER NOT NULL DEFAULT 0,
            others INTEGER NOT NULL DEFAULT 0,
            first_us INTEGER,
            last_us INTEGER
        )
        """,
        # Rows that were recorded while the clock was ahead, as INSERT statements that would restore them.
        """
        CREATE TABLE set_apart (
            id INTEGER PRIMARY KEY,
            step INTEGER NOT NULL,
            at_us INTEGER NOT NULL,
            kind TEXT NOT NULL,
            time_us INTEGER NOT NULL,
            statement TEXT NOT NULL
        )
        """,
        "CREATE INDEX set_apart_at_us ON set_apart (at_us)",
    ),
    ERROR_TABLES,
    USAGE_TABLES,
    COST_TABLES,
)
SQLITE_VERSION = len(SQLITE_MIGRATIONS)
