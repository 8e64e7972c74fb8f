"""Reports operations that were dropped because the buffer was full: in the log, and in the store for the summaries."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from cogmeter.recording.buffer import DROPPED
from cogmeter.settings import buffer_setting
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from cogmeter.recording.buffer import Buffer
    from cogmeter_storage.base import Store

WARN_INTERVAL_S: Final = 60.0
STORE_INTERVAL_S: Final = 10.0

_logger = logging.getLogger("cogmeter.flusher")


class LossReporter:
    """Report what one buffer drops. The buffer itself remembers what was reported, also through a reload."""

    def __init__(self, buffer: Buffer) -> None:
        """Begin with nothing reported."""
        self._buffer = buffer
        self._warned_s = self._stored_s = float("-inf")  # by time.monotonic

    def warn(self, *, last: bool = False) -> None:
        """Log how many operations were dropped since the last warning, at most once a minute or, ``last``, now."""
        buffer, now_s = self._buffer, monotonic()
        fresh = buffer.dropped - buffer.logged
        if not fresh or not (last or now_s - self._warned_s >= WARN_INTERVAL_S):
            return
        setting = buffer_setting(by_memory=buffer.by_memory)
        bound = f"{buffer.max_bytes / 1e6:g} MB" if buffer.by_memory else f"{buffer.capacity:,} operations"
        if fresh > 0:  # less than nothing: the count was begun anew
            _logger.warning("Dropped %s operations: the buffer was full (%s). Raise %s.", f"{fresh:,}", bound, setting)
        buffer.logged += fresh
        self._warned_s = now_s

    async def store(self, store: Store, *, last: bool = False) -> None:
        """Store how many operations were dropped since it was stored last, at most every 10 s or, ``last``, now."""
        buffer, now_s = self._buffer, monotonic()
        fresh = buffer.dropped - buffer.stored
        if not fresh or not (last or now_s - self._stored_s >= STORE_INTERVAL_S):
            return
        self._stored_s = now_s
        try:
            if fresh > 0:
                await store.add_samples(clock.now_us(), {DROPPED: fresh})
        except StorageError as error:
            _logger.debug("%d dropped operations are not in the store yet: %s", fresh, error)
            return
        buffer.stored += fresh
