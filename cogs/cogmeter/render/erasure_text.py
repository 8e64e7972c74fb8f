"""What an erasure of a user's data removed, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.render import formatting

if TYPE_CHECKING:
    from cogmeter_storage.model import Erased


# What an erasure does, and what it cannot do.
EFFECT: Final = (
    "the keyed hash is removed from operations, traces and errors, and the id and the display name from all stored"
    " texts. Operations stay, without a user. It cannot be undone."
)
LIMITS: Final = (
    "Exports and backups are not changed. A user cannot be removed from the distinct counts of /perf usage: they"
    " contain no ids."
)


def result_text(erased: Erased) -> str:
    """Return the result as a sentence."""
    return f"Removed from {erased_text(erased)}." if erased.rows else "Nothing was stored about this user."


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
