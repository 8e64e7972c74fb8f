"""What an erasure of a user's data removed, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.render import formatting

if TYPE_CHECKING:
    from cogmeter_storage.model import Erased


def erased_text(erased: Erased) -> str:
    """Return what was erased: ``9 rows (3 operations, 2 errors)``; ``0 rows`` for nothing."""
    kinds = {
        "operation": erased.operations,
        "trace": erased.traces,
        "error record": erased.errors,
        "alert record": erased.alerts,
        "other record": erased.others,
    }
    parts = [formatting.counted(count, noun) for noun, count in kinds.items() if count]
    rows = formatting.counted(erased.rows, "row")
    return f"{rows} ({', '.join(parts)})" if parts else rows
