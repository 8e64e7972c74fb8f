"""The storage of operations and alerts. It imports neither discord nor the packages above it."""

from cogmeter_storage.base import CorruptStoreError, StorageError, Store
from cogmeter_storage.factory import open_store
from cogmeter_storage.model import (
    Cleaned,
    FailureGroup,
    Marker,
    OperationRecord,
    Outcome,
    Person,
    Retention,
    Row,
    SeriesRecord,
    SpanRecord,
    StoreStatus,
    Tier,
    Totals,
    TraceRecord,
)

__all__ = [
    "Cleaned",
    "CorruptStoreError",
    "FailureGroup",
    "Marker",
    "OperationRecord",
    "Outcome",
    "Person",
    "Retention",
    "Row",
    "SeriesRecord",
    "SpanRecord",
    "StorageError",
    "Store",
    "StoreStatus",
    "Tier",
    "Totals",
    "TraceRecord",
    "open_store",
]
