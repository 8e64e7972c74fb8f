"""The store in one SQLite file, through aiosqlite."""

from cogmeter_storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
