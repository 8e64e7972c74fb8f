"""The tables, as numbered migrations: each brings a database from the version before to its own."""

from __future__ import annotations

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
        # No second index, on purpose: ids rise with the end times, so a time is found by bisection on the id, and
        # an index would double the cost of writing.
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
        # The names stand in the row: a trace is that of an interaction, which need not be a series.
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
        # Without a rowid: the samples of a metric lie side by side, in order of time.
        """
        CREATE TABLE sample (
            at_us INTEGER NOT NULL,
            metric INTEGER NOT NULL,
            value REAL NOT NULL,
            PRIMARY KEY (metric, at_us)
        ) WITHOUT ROWID
        """,
    ),
)
SQLITE_VERSION = len(SQLITE_MIGRATIONS)
