"""Where operations live. Knows nothing of Discord, and nothing of the packages above it."""

from cogmeter_storage.base import CorruptStoreError, StorageError, Store
from cogmeter_storage.factory import open_store
from cogmeter_storage.model import (
    Cleaned,
    ErrorGroup,
    Marker,
    Operation,
    Outcome,
    Person,
    Retention,
    Row,
    Series,
    SpanRecord,
    StoreStatus,
    Tier,
    Totals,
    TraceRecord,
)

__all__ = [
    "Cleaned",
    "CorruptStoreError",
    "ErrorGroup",
    "Marker",
    "Operation",
    "Outcome",
    "Person",
    "Retention",
    "Row",
    "Series",
    "SpanRecord",
    "StorageError",
    "Store",
    "StoreStatus",
    "Tier",
    "Totals",
    "TraceRecord",
    "open_store",
]
