"""The tables of errors: the statements of the migration to version 6, which is never changed."""

from __future__ import annotations

ERROR_TABLES: tuple[str, ...] = (
    # Errors by fingerprint and kind. file, function, line and own are the place; NULL without one. A group is
    # "Error 12" in messages and in the audit log, so its id is never reused.
    """
    CREATE TABLE error_group (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fingerprint TEXT NOT NULL,
        kind TEXT NOT NULL,
        type TEXT NOT NULL,
        message TEXT NOT NULL,
        file TEXT,
        function TEXT,
        line INTEGER,
        own INTEGER,
        total INTEGER NOT NULL,
        first_us INTEGER NOT NULL,
        last_us INTEGER NOT NULL,
        first_version TEXT,
        last_version TEXT,
        resolved_us INTEGER,
        resolved_by TEXT NOT NULL,
        reopened_us INTEGER,
        muted_until_us INTEGER,
        UNIQUE (fingerprint, kind)
    )
    """,
    "CREATE INDEX error_group_last_us ON error_group (last_us)",
    # The day is the number of UTC days since 1970. Without a rowid: the days of a group are stored together.
    """
    CREATE TABLE error_count (
        error_group INTEGER NOT NULL,
        day INTEGER NOT NULL,
        service TEXT NOT NULL,
        operation TEXT NOT NULL,
        errors INTEGER NOT NULL,
        PRIMARY KEY (error_group, day, service, operation)
    ) WITHOUT ROWID
    """,
    # kind: user, guild. The hash is the keyed one of the metadata of operations.
    """
    CREATE TABLE error_person (
        error_group INTEGER NOT NULL,
        kind TEXT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (error_group, kind, hash)
    ) WITHOUT ROWID
    """,
    # chain: the exceptions with their frames, as JSON.
    """
    CREATE TABLE error_example (
        id INTEGER PRIMARY KEY,
        error_group INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        service TEXT NOT NULL,
        operation TEXT NOT NULL,
        user TEXT,
        version TEXT,
        chain TEXT NOT NULL
    )
    """,
    "CREATE INDEX error_example_group ON error_example (error_group, at_us)",
    """
    CREATE VIEW errors AS
    SELECT
        id,
        kind,
        type,
        message,
        file,
        line,
        function,
        total,
        (SELECT count(*) FROM error_person WHERE error_group = error_group.id AND error_person.kind = 'user')
            AS users,
        (SELECT count(*) FROM error_person WHERE error_group = error_group.id AND error_person.kind = 'guild')
            AS guilds,
        strftime('%Y-%m-%dT%H:%M:%fZ', first_us / 1000000.0, 'unixepoch') AS first_seen,
        strftime('%Y-%m-%dT%H:%M:%fZ', last_us / 1000000.0, 'unixepoch') AS last_seen,
        first_version,
        last_version,
        strftime('%Y-%m-%dT%H:%M:%fZ', resolved_us / 1000000.0, 'unixepoch') AS resolved,
        resolved_by,
        strftime('%Y-%m-%dT%H:%M:%fZ', reopened_us / 1000000.0, 'unixepoch') AS reopened,
        strftime('%Y-%m-%dT%H:%M:%fZ', muted_until_us / 1000000.0, 'unixepoch') AS muted_until,
        fingerprint
    FROM error_group
    """,
)
