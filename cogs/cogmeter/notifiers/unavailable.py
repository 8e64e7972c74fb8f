"""Takes the place of a notifier that could not be created, so that what waits for its target is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.notifiers.base import NotifyError

if TYPE_CHECKING:
    from cogmeter.notifiers.base import Notice


class UnavailableNotifier:
    """Refuses every delivery for now; the outbox tries again, also after the next start."""

    living = False
    single = False

    def __init__(self, name: str, reason: str) -> None:
        """``reason`` says why the real one could not be created."""
        self.name = name
        self._reason = reason

    async def prepare(self) -> None:
        """Raise what ``notify`` raises."""
        raise self._error()

    async def notify(self, notice: Notice) -> str | None:
        """Raise NotifyError."""
        del notice
        raise self._error()

    def _error(self) -> NotifyError:
        return NotifyError(f"The {self.name} target could not be started: {self._reason}", permanent=False)
