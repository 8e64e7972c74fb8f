"""When a background loop or a scheduled job is overdue. Rather too late than wrong: somebody may be woken by it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import now_ns

if TYPE_CHECKING:
    import asyncio

GRACE_S: Final = 60.0  # a block of the event loop alone makes less
INTERVALS: Final = 2
ENOUGH: Final = 3  # iterations that tell how long one takes
LONGER: Final = 10  # times the longest one so far


def overdue(late_s: float, interval_s: float) -> bool:
    """Whether something with this interval is to be called overdue when it is late by this much."""
    return late_s > max(INTERVALS * interval_s, GRACE_S)


class Progress:
    """How a loop has come along since it was started, or since we know it."""

    __slots__ = ("_task", "begun_ns", "ended", "ended_ns", "longest_ns")

    def __init__(self) -> None:
        self._task: weakref.ref[asyncio.Task[Any]] | None = None
        self._forget()

    def follow(self, task: asyncio.Task[Any]) -> None:
        """It was started as this task; the same task again changes nothing."""
        if self._task is None or self._task() is not task:
            self._forget()
            self._task = weakref.ref(task)

    def _forget(self) -> None:
        self.begun_ns: int | None = None  # of the iteration under way; None: it sleeps, or was found in one
        self.ended = 0  # iterations
        self.ended_ns = 0  # when the last one did
        self.longest_ns = 0

    def begin(self) -> None:
        """An iteration begins."""
        self.begun_ns = now_ns()

    def end(self) -> None:
        """The iteration under way has ended, in whatever way."""
        self.ended_ns = now_ns()
        if self.begun_ns is not None:
            self.longest_ns = max(self.longest_ns, self.ended_ns - self.begun_ns)
            self.ended += 1
        self.begun_ns = None

    def stuck_s(self, interval_s: float) -> float:
        """For how long nothing has come of it; 0 if that may be its way.

        Asleep: since the last iteration. In an iteration: since its begin, if it takes ten times as long as any
        before, and all of them ended before the next was due. One that waits for something to happen takes any time.
        """
        if self.begun_ns is None:
            return (now_ns() - self.ended_ns) / 1e9 if self.ended else 0.0
        elapsed_ns = now_ns() - self.begun_ns
        punctual = self.ended >= ENOUGH and self.longest_ns <= interval_s * 1e9
        return elapsed_ns / 1e9 if punctual and elapsed_ns > LONGER * self.longest_ns else 0.0
