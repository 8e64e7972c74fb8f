"""Decides when a background loop or scheduled job is overdue. A late alert is better than a false one."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import now_ns

if TYPE_CHECKING:
    import asyncio

GRACE_S: Final = 60.0  # longer than a blocked event loop delays an iteration
INTERVALS: Final = 2
ENOUGH: Final = 3  # iterations from which the usual duration is known
LONGER: Final = 10  # times the longest iteration so far


def overdue(late_s: float, interval_s: float) -> bool:
    """Return whether a loop or job with this interval is overdue when it is late by ``late_s``."""
    return late_s > max(INTERVALS * interval_s, GRACE_S)


class Progress:
    """The iterations of a loop since it was started or found."""

    __slots__ = ("_task", "begun_ns", "ended", "ended_ns", "longest_ns")

    def __init__(self) -> None:
        self._task: weakref.ref[asyncio.Task[Any]] | None = None
        self._forget()

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Start again for a new task of the loop."""
        if self._task is None or self._task() is not task:
            self._forget()
            self._task = weakref.ref(task)

    def _forget(self) -> None:
        self.begun_ns: int | None = None  # of the present iteration; None: it sleeps, or was found inside one
        self.ended = 0  # iterations
        self.ended_ns = 0  # when the last one did
        self.longest_ns = 0

    def begin(self) -> None:
        """Note the begin of an iteration."""
        self.begun_ns = now_ns()

    def end(self) -> None:
        """Note the end of the present iteration."""
        self.ended_ns = now_ns()
        if self.begun_ns is not None:
            self.longest_ns = max(self.longest_ns, self.ended_ns - self.begun_ns)
            self.ended += 1
        self.begun_ns = None

    def stuck_s(self, interval_s: float) -> float:
        """Return how many seconds the loop has made no progress; 0 if this may be normal for it.

        A sleeping loop makes no progress since its last iteration. An iteration is stuck since its begin, if it takes
        ten times as long as any before and all of those ended before the next was due. Without such a history, an
        iteration may simply wait for an event.
        """
        if self.begun_ns is None:
            return (now_ns() - self.ended_ns) / 1e9 if self.ended else 0.0
        elapsed_ns = now_ns() - self.begun_ns
        on_time = self.ended >= ENOUGH and self.longest_ns <= interval_s * 1e9
        return elapsed_ns / 1e9 if on_time and elapsed_ns > LONGER * self.longest_ns else 0.0
