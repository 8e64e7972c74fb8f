"""The wall clock of cogmeter, and the tolerance before stored times are corrected.

A clock that shows a time before this version was released is wrong: its battery is empty, or there is none. Then time
continues from the last known time, measured with the monotonic clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from cogmeter_storage.model import MINUTE_US

AHEAD_US: Final = 5 * MINUTE_US  # later times were recorded while the clock was ahead
RELEASED_US: Final = 1_767_225_600_000_000  # 2026-01-01 UTC: a correct clock shows no earlier time


class Clock:
    """A source of the current time. A call costs one comparison more than ``time.time_ns()``."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None  # a wall time in ns, and ``time.perf_counter_ns()`` at it

    def now_ns(self) -> int:
        """Return the nanoseconds since 1970 UTC: the wall time, or the last known time plus the time elapsed since."""
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
        """True if the wall clock shows a possible time."""
        return time.time_ns() >= RELEASED_US * 1000

    def set_known_time(self, now_ns: int) -> None:
        """Set the present time, from which to continue while the wall clock shows an impossible one."""
        self._known = now_ns, time.perf_counter_ns()

    def clear_known_time(self) -> None:
        """Clear the known time, so that only the wall time is used."""
        self._known = None


clock: Final = Clock()  # of this process


def format_time(at_us: int) -> str:
    """Return a time (microseconds since 1970) for a log message or an audit entry."""
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return str(at_us)
