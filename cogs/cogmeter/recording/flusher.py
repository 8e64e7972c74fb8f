"""Moves operations from the buffer into the store: about once a second, in slices, with back-off and a final flush."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from cogmeter.recording.background import detached
from cogmeter.recording.backlog import Backlog, wall_minus_perf_ns
from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.error_writer import ErrorWriter
from cogmeter.recording.losses import LossReporter
from cogmeter.recording.markers import store_markers
from cogmeter.recording.trace_writer import store_traces
from cogmeter.recording.usage import FIELDS as USAGE_FIELDS
from cogmeter.recording.usage_batches import batch_of
from cogmeter_storage.base import CorruptStoreError, DetachedStoreError, StorageError
from cogmeter_storage.clock import AHEAD_US, clock
from cogmeter_storage.model import BatchId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cogmeter.recording.recorder import Recorder
    from cogmeter.recording.usage import Taken
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorBatch, ErrorChange
    from cogmeter_storage.model import TraceRecord
    from cogmeter_storage.spool import Spool

INTERVAL_S = 1.0
POLL_S = 0.1  # how often the buffer's level is checked between two flushes
EARLY = 5_000  # operations that start a flush before the interval is over
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
LAST_SERVER_RETRY_S = 5.0  # of a server: it is back after a failover, without anybody's doing
PATIENCE_S = 1.0  # with an attempt, until operations that are recorded during it are measured
STOP_S = 3.0  # for an attempt that hangs while the bot stops, if a spool can take the operations
USAGE_INTERVAL_S = 10.0  # between two batches of usage: one each second would cost as much as the operations
STALE_S = 30.0  # a flush is due every second
ATTEMPTS = 3  # attempts at a batch that fails for another reason than the store

_logger = logging.getLogger("cogmeter.flusher")


class Flusher:
    """The only task that writes operations. A failing store is retried with growing pauses, while the buffer fills."""

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        *,
        watch: Callable[[list[Any]], Awaitable[None]] | None = None,
        replace: Callable[[StorageError], Awaitable[Store]] | None = None,
        traces: deque[TraceRecord] | None = None,
        on_errors: Callable[[list[ErrorBatch], list[ErrorChange]], object] | None = None,
        spool: Spool | None = None,
    ) -> None:
        """Create a flusher.

        Args:
            recorder: the recorder whose buffer and markers are stored.
            store: the store to write to.
            watch: called once with the atoms of each batch, even if the batch cannot be stored.
            replace: returns a new store for a corrupt or detached one.
            traces: traces to store after each batch. Bound it by ``maxlen``, because the store may fail for long.
            spool: takes the operations of an outage of the store's server; ``stop`` closes it.
            on_errors: called with stored errors, and the groups of them that began, or came back after they had been
                resolved.
        """
        self.recorder = recorder
        self.store = store
        self.traces: deque[TraceRecord] = deque() if traces is None else traces
        self.written = 0
        self.lost_users = 0  # operations whose users could not be counted
        self.loop_ns = 0  # spent on the loop to convert operations, for the estimate of the monitor's own cost
        self.failures = 0  # of the store, since the last success
        self.last_error: str | None = None
        self.last_flush_us: int | None = None
        self._flush_offset_us: int | None = None  # from the performance counter to the clock, at the last flush
        self._latest_us = 0  # the latest time at which something was stored
        self.backlog = Backlog(recorder, watch=watch, spool=spool)
        self.away_ns: int | None = None  # since when the store fails, by time.perf_counter_ns
        self.dropped_before = 0  # operations that had been dropped when it began
        self._replace = replace
        self._ids: list[int] = []  # the store's id of each of the recorder's series
        self._numbers = itertools.count(1)  # of batches of errors and usage
        self._errors = ErrorWriter(recorder, self._next_id, on_errors)
        self._usage_id = BatchId(self.backlog.source, 0)
        self._usage: Taken | None = None  # taken from the recorder and not stored yet
        self._usage_s = time.perf_counter()  # when usage was taken for the last time
        # Kept until a replacement has succeeded: one that failed may have closed the old store already.
        self._lost: StorageError | None = None
        self._spools = False  # whether the store cannot be reached, so that the spool takes what waits
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._lock = asyncio.Lock()
        self._losses = LossReporter(recorder.buffer)

    @property
    def pending(self) -> int:
        """Operations in memory that were taken from the buffer and are not stored yet."""
        return self.backlog.operations

    @property
    def away_s(self) -> float:
        """Seconds since the store began to fail; 0 while it works."""
        return 0.0 if self.away_ns is None else (time.perf_counter_ns() - self.away_ns) / 1e9

    @property
    def dropped(self) -> int:
        """Operations that were dropped since the store began to fail."""
        return max(self.recorder.buffer.dropped - self.dropped_before, 0)

    @property
    def age_s(self) -> float | None:
        """Seconds since the last flush, even if the wall clock was changed since; None before the first one."""
        if self.last_flush_us is None:
            return None
        offset_us = wall_minus_perf_ns() // 1000 if self._flush_offset_us is None else self._flush_offset_us
        return max(time.perf_counter_ns() // 1000 + offset_us - self.last_flush_us, 0) / 1e6

    def stepped(self, step_us: int) -> None:
        """Follow a step of the clock: waiting operations get the times that the corrected clock would have shown."""
        self.backlog.follow(step_us * 1000)
        if self._usage is not None:
            self._usage.at_us += step_us

    def problem(self) -> str:
        """Return why the stored data is not fresh; an empty text if it is."""
        if self.last_error is not None:
            return f"the database does not accept operations: {self.last_error}"
        age_s = self.age_s
        if age_s is None or age_s > STALE_S:
            return "nothing was flushed yet" if age_s is None else f"the last flush was {age_s:.0f} s ago"
        return ""

    def start(self) -> None:
        """Start to flush in the background."""
        self._task = detached(self._run(), name="cogmeter-flusher")

    async def stop(self) -> None:
        """Flush a last time, and end. What cannot be stored goes to the spool, or stays in the buffer."""
        self._stopping = True
        if self._task is not None:
            await self._task
            self._task = None
        await self.backlog.end()
        self._errors.put_back()
        if self._usage is not None:
            self.recorder.usage.put_back(self._usage)
            self._usage = None
        self._losses.warn(last=True)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Store and measure nothing inside a ``with`` statement; operations wait in the buffer."""
        async with self._lock, self.backlog.collecting:
            yield

    async def flush(self, *, usage: bool = True) -> None:
        """Write the content of the buffer in batches of at most BATCH operations, and seal the slots that have ended.

        Without ``usage``, the users and guilds of operations are left for a later flush.

        Raises:
            StorageError: the store failed; the batch is kept, and the next flush retries it.
        """
        async with self._lock:  # two at once would both write the batch that is pending
            left = self.pending + len(self.recorder.buffer)
            while True:
                left -= await self._flush()
                if left <= 0 or not (self.pending or self.recorder.buffer.rows):
                    break
            if usage and (self.recorder.usage or self._usage is not None):
                await self._store_usage()

    async def _flush(self) -> int:
        """Store what is in the spool, then the oldest batch in memory; return the number of operations of that one."""
        backlog = self.backlog
        if backlog.first is None:
            await backlog.collect()
        while True:
            while backlog.spool is not None and backlog.spool.batches:
                self.written += await backlog.replay(self.store)
            async with backlog.writing:
                if not (backlog.spool is not None and backlog.spool.batches):
                    count = await self._write_first()
                    break
        self._flush_offset_us = wall_minus_perf_ns() // 1000
        self.last_flush_us = time.perf_counter_ns() // 1000 + self._flush_offset_us
        if self.traces:
            await store_traces(self.store, self.traces)
        if self._errors.waiting:
            await self._errors.store(self.store, once=self._on_server)
        if self.recorder.markers:
            await store_markers(self.store, self.recorder.markers)
        await self._losses.store(self.store, last=self._stopping)
        return count

    async def _write_first(self) -> int:
        """Store the oldest batch in memory; return the number of its operations."""
        batch = self.backlog.first
        if batch is None:  # it went to the spool
            return 0
        batch.tried = True
        await self._update_ids()
        batch.sort()
        slices = batch.slices(self._ids, self.recorder)
        now_us = clock.now_us()
        if now_us < self._latest_us - AHEAD_US:
            await self.store.move_future_rows(now_us=now_us)
            self._latest_us = now_us
        if self.backlog.more:
            now_us = min(now_us, batch.taken_us)  # a later minute must not be sealed before its operations are written
        count = batch.operations
        self.written += await self.store.append(slices, now_us=now_us, **self._once("batch", batch.id))
        self._latest_us = max(self._latest_us, now_us)
        self.backlog.remove_first()
        self.loop_ns += batch.loop_ns
        return count

    @property
    def _on_server(self) -> bool:
        """Whether the store is on a server: it may be away for a while, and records the ids of batches."""
        return getattr(self.store, "process", None) is not None

    def _once(self, name: str, batch: BatchId | None) -> dict[str, Any]:
        """Return the argument by which a store on a server recognises a batch that comes again."""
        return {name: batch} if self._on_server else {}

    def _next_id(self) -> BatchId:
        return BatchId(self.backlog.source, next(self._numbers))

    async def _update_ids(self) -> None:
        names = self.recorder.names
        if len(self._ids) < len(names):
            self._ids += await self.store.series_ids(names[len(self._ids) :])

    async def _run(self) -> None:
        while not self._stopping:
            await self._pause(self._delay_s())
            await self._attempt_aside()
            if self.failures:
                await self._wait_out()
        buffer = self.recorder.buffer
        recorder = self.recorder
        waiting = (buffer.rows, self.pending, self.traces, recorder.markers, recorder.usage, self._usage)
        if (any(waiting) or self._errors.waiting or buffer.dropped > buffer.stored) and not self.failures:
            await self._attempt_aside()

    async def _attempt_aside(self) -> None:
        """Flush in a task of its own; if it takes long, measure what is recorded during it."""
        attempt = detached(self._attempt(), name="cogmeter-flush")
        stop_s = 0.0
        while not (await asyncio.wait({attempt}, timeout=PATIENCE_S))[0]:
            stop_s += PATIENCE_S if self._stopping else 0.0
            if stop_s >= STOP_S and self.backlog.spool is not None:
                attempt.cancel()
                with suppress(asyncio.CancelledError):
                    await attempt
                self.failures += 1
                return
            await self._wait_out()

    async def _wait_out(self) -> None:
        """Measure operations that cannot be stored now, and move them to the spool if they take too much memory."""
        await self.backlog.collect_waiting()
        if self._spools:
            await self.backlog.relieve()

    async def _store_usage(self) -> None:
        """Store the waiting users, guilds and counts. Like that of traces, their failure is not a failed flush."""
        self._usage_s = time.perf_counter()
        key = self.recorder.usage.key
        if key is None:
            return
        try:
            await self._store_taken(key)  # what an earlier flush could not store
            self._usage = self.recorder.usage.take()  # once: more is recorded while it is stored
            self._usage_id = self._next_id()
            await self._store_taken(key)
            if dropped := self.recorder.usage.take_dropped():
                self.lost_users += dropped
                _logger.warning("The users and guilds of %d operations were not counted: too many waited", dropped)
        except StorageError as error:
            _logger.debug("The usage of some operations waits for the store: %s", error)
        except Exception:
            self.lost_users += 0 if self._usage is None else len(self._usage.rows) // USAGE_FIELDS
            self._usage = None
            _logger.exception("Dropped the usage of some operations, which could not be stored")

    async def _store_taken(self, key: bytes) -> None:
        if self._usage is None:
            return
        await self._update_ids()
        began_ns = time.perf_counter_ns()
        batch = batch_of(self._usage, self._ids, key)
        self.loop_ns += time.perf_counter_ns() - began_ns
        await self.store.usage.add(batch, **self._once("batch_id", self._usage_id))
        self._usage = None

    @property
    def _usage_due(self) -> bool:
        due = time.perf_counter() - self._usage_s >= USAGE_INTERVAL_S
        return due or self._stopping or self.recorder.usage.is_filling

    async def _replace_lost(self) -> None:
        if self._lost is not None and self._replace is not None:
            self.store = await self._replace(self._lost)
            self._lost = None
            self._ids.clear()
            self.backlog.forget_store()

    async def _flush_or_replace(self) -> None:
        """Flush, into a new store if the open one is corrupt or detached."""
        await self._replace_lost()
        try:
            await self.flush(usage=self._usage_due)
        except (CorruptStoreError, DetachedStoreError) as error:
            self._lost = error
            if self._replace is None:
                raise
            await self._replace_lost()
            await self.flush()

    async def _attempt(self) -> None:
        try:
            await self._flush_or_replace()
        except StorageError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a bug of cogmeter must end neither the task nor the bot
            self._failed(error)
            await self._give_up()
        else:
            if self.failures:
                _logger.warning(
                    "The store works again after %d failed attempts in %.0f s; %s operations were dropped",
                    *(self.failures, self.away_s, f"{self.dropped:,}"),
                )
            self.failures, self.last_error, self.away_ns, self._spools = 0, None, None, False

    def _failed(self, error: Exception) -> None:
        if not self.failures:
            self.away_ns, self.dropped_before = time.perf_counter_ns(), self.recorder.buffer.dropped
        self.failures += 1
        self.last_error = str(error)
        self._spools = isinstance(error, StorageError) and not error.permanent
        level = logging.ERROR if self.failures == 1 else logging.DEBUG
        _logger.log(
            level,
            "Could not store %d operations, trying again in %.0f s: %s",
            self.pending,
            self._delay_s(),
            error,
            exc_info=None if isinstance(error, StorageError) else error,
        )

    async def _give_up(self) -> None:
        """Drop a batch that itself cannot be written, so that it does not block all others."""
        if self.failures < ATTEMPTS or (self.backlog.first is None and not self.backlog.spooled):
            return
        dropped = 0
        with suppress(StorageError):
            dropped = await self.backlog.drop_spooled()
        if not dropped and self.backlog.first is not None:
            dropped = self.backlog.first.operations
            self.backlog.remove_first()
        _logger.error("Dropped %d operations that could not be stored", dropped)
        self.recorder.buffer.drop(dropped)
        self.recorder.buffer.logged += dropped
        self.failures = 0

    def _delay_s(self) -> float:
        if not self.failures:
            return INTERVAL_S
        last_s = LAST_SERVER_RETRY_S if self._on_server else LAST_RETRY_S
        return float(min(FIRST_RETRY_S * 2 ** min(self.failures - 1, 10), last_s))

    async def _pause(self, delay_s: float) -> None:
        """Wait until the delay is over, the flusher stops, or the buffer fills up."""
        until = time.perf_counter() + delay_s
        measured = time.perf_counter()
        buffer = self.recorder.buffer
        while not self._stopping and (left := until - time.perf_counter()) > 0:
            self._losses.warn()
            full = len(buffer.rows) > min(buffer.limit // 2, EARLY * FIELDS)
            if not self.failures and full:
                return
            if self.failures and (full or time.perf_counter() - measured >= INTERVAL_S):
                await self._wait_out()
                measured = time.perf_counter()
            await asyncio.sleep(min(left, POLL_S))
