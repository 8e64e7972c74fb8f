"""Gets charts from a worker process, so that drawing never holds the bot's loop and matplotlib never enters the bot."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cogmeter.render.charts.interpreter import obstacle
from cogmeter.render.charts.worker_process import ChartError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cogmeter.render.charts.chart import Chart

T = TypeVar("T")
_log = logging.getLogger(__name__)

__all__ = ["ChartError", "ChartWorker"]

REMEMBERED = 8  # pictures


@dataclass(frozen=True, slots=True)
class _Picture:
    png: bytes
    at_s: float  # by time.perf_counter


class ChartWorker:
    """Draws charts in a child process that starts with the first request and ends after an idle time.

    One request is drawn at a time. A request that equals one of the last few seconds, apart from its bin that is
    still filling, gets the same picture. Times are in seconds.
    """

    def __init__(self, *, timeout_s: float = 20.0, idle_s: float = 300.0, cache_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._cache_s = cache_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._child: WorkerProcess | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._jobs: dict[tuple[object, ...], asyncio.Task[bytes]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._pictures: dict[tuple[object, ...], _Picture] = {}
        self.lacking = ""  # the characters of names that the last process found no font for
        self._drawn = 0
        self._error = ""
        self._closed = False

    @property
    def state(self) -> str:
        """One line for a doctor page."""
        process = f"running (process {self._child.pid})" if self._child and self._child.alive else "not running"
        if self._closed:
            process = "closed"
        trouble = f"; last error: {self._error}" if self._error else ""
        return f"{process}, {self._drawn} charts drawn{trouble}"

    @property
    def obstacle(self) -> str:
        """Why no chart can be drawn for this bot, whatever is asked; empty if one can."""
        return obstacle()

    async def draw(self, chart: Chart) -> bytes:
        """The chart as PNG.

        When the caller is cancelled, the drawing goes on and its picture is kept for the next one who asks.

        Raises:
            ChartError: there is no chart to be had now; its text says why. Nothing else is raised.
        """
        if self._closed:
            raise ChartError("The chart worker is closed.")
        self._enter_loop()
        try:
            key = chart.fingerprint()
            if png := self._remembered(key):
                return png
            request = chart.to_json()
        except (TypeError, ValueError, RecursionError) as error:
            raise self._failed(f"The chart cannot be written as JSON: {error}") from error
        return await self._awaited(self._jobs.get(key) or self._begin(key, request))

    def _begin(self, key: tuple[object, ...], request: bytes) -> asyncio.Task[bytes]:
        job = self._jobs[key] = _detached(self._job(key, request))
        job.add_done_callback(_look_at, context=contextvars.Context())
        return job

    async def _awaited(self, job: asyncio.Task[bytes]) -> bytes:
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if job.cancelled():  # closed before it began
                raise ChartError("The chart worker was closed.") from None
            raise

    async def close(self) -> None:
        """Ends the process at once, whatever it draws, and leaves nothing behind. Calling it again does nothing."""
        self._closed = True
        if self._loop is not asyncio.get_running_loop():
            self._abandon()
            return
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self._retire(now=True)
        await asyncio.gather(*jobs, *self._ending, return_exceptions=True)
        self._wake()  # a cancelled job sets its timer on the way out
        self._jobs.clear()
        self._pictures.clear()

    def _enter_loop(self) -> None:
        """Leaves the child of an earlier event loop, whose pipes can no longer be used."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._abandon()
            self._loop, self._lock = loop, asyncio.Lock()

    def _abandon(self) -> None:
        if self._child:
            self._child.kill()
        self._child = self._idle = None
        self._jobs.clear()
        self._ending.clear()

    async def _job(self, key: tuple[object, ...], request: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s), self._lock:
                png = await self._drawn_by_child(request)
        except TimeoutError:
            raise self._failed(f"The chart was not drawn within {self._timeout_s:g} s.") from None
        except (ChartError, ConnectionError) as error:
            raise self._failed(str(error)) from error
        except asyncio.CancelledError:
            raise ChartError("The chart worker was closed.") from None
        except Exception as error:
            raise self._failed(f"The chart could not be drawn: {type(error).__name__}: {error}") from error
        finally:
            self._jobs.pop(key, None)
        self._remember(key, png)
        return png

    def _failed(self, reason: str) -> ChartError:
        self._error = reason
        _log.debug("no chart: %s", reason)  # callers warn, who know what it was for
        return ChartError(reason)

    async def _drawn_by_child(self, request: bytes) -> bytes:
        self._wake()
        reused = self._child is not None
        try:
            png = await self._exchange(request)
        except ConnectionError:
            if not reused:
                raise
            # It may have ended long before this request.
            png = await self._exchange(request)
        finally:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._retire)
        self._drawn += 1
        self._error = ""
        return png

    async def _exchange(self, request: bytes) -> bytes:
        """One request to a child that lives; a child whose answer did not come whole is of no more use."""
        child = self._child
        if child is None or not child.alive:
            await self._drop()
            child = self._child = await WorkerProcess.start()
            _log.debug("chart process %d started", child.pid)
        try:
            return await child.ask(request)
        except ChartError:
            raise
        except BaseException:
            child.kill()
            raise
        finally:
            self.lacking = child.lacking

    async def _drop(self) -> None:
        if self._child:
            await self._child.end(now=True)
            self._child = None

    def _wake(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None

    def _retire(self, *, now: bool = False) -> None:
        """Ends the child in the background; the next request starts another."""
        self._wake()
        child, self._child = self._child, None
        if child:
            ending = _detached(child.end(now=now))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _remembered(self, key: tuple[object, ...]) -> bytes | None:
        picture = self._pictures.get(key)
        fresh = picture and time.perf_counter() - picture.at_s < self._cache_s
        return picture.png if picture and fresh else None

    def _remember(self, key: tuple[object, ...], png: bytes) -> None:
        while len(self._pictures) >= REMEMBERED:
            self._pictures.pop(next(iter(self._pictures)))
        self._pictures[key] = _Picture(png, time.perf_counter())


def _detached(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task in an empty context: what is drawn for one command must not carry that command's context on."""
    # Run in that context already when it is made: simcord counts a task by where create_task is called.
    return contextvars.Context().run(asyncio.get_running_loop().create_task, coroutine)


def _look_at(job: asyncio.Task[bytes]) -> None:
    """Takes note of a job's error, which nobody awaits any more when its callers were cancelled."""
    if not job.cancelled():
        job.exception()
