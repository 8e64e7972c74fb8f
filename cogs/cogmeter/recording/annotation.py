"""Adds metadata to the operation that the running code is part of, from anywhere below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogmeter.recording.operation import innermost
from cogmeter.recording.running import started_in
from cogmeter.recording.tracing import current

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.recording.tracing import AnnotationTarget


def annotate(**metadata: Any) -> bool:
    """Add these values to the current operation; a later value of the same name replaces the earlier.

    The current operation is the innermost one around the running code: an ``operation()`` block; inside a command,
    button or form also a function or block of ``track()``; else the command, component, reply, listener, loop or job
    itself. Returns False, and stores nothing, outside of any operation. Never raises. A block of ``track()`` that runs
    outside of commands and components is passed over; use ``operation()`` there.
    """
    try:
        return any(target.add_metadata(metadata) for target in targets())
    except Exception:  # noqa: BLE001 - recording never raises
        return False


def targets() -> Iterator[AnnotationTarget]:
    """Yield the operations around the running code, the innermost first; some of them may have ended."""
    scope = current()
    if scope is not None:
        if scope.trace.own:  # one of cogmeter's own commands
            return
        if scope.target is not None:
            yield scope.target
        yield scope.trace
        return
    running, inner = started_in(), innermost()
    # An operation around the bot's whole life is not the innermost one of a reply that began later.
    if inner is not None and inner[1] is running:
        yield inner[0]
    if running is not None:
        yield running
