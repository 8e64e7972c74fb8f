"""The Store on PostgreSQL, which many processes share; see store.py."""

from cogmeter_storage.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
