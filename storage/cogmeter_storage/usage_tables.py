"""The tables of usage: the statements of the migration to version 7, which is never changed."""

from __future__ import annotations

USAGE_TABLES: tuple[str, ...] = (
    # Sketches of the users and guilds of every series (see sketch.py) in one hour or day. tier: as in slot, 1 or 2.
    """
    CREATE TABLE usage_slot (
        tier INTEGER NOT NULL,
        start_us INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (tier, start_us)
    )
    """,
    # Sketches of a few seconds of the hour that starts then, until they are merged into its slot. Ids are never reused:
    # a recovery copies the rows behind the last one.
    """
    CREATE TABLE usage_part (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        start_us INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        data BLOB NOT NULL
    )
    """,
    # kind: context, locale, joined, left. One row per hour.
    """
    CREATE TABLE usage_count (
        start_us INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (start_us, kind, name)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE usage_last (series INTEGER PRIMARY KEY, at_us INTEGER NOT NULL)",
)
