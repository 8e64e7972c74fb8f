"""Time every step of an event loop, and run cases on it; used by ``responsiveness.py`` and ``routes.py``."""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from timing import Spread, at_most, row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LIMIT_MS = 5.0
TICK_S = 0.001


@dataclass(slots=True)
class Worst:
    """The longest step and the latest tick since the last reset, in milliseconds."""

    cpu_ms: float = 0.0
    cpu_of: str = ""
    wall_ms: float = 0.0
    late_ms: float = 0.0


class Steps:
    """A timer of every callback of the loop. Garbage collection is left out and reported separately."""

    def __init__(self) -> None:
        self.worst = Worst()
        self.collecting_ms = self.collecting_wall_ms = 0.0  # in all of this thread's steps
        self.longest_collection_ms = 0.0
        self._began_s = self._began_wall_s = 0.0
        self.ignored: asyncio.Task[Any] | None = None  # whose steps are no part of what is measured
        self._original = asyncio.events.Handle._run

    def _collecting(self, phase: str, _: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if phase == "start":
            self._began_s, self._began_wall_s = time.thread_time(), time.perf_counter()
        else:
            took_ms = (time.thread_time() - self._began_s) * 1e3
            self.collecting_ms += took_ms
            self.collecting_wall_ms += (time.perf_counter() - self._began_wall_s) * 1e3
            self.longest_collection_ms = max(self.longest_collection_ms, took_ms)

    def __enter__(self) -> Self:
        original = self._original
        gc.callbacks.append(self._collecting)

        def timed(handle: asyncio.Handle) -> None:
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            collecting_ms, collecting_wall_ms = self.collecting_ms, self.collecting_wall_ms
            # The task's own name is gone once the handle has run.
            callback = handle._callback
            original(handle)
            if getattr(callback, "__self__", None) is self.ignored:
                return
            cpu_ms, wall_ms = (time.thread_time() - began_cpu_s) * 1e3, (time.perf_counter() - began_s) * 1e3
            cpu_ms -= self.collecting_ms - collecting_ms
            wall_ms -= self.collecting_wall_ms - collecting_wall_ms
            worst = self.worst
            if cpu_ms > worst.cpu_ms:
                worst.cpu_ms, worst.cpu_of = cpu_ms, label_of(callback)
            worst.wall_ms = max(worst.wall_ms, wall_ms)

        asyncio.events.Handle._run = timed
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.events.Handle._run = self._original
        gc.callbacks.remove(self._collecting)
        row("longest collection of garbage on the loop's thread", f"{self.longest_collection_ms:.1f} ms")

    async def tick(self) -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.worst.late_ms = max(self.worst.late_ms, (time.perf_counter() - began_s - TICK_S) * 1e3)

    def taken(self) -> Worst:
        """Return the worst values since the last call."""
        taken, self.worst = self.worst, Worst()
        return taken


def label_of(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        name = owner.get_name()
        return coroutine.__qualname__ if name.startswith("Task-") else name
    return getattr(callback, "__qualname__", type(callback).__name__)


@dataclass(slots=True)
class Case:
    """One request and its result."""

    name: str
    ask: Callable[[], Awaitable[str]]  # returns what came of it
    found: list[Worst] = field(default_factory=list)
    came: str = ""


async def measure(cases: Sequence[Case], steps: Steps, repeats: int) -> None:
    for case in cases:
        case.came = await case.ask()  # once to warm up
        for _ in range(repeats):
            await asyncio.sleep(0.02)
            steps.taken()
            await case.ask()
            case.found.append(steps.taken())
        show(case)


def show(case: Case) -> None:
    cpu = Spread.of(one.cpu_ms for one in case.found)
    wall, late = (
        statistics.median(values) for values in zip(*((o.wall_ms, o.late_ms) for o in case.found), strict=True)
    )
    middle = min(case.found, key=lambda one: abs(one.cpu_ms - cpu.median))
    row(
        case.name,
        f"{cpu:.1f} ms of processor, {wall:.1f} wall; {middle.cpu_of}",
        peer=case.came,
        ratio=f"late {late:.1f} ms",
        goal=at_most(cpu.median, LIMIT_MS, " ms"),
    )
