"""Keeps markers, and a few bytes under a name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cogmeter_storage.model import Marker
from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3


def add(raw: sqlite3.Connection, marker: Marker) -> Marker:
    """See Store.add_marker; one transaction."""
    with transaction(raw):
        added = raw.execute(
            "INSERT INTO marker (at_us, kind, name) VALUES (?, ?, ?)", (marker.at_us, marker.kind, marker.name)
        )
    return dataclasses.replace(marker, id=added.lastrowid or 0)


def read(raw: sqlite3.Connection, since_us: int, until_us: int, limit: int) -> list[Marker]:
    """See Store.markers."""
    rows = raw.execute(
        f"SELECT at_us, kind, name, id FROM marker WHERE at_us >= ? AND at_us < ? AND {sound('marker')}"  # noqa: S608 - names of our columns
        " ORDER BY at_us DESC, id DESC LIMIT ?",
        (since_us, until_us, max(limit, 0)),  # below 0, SQLite knows no limit
    )
    return [Marker(*row) for row in rows][::-1]


def remember(raw: sqlite3.Connection, key: str, value: bytes) -> None:
    """See Store.remember; one transaction."""
    with transaction(raw):
        raw.execute("INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (key, value))


def recall(raw: sqlite3.Connection, key: str) -> bytes | None:
    """See Store.recall."""
    find = f"SELECT value FROM memory WHERE name = ? AND {sound('memory')}"  # noqa: S608 - names of our columns
    row = raw.execute(find, (key,)).fetchone()
    return None if row is None else bytes(row[0])
