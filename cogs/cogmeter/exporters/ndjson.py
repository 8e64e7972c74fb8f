"""Operations as JSON objects, one per line, in the order of their end; and an operation as JSON for the JSON export.

An object has the fields of the guide, and all other facts, so that nothing is lost. ``startTime`` and ``endTime`` are
exact to the microsecond, and so is ``duration``, in milliseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cogmeter.exporters.base import ROWS, Export, Exporter, milliseconds, series_ids
from cogmeter.times import iso

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

# Pure ASCII: whatever a text contains, even half of a surrogate pair, its escapes are valid in every encoding.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False).encode


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """Implement Exporter.write."""
    ids = await series_ids(store, export)
    async for operations in store.stream(ids, export.since_us, export.until_us, rows=ROWS):
        yield ("\n".join(as_json(operations)) + "\n").encode()


def as_json(operations: Iterable[OperationRecord]) -> list[str]:
    """Return each operation as a JSON object on one line."""
    return [_as_json(operation) for operation in operations]


def _as_json(row: OperationRecord) -> str:
    # Written out, and not encoded from a dict: that takes half the time.
    return (
        f'{{"operationId":"op_{row.id}","service":{_encode(row.service)},"operation":{_encode(row.operation)},'
        f'"startTime":"{iso(row.start_us)}","endTime":"{iso(row.end_us)}","duration":{milliseconds(row.duration_us)},'
        f'"success":{"false" if row.outcome.failed else "true"},"outcome":"{row.outcome.label}",'
        f'"error":{"null" if row.error is None else _encode(row.error)},'
        f'"metadata":{_metadata(row.metadata) if row.metadata else "{}"}}}'
    )


def _metadata(metadata: Mapping[str, Any]) -> str:
    try:
        return _encode(metadata)
    except (ValueError, RecursionError):
        return _encode(_plain(metadata))


def _plain(metadata: Mapping[str, Any]) -> Any:
    """Return metadata as JSON can express it: a number that is not finite becomes its name, deep nesting is cut."""
    try:
        return json.loads(json.dumps(metadata), parse_constant=str)
    except RecursionError:
        return {"(cut)": "nested too deep"}


EXPORTER: Final = Exporter(
    name="ndjson",
    label="NDJSON",
    description="One JSON object per operation and line",
    suffixes=("ndjson", "jsonl"),
    media_type="application/x-ndjson",
    streams=True,
    write=write,
)
