"""An operation as JSON: what the guide shows of it, and beside that all else that is known, so that nothing is lost.

``startTime`` and ``endTime`` are exact to the microsecond, and so is ``duration``, in milliseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cogmeter.exporters.base import iso, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cogmeter_storage.model import OperationRecord

# Pure ASCII: whatever a text holds, half a surrogate pair in metadata too, its escapes are valid in every encoding.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False).encode


def as_json(operations: Iterable[OperationRecord]) -> list[str]:
    """Each one as a JSON object, on one line."""
    return [_one(operation) for operation in operations]


def _one(one: OperationRecord) -> str:
    # Written out, and not encoded from a dict, because a million of them takes half the time.
    return (
        f'{{"operationId":"op_{one.id}","service":{_encode(one.service)},"operation":{_encode(one.operation)},'
        f'"startTime":"{iso(one.start_us)}","endTime":"{iso(one.end_us)}","duration":{milliseconds(one.duration_us)},'
        f'"success":{"false" if one.outcome.failed else "true"},"outcome":"{one.outcome.label}",'
        f'"error":{"null" if one.error is None else _encode(one.error)},'
        f'"metadata":{_metadata(one.metadata) if one.metadata else "{}"}}}'
    )


def _metadata(metadata: Mapping[str, Any]) -> str:
    try:
        return _encode(metadata)
    except (ValueError, RecursionError):
        return _encode(_plain(metadata))


def _plain(metadata: Mapping[str, Any]) -> Any:
    """Metadata that JSON has no word for: what is no finite number becomes its name, what is nested too deep is cut."""
    try:
        return json.loads(json.dumps(metadata), parse_constant=str)
    except RecursionError:
        return {"(cut)": "nested too deep"}
