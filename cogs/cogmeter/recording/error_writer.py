"""Stores the errors that wait in the recorder, and reports their groups to the alerts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cogmeter.recording.markers import ERROR, came_back
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.recording.recorder import Recorder
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorBatch, ErrorChange
    from cogmeter_storage.model import BatchId

_logger = logging.getLogger("cogmeter.flusher")


class ErrorWriter:
    """Moves errors from the recorder to the store. Like that of traces, a failure is not a failed flush."""

    def __init__(
        self,
        recorder: Recorder,
        next_id: Callable[[], BatchId],
        on_errors: Callable[[list[ErrorBatch], list[ErrorChange]], object] | None,
    ) -> None:
        """``on_errors`` is called with stored errors and the groups of them that began or came back; see Flusher."""
        self._recorder = recorder
        self._next_id = next_id
        self._on_errors = on_errors
        self._taken: tuple[BatchId, list[ErrorBatch]] | None = None  # not stored yet

    @property
    def waiting(self) -> bool:
        """True if errors wait for the store."""
        return self._taken is not None or bool(self._recorder.errors)

    def put_back(self) -> None:
        """Put errors that could not be stored back into the recorder, for the next start."""
        if self._taken is not None:
            self._recorder.errors.put_back(self._taken[1])
            self._taken = None

    async def store(self, store: Store, *, once: bool) -> None:
        """Store the waiting errors; ``once``: with ids by which the store recognises errors that come again."""
        errors = self._recorder.errors
        while self.waiting:
            if self._taken is None:
                self._taken = self._next_id(), errors.take()
            number, batches = self._taken  # the same ones again after a failure
            try:
                changes = await (store.errors.add(batches, batch=number) if once else store.errors.add(batches))
            except StorageError as error:
                _logger.debug("%d groups of errors wait for the store: %s", len(errors) + len(batches), error)
                return
            except Exception:
                errors.dropped += sum(sum(batch.counts.values()) for batch in batches)
                self._taken = None
                _logger.exception("Dropped %d groups of errors that could not be stored", len(batches))
                continue
            self._taken = None
            for change in changes:
                if change.reopened:
                    self._recorder.markers.add(ERROR, came_back(change.group))
            self._report(batches, changes)
            await asyncio.sleep(0)

    def _report(self, batches: list[ErrorBatch], changes: list[ErrorChange]) -> None:
        if self._on_errors is None:
            return
        try:
            self._on_errors(batches, changes)
        except Exception:
            _logger.exception("Errors could not be counted for alerts; they are stored")
