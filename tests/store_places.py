"""The place of an operation among those of its store."""

from __future__ import annotations

from collections.abc import Sequence

from cogmeter_storage import OperationRecord

_BITS = 33  # in a store of many processes, the others are the number of the run


def place_of(operation: OperationRecord, before: Sequence[int] = (0, 0)) -> int:
    """Return 1 for the first operation; ``before`` is how many were stored before each run."""
    run, place = operation.id >> _BITS, operation.id & (1 << _BITS) - 1
    return before[run] + place
