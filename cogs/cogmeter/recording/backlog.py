"""The operations between the buffer and the store: batches in memory, and before them those in the spool.

They are measured for alerts when they are taken from the buffer, also while the store fails. A store on a
server gets a spool: when the memory fills up, the batches are moved to it in order, and stored from it in order.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.rows import Batch
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import BatchId
from cogmeter_storage.spool import SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.recording.recorder import Recorder
    from cogmeter_storage.base import Store
    from cogmeter_storage.spool import Spool

BATCH: Final = 10_000  # operations per batch; sorting and counting more would block the loop for milliseconds
SPOOLED_SHARE: Final = 0.25  # of the buffer, above which waiting batches go to the spool
JOINED_NS: Final = 60_000_000_000  # of operations in one waiting batch: the clocks drift by less than 30 ms
READINGS, READ_NS = 5, 20_000  # of both clocks, until one takes at most READ_NS

_logger = logging.getLogger("cogmeter.flusher")


class Backlog:
    """A queue of batches that are not stored yet. What is in the spool is older than what is in memory."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        watch: Callable[[list[Any]], Awaitable[None]] | None = None,
        spool: Spool | None = None,
    ) -> None:
        """``watch`` is called once with the atoms of each batch, in order."""
        self.spool = spool
        self.lost = 0  # operations in a spool that could not be read any more
        self.source = uuid4().hex
        self.collecting = asyncio.Lock()
        self.writing = asyncio.Lock()  # of the first batch in memory: it is not moved to the spool then
        self._batches: deque[Batch] = deque()
        self._recorder = recorder
        self._watch = watch
        self._numbers = itertools.count(1)
        self._spool_ids: list[int] = []  # the spool's numbers of the recorder's series
        self._store_ids: dict[tuple[str, str], int] = {}  # the store's ids of the series in the spool

    @property
    def operations(self) -> int:
        """Operations in memory that were taken from the buffer and are not stored yet."""
        return sum(batch.operations for batch in self._batches)

    @property
    def spooled(self) -> int:
        """Operations in the spool."""
        return 0 if self.spool is None else self.spool.operations

    @property
    def first(self) -> Batch | None:
        """The oldest batch in memory."""
        return self._batches[0] if self._batches else None

    @property
    def more(self) -> bool:
        """True if operations wait after the oldest batch in memory."""
        return len(self._batches) > 1 or bool(self._recorder.buffer.rows)

    async def collect(self) -> None:
        """Take a batch from the buffer, which may be empty, and measure it."""
        async with self.collecting:
            await self._collect(None)

    async def collect_waiting(self) -> None:
        """Take all operations from the buffer while batches wait for the store, and measure them."""
        async with self.collecting:
            left = len(self._recorder.buffer)
            while left > 0:
                last = self._batches[-1] if self._batches else None
                fits = last is not None and not last.tried and time.perf_counter_ns() - last.began_ns < JOINED_NS
                left -= await self._collect(last if fits else None)

    async def _collect(self, last: Batch | None) -> int:
        """Take operations into a new batch, or into the last one if it is not full; return how many."""
        buffer = self._recorder.buffer
        room = BATCH if last is None else BATCH - last.operations
        if last is None or room <= 0:
            atoms = buffer.take(BATCH)
            batch_id = BatchId(self.source, next(self._numbers))
            self._batches.append(Batch(atoms, wall_minus_perf_ns=wall_minus_perf_ns(), id=batch_id))
        else:
            atoms = buffer.take(room, join=True)
            last.extend(atoms)
        taken = len(atoms) // FIELDS
        if self._watch is not None and atoms:
            await self._watch(atoms)
        return taken

    def remove_first(self) -> None:
        """Remove the oldest batch in memory, which is stored, spooled or lost."""
        self._recorder.buffer.release(self._batches.popleft().atoms)

    async def end(self) -> None:
        """Move everything to the spool and close it; put what it does not take back into the buffer."""
        if self.spool is not None:
            await self.collect_waiting()
            await self.move_to_spool()
            await self.spool.close()
        while self._batches:
            self._recorder.buffer.put_back(self._batches.pop().atoms)

    def follow(self, step_ns: int) -> None:
        """Follow a step of the wall clock."""
        for batch in self._batches:
            batch.follow(step_ns, wall_minus_perf_ns())

    async def relieve(self) -> None:
        """Move all batches from memory to the spool if they take too much memory, unless one is being stored now."""
        if self._recorder.buffer.used > SPOOLED_SHARE and not self.writing.locked():
            await self.move_to_spool()

    async def move_to_spool(self) -> None:
        """Move all batches from memory to the spool, in order, until it is full. Never raises StorageError."""
        if self.spool is None:
            return
        async with self.writing:
            try:
                while self._batches:
                    await self._spool_first(self.spool)
            except SpoolFullError as error:
                _logger.debug("%d operations stay in memory: %s", self.operations, error)
            except StorageError as error:
                _logger.error("%d operations stay in memory: %s", self.operations, error)  # noqa: TRY400 - expected

    async def _spool_first(self, spool: Spool) -> None:
        names = self._recorder.names
        if len(self._spool_ids) < len(names):
            self._spool_ids += await spool.series_ids(names[len(self._spool_ids) :])
        batch = self._batches[0]
        if batch.atoms and batch.id is not None:
            batch.tried = True
            batch.sort()
            was_full = spool.full
            try:
                slices = batch.slices(self._spool_ids, self._recorder)
                await spool.append(slices, now_us=batch.taken_us, batch=batch.id)
            except SpoolFullError as error:
                if not was_full:
                    _logger.warning("%s Operations wait in memory, and are dropped when it is full, too.", error)
                raise
        self.remove_first()

    async def replay(self, store: Store) -> int:
        """Store the first batch of the spool; return the number of its operations.

        Raises:
            StorageError: the store failed; the batch stays.
        """
        assert self.spool is not None
        try:
            batch = await self.spool.first()
        except StorageError as error:
            self._give_up_spool(error)
            return 0
        if batch is None:
            return 0
        known = self._store_ids
        if new := [name for name in batch.names if name not in known]:
            known.update(zip(new, await store.series_ids(new), strict=True))
        ids = [known[name] for name in batch.names]
        slices = ([(ids[place], *values) for place, *values in rows] for rows in batch.slices)
        stored = await store.append(slices, now_us=batch.now_us, batch=batch.id)  # type: ignore[arg-type]  # Row, by its parts
        try:
            await self.spool.remove(batch)
        except StorageError as error:  # its id is stored, so a later start does not store it again
            self._give_up_spool(error)
        return stored

    async def drop_spooled(self) -> int:
        """Remove the first batch of the spool, which cannot be stored; return the number of its operations."""
        batch = None if self.spool is None else await self.spool.first()
        if self.spool is None or batch is None:
            return 0
        await self.spool.remove(batch)
        return sum(map(len, batch.slices))

    def forget_store(self) -> None:
        """Look up the ids of series again: the store is another one."""
        self._store_ids.clear()

    def _give_up_spool(self, error: StorageError) -> None:
        """Continue without a spool that cannot be used any more; its file stays for the next start."""
        assert self.spool is not None
        self.lost += self.spool.operations
        _logger.error("%d operations stay in the spool until the next start: %s", self.spool.operations, error)
        self.spool = None


def wall_minus_perf_ns() -> int:
    """Return how far the clock is ahead of the performance counter, in nanoseconds.

    Both are read at the same moment: a thread that runs between the readings would shift a whole batch.
    """
    readings = []
    for _ in range(READINGS):
        before_ns, wall_ns, after_ns = time.perf_counter_ns(), clock.now_ns(), time.perf_counter_ns()
        readings.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
        if after_ns - before_ns < READ_NS:
            break
    return min(readings)[1]
