"""Pushes to one target on its own task: what waits is in the store, so an outage costs no memory.

The position of each target is stored after each batch. A batch that was not accepted is sent again unchanged, also
after a restart: same times, same values, so an endpoint that knows a point already does not count it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.diagnosis import Finding
from cogmeter.push.base import Cursor, PushBatch, PushError
from cogmeter.push.reader import BatchReader
from cogmeter.recording.background import detached
from cogmeter.render import formatting
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import MINUTE_US, RecordPosition

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from cogmeter.push.base import PushTarget, Request
    from cogmeter_storage.base import Store

KEY: Final = "push:"  # before the target's name, of the stored cursor
FIRST_PAUSE_S: Final = 2.0  # after a failure; doubled with each further one
LONGEST_PAUSE_S: Final = 300.0
LONGEST_RETRY_AFTER_S: Final = 3600.0
STOP_S: Final = 3.0  # for the last push: Docker kills a container after ten seconds

_logger = logging.getLogger("cogmeter.push")


class PushFleet(NamedTuple):
    """The processes that share a store; each pusher reads its own part of it."""

    store: Callable[[], Store]
    leads: Callable[[], bool]  # this process


class Pusher:
    """Pushes everything that is new to one target, at an interval."""

    def __init__(
        self,
        target: PushTarget,
        store: Callable[[], Store],
        *,
        interval_s: float,
        gauges: Callable[[], tuple[int, Mapping[str, float]]] = lambda: (0, {}),
        faults: Counter[str] | None = None,
        fleet: PushFleet | None = None,
    ) -> None:
        """``gauges`` returns the newest sample and its time in microseconds; ``faults`` counts our own exceptions.

        Of the processes of a ``fleet``, each sends its own operations, and the one that leads the records of all.
        """
        self.target = target
        self.operations = 0  # accepted by the endpoint
        self.requests = 0  # accepted
        self.dropped = 0  # operations that are not sent any more
        self.rejected = 0  # points, spans or log records that the endpoint did not keep, although it accepted a request
        self.failures = 0  # attempts that failed since the last success
        self.problem = ""  # of the last attempt; empty after a success
        self.rejection = ""  # the endpoint's words about what it rejected last
        self.stopped = ""  # why nothing is sent any more
        self.success_us: int | None = None  # when everything that waited had been accepted
        self._store = store
        self._interval_s = interval_s
        self._gauges = gauges
        self._gauges_us = 0  # of the last gauges that were sent
        self._faults = faults
        self._fleet = fleet
        self._reader = BatchReader(store)
        self._cursor: Cursor | None = None
        self._waiting: tuple[PushBatch, list[Request]] | None = None  # a batch whose requests were not all accepted
        self._halted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to push."""
        self._task = detached(self._run(), name=f"cogmeter push {self.target.name}")

    async def stop(self) -> None:
        """Push what is left, within STOP_S seconds, and end."""
        self._halted.set()
        if self._task is None:
            return
        _, pending = await asyncio.wait({self._task}, timeout=STOP_S)
        for task in pending:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._task = None

    async def push(self) -> None:
        """Send everything that waits, then the gauges.

        Raises:
            PushError: a request was not accepted; it is sent again by the next call.
            StorageError: the store cannot be read.
        """
        cursor = await self._begin()
        while (batch := self._waiting[0] if self._waiting else await self._next(cursor)) is not None:
            if await self._deliver(batch):
                cursor = batch.after
                await self._keep(cursor)
        at_us, gauges = self._gauges()
        if gauges and at_us > self._gauges_us:
            await self._deliver(PushBatch(cursor, gauges=gauges, gauges_us=at_us))
            self._gauges_us = at_us
        self.success_us = clock.now_us()

    async def _next(self, cursor: Cursor) -> PushBatch | None:
        return await self._reader.next(cursor, records=self._fleet is None or self._fleet.leads())

    def findings(self) -> list[Finding]:
        """Return the doctor's finding about this target."""
        target = self.target
        if self.stopped:
            advice = "Correct the key and reload cogmeter; what waits is in the database"
            return [Finding(f"push {target.name}", well=False, text=f"stopped: {self.stopped}", advice=advice)]
        sent = f"{formatting.counted(self.operations, 'operation')} sent"
        lost = f", {formatting.exact(self.dropped)} dropped" if self.dropped else ""
        lost += f", {formatting.exact(self.rejected)} points rejected: {self.rejection}" if self.rejected else ""
        state = (
            f"{formatting.counted(self.failures, 'attempt')} failed, the last: {self.problem}; "
            if self.failures
            else ""
        )
        advice = "What waits is in the database and is sent when the endpoint accepts it; check its address and key"
        well = not (self.failures or self.dropped or self.rejected)
        return [Finding(f"push {target.name}", well=well, text=f"{state}{sent}{lost}", advice=advice)]

    async def _run(self) -> None:
        """Push at the interval until it is stopped, and once more then."""
        while not self.stopped:
            last = self._halted.is_set()
            pause_s = await self._attempt()
            if last:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._halted.wait(), pause_s)

    async def _attempt(self) -> float:
        """Push once; return the pause in seconds until the next time."""
        try:
            await self.push()
        except PushError as error:
            return self._failed(str(error), refused=error.refused, retry_after_s=error.retry_after_s)
        except StorageError as error:
            return self._failed(str(error))
        except Exception as error:
            if self._faults is not None:
                self._faults[f"push {self.target.name}"] += 1
            _logger.exception("Pushing to %s failed", self.target.label)
            return self._failed(f"{type(error).__name__}: {error}")
        if self.failures:
            _logger.info("%s accepts what is pushed again", self.target.label)
        self.failures, self.problem = 0, ""
        return self._interval_s

    def _failed(self, problem: str, *, refused: bool = False, retry_after_s: float | None = None) -> float:
        if problem != self.problem:
            _logger.warning("Not pushed to %s: %s", self.target.label, problem)
        self.failures, self.problem = self.failures + 1, problem
        if refused:
            self.stopped = problem
        pause_s = min(FIRST_PAUSE_S * float(2 ** min(self.failures - 1, 20)), LONGEST_PAUSE_S)
        pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return max(pause_s, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))

    async def _begin(self) -> Cursor:
        """Return the cursor to continue from. At the very first time, begin with the present."""
        now_us = clock.now_us()
        cursor = self._cursor
        if cursor is None:
            cursor = await self._restore()
        if cursor is None:
            cursor = Cursor(now_us // MINUTE_US * MINUTE_US, 0, await self._store().newest_position())
            await self._keep(cursor)  # what follows waits, even if the first attempts fail
        if cursor.minute_us > now_us + MINUTE_US:  # the clock was ahead
            cursor = replace(cursor, minute_us=now_us // MINUTE_US * MINUTE_US, series=0)
            self._waiting = None
        oldest_us = (now_us - self.target.oldest_us) // MINUTE_US * MINUTE_US
        if cursor.minute_us < oldest_us:
            if dropped := await self._reader.skipped(cursor, oldest_us):  # none after a quiet hour
                self._drop(dropped, "older than it accepts")
            cursor, self._waiting = replace(cursor, minute_us=oldest_us, series=0), None
        self._cursor = cursor
        return cursor

    async def _restore(self) -> Cursor | None:
        """Return the stored cursor; the new leader of a fleet continues with the records where the last one ended."""
        key, fleet = KEY + self.target.name, self._fleet
        cursor = _restored(await self._store().get_value(key))
        if fleet is not None and fleet.leads() and (last := _restored(await fleet.store().get_value(key))) is not None:
            own = cursor or replace(last, minute_us=clock.now_us() // MINUTE_US * MINUTE_US, series=0)
            cursor = replace(own, records=last.records)
        return cursor

    async def _keep(self, cursor: Cursor) -> None:
        self._cursor = cursor
        key, fleet = KEY + self.target.name, self._fleet
        await self._store().set_value(key, _stored(cursor))
        if fleet is not None and fleet.leads() and fleet.store() is not self._store():
            await fleet.store().set_value(key, _stored(cursor))

    async def _deliver(self, batch: PushBatch) -> bool:
        """Send the requests of a batch; return False if smaller ones have to be read instead."""
        requests = self._waiting[1] if self._waiting else await asyncio.to_thread(self.target.encode, batch)
        while requests:
            try:
                rejection = await self.target.send(requests[0])
            except PushError as error:
                self._waiting = None
                if error.too_large and self._reader.shrink(batch):
                    return False
                if not error.permanent and not error.too_large:
                    if not batch.gauges:  # a later sample replaces them
                        self._waiting = batch, requests
                    raise
                self._drop(batch.operations, str(error))
                break
            self.requests += 1
            requests = requests[1:]
            if rejection is not None:
                self.rejected, self.rejection = self.rejected + rejection.points, rejection.reason
        else:
            self.operations += batch.operations
        self._waiting = None
        self.target.accepted(batch)
        return True

    def _drop(self, operations: int, reason: str) -> None:
        self.dropped += operations
        _logger.warning("%s operations are not pushed to %s: %s", f"{operations:,}", self.target.label, reason)


def _stored(cursor: Cursor) -> bytes:
    records = cursor.records
    state = {"minute_us": cursor.minute_us, "series": cursor.series}
    return json.dumps(state | {"trace": records.trace, "change": records.change, "marker": records.marker}).encode()


def _restored(stored: bytes | None) -> Cursor | None:
    """Return the stored cursor; None without one, or if it is damaged."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        state = json.loads(stored or b"")
        records = RecordPosition(*(int(state[name]) for name in ("trace", "change", "marker")))
        return Cursor(int(state["minute_us"]), int(state["series"]), records)
    return None
