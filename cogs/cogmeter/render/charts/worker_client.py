"""Draws charts in a worker process: drawing never blocks the bot's event loop, and the bot never imports matplotlib."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cogmeter.render.charts.worker_process import ChartError, WorkerProcess, unavailable_reason

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cogmeter.render.charts.chart import ChartRequest

T = TypeVar("T")
_logger = logging.getLogger("cogmeter.render.charts")

__all__ = ["ChartError", "ChartWorker"]

CACHE_SIZE = 8  # pictures


@dataclass(frozen=True, slots=True)
class _CachedPicture:
    png: bytes
    at_s: float  # by time.perf_counter


class ChartWorker:
    """Draws charts in a worker process that starts with the first request and ends after an idle time.

    One request is drawn at a time. A request that equals one of the last seconds, apart from its incomplete last bin,
    gets the cached picture. Times are in seconds.
    """

    def __init__(self, *, timeout_s: float = 20.0, idle_s: float = 60.0, cache_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._cache_s = cache_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._process: WorkerProcess | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._jobs: dict[tuple[object, ...], asyncio.Task[bytes]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._pictures: dict[tuple[object, ...], _CachedPicture] = {}
        self.missing_glyphs = ""  # the characters of names that the last process found no font for
        self._drawn = 0
        self._error = ""
        self._closed = False

    @property
    def state(self) -> str:
        """One line for `/perf doctor`."""
        process = f"running (process {self._process.pid})" if self._process and self._process.alive else "not running"
        if self._closed:
            process = "closed"
        problem = f"; last error: {self._error}" if self._error else ""
        return f"{process}, {self._drawn} charts drawn{problem}"

    @property
    def unavailable_reason(self) -> str:
        """Why this bot cannot have charts at all; empty if it can."""
        return unavailable_reason()

    async def draw(self, chart: ChartRequest) -> bytes:
        """Return the chart as PNG.

        When the caller is cancelled, drawing continues and the picture is cached for the next request.

        Raises:
            ChartError: the chart cannot be drawn now; the text names the reason. Nothing else is raised.
        """
        if self._closed:
            raise ChartError("The chart worker is closed.")
        self._enter_loop()
        try:
            key = chart.fingerprint()
            if png := self._cached(key):
                return png
            request = chart.to_json()
        except (TypeError, ValueError, RecursionError) as error:
            raise self._note_error(f"The chart cannot be written as JSON: {error}") from error
        return await self._result(self._jobs.get(key) or self._start_job(key, request))

    def _start_job(self, key: tuple[object, ...], request: bytes) -> asyncio.Task[bytes]:
        job = self._jobs[key] = _detached(self._job(key, request))
        job.add_done_callback(_retrieve_error, context=contextvars.Context())
        return job

    async def _result(self, job: asyncio.Task[bytes]) -> bytes:
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if job.cancelled():  # closed before it started
                raise ChartError("The chart worker was closed.") from None
            raise

    async def close(self) -> None:
        """Kill the process and release everything. Calling it again does nothing."""
        self._closed = True
        if self._loop is not asyncio.get_running_loop():
            self._abandon()
            return
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self._retire(now=True)
        await asyncio.gather(*jobs, *self._ending, return_exceptions=True)
        self._stop_idle_timer()  # a cancelled job sets the timer when it ends
        self._jobs.clear()
        self._pictures.clear()

    def _enter_loop(self) -> None:
        """Abandon the process of an earlier event loop, whose pipes can no longer be used."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._abandon()
            self._loop, self._lock = loop, asyncio.Lock()

    def _abandon(self) -> None:
        if self._process:
            self._process.kill()
        self._process = self._idle = None
        self._jobs.clear()
        self._ending.clear()

    async def _job(self, key: tuple[object, ...], request: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s), self._lock:
                png = await self._draw_with_process(request)
        except TimeoutError:
            raise self._note_error(f"The chart was not drawn within {self._timeout_s:g} s.") from None
        except (ChartError, ConnectionError) as error:
            raise self._note_error(str(error)) from error
        except asyncio.CancelledError:
            raise ChartError("The chart worker was closed.") from None
        except Exception as error:
            raise self._note_error(f"The chart could not be drawn: {type(error).__name__}: {error}") from error
        finally:
            self._jobs.pop(key, None)
        self._cache(key, png)
        return png

    def _note_error(self, reason: str) -> ChartError:
        self._error = reason
        _logger.debug("no chart: %s", reason)  # the caller logs the warning: it knows what the chart is for
        return ChartError(reason)

    async def _draw_with_process(self, request: bytes) -> bytes:
        self._stop_idle_timer()
        reused = self._process is not None
        try:
            png = await self._exchange(request)
        except ConnectionError:
            if not reused:
                raise
            # The process may have ended long before this request.
            png = await self._exchange(request)
        finally:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._retire)
        self._drawn += 1
        self._error = ""
        return png

    async def _exchange(self, request: bytes) -> bytes:
        """Send one request to a running process; a process whose answer was incomplete is killed."""
        process = self._process
        if process is None or not process.alive:
            await self._drop()
            process = self._process = await WorkerProcess.start()
            _logger.debug("chart process %d started", process.pid)
        try:
            return await process.request(request)
        except ChartError:
            raise
        except BaseException:
            process.kill()
            raise
        finally:
            self.missing_glyphs = process.missing_glyphs

    async def _drop(self) -> None:
        if self._process:
            await self._process.end(now=True)
            self._process = None

    def _stop_idle_timer(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None

    def _retire(self, *, now: bool = False) -> None:
        """End the process in the background; the next request starts another."""
        self._stop_idle_timer()
        process, self._process = self._process, None
        if process:
            ending = _detached(process.end(now=now))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _cached(self, key: tuple[object, ...]) -> bytes | None:
        picture = self._pictures.get(key)
        fresh = picture and time.perf_counter() - picture.at_s < self._cache_s
        return picture.png if picture and fresh else None

    def _cache(self, key: tuple[object, ...], png: bytes) -> None:
        while len(self._pictures) >= CACHE_SIZE:
            self._pictures.pop(next(iter(self._pictures)))
        self._pictures[key] = _CachedPicture(png, time.perf_counter())


def _detached(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task in an empty context: it must not keep the context of the command that needs the chart."""
    # create_task itself runs in that context too: simcord counts a task by the context of the call.
    return contextvars.Context().run(asyncio.get_running_loop().create_task, coroutine)


def _retrieve_error(job: asyncio.Task[bytes]) -> None:
    """Retrieve a job's error, so that asyncio logs no warning when its callers were cancelled."""
    if not job.cancelled():
        job.exception()
