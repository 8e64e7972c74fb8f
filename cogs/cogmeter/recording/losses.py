"""Reports operations that were dropped because the buffer was full: in the log, and in the store for summaries."""

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
    """A reporter of the operations that one buffer drops. The buffer keeps what was reported, even through a reload."""

    def __init__(self, buffer: Buffer) -> None:
        """Report the operations that this buffer drops."""
        self._buffer = buffer
        self._warned_s = self._stored_s = float("-inf")  # by time.monotonic

    def warn(self, *, last: bool = False) -> None:
        """Log how many operations were dropped since the last warning, at most once a minute; ``last`` logs now."""
        buffer, now_s = self._buffer, monotonic()
        unreported = buffer.dropped - buffer.logged
        if not unreported or not (last or now_s - self._warned_s >= WARN_INTERVAL_S):
            return
        setting = buffer_setting(by_memory=buffer.by_memory)
        bound = f"{buffer.max_bytes / 1e6:g} MB" if buffer.by_memory else f"{buffer.capacity:,} operations"
        if unreported > 0:  # negative after the counter was reset
            _logger.warning(
                "Dropped %s operations: the buffer was full (%s). Raise %s.", f"{unreported:,}", bound, setting
            )
        buffer.logged += unreported
        self._warned_s = now_s

    async def store(self, store: Store, *, last: bool = False) -> None:
        """Store how many operations were dropped since the last time, at most every 10 s; ``last`` stores now."""
        buffer, now_s = self._buffer, monotonic()
        unreported = buffer.dropped - buffer.stored
        if not unreported or not (last or now_s - self._stored_s >= STORE_INTERVAL_S):
            return
        self._stored_s = now_s
        try:
            if unreported > 0:
                await store.add_samples(clock.now_us(), {DROPPED: unreported})
        except StorageError as error:
            _logger.debug("%d dropped operations are not in the store yet: %s", unreported, error)
            return
        buffer.stored += unreported
