"""The wall clock as cogmeter uses it, and how far it may be wrong before stored times are corrected.

A clock that shows a time before this version was released is known to be wrong: the battery is empty, or the machine
has none. Time then goes on from the last time that was known, by a clock that nobody can set.
"""

from __future__ import annotations

import time
from typing import Final

from cogmeter_storage.model import MINUTE_US

AHEAD_US: Final = 5 * MINUTE_US  # what lies further ahead of the clock was recorded while the clock was wrong
RELEASED_US: Final = 1_767_225_600_000_000  # 2026-01-01 UTC: no clock that is right shows an earlier time


class Clock:
    """Tells the time. Reading it costs one comparison more than ``time.time_ns()``."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None  # a wall time in ns, and ``time.perf_counter_ns()`` at it

    def now_ns(self) -> int:
        """Return the nanoseconds since 1970 UTC: the wall time, or the last known time and what has passed since."""
        wall_ns = time.time_ns()
        if wall_ns >= RELEASED_US * 1000 or self._known is None:
            return wall_ns
        known_ns, at_ns = self._known
        return max(wall_ns, known_ns + time.perf_counter_ns() - at_ns)

    def now_us(self) -> int:
        """Return the microseconds since 1970 UTC."""
        return self.now_ns() // 1000

    @property
    def credible(self) -> bool:
        """Whether the wall clock shows a time that is possible."""
        return time.time_ns() >= RELEASED_US * 1000

    def know(self, now_ns: int) -> None:
        """Remember a time as the present one, to go on from when the wall clock shows an impossible one."""
        self._known = now_ns, time.perf_counter_ns()

    def forget(self) -> None:
        """Forget the known time: the wall time alone counts."""
        self._known = None


clock: Final = Clock()  # of this process
