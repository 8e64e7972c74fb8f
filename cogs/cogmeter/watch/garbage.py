"""The garbage collections of the process, which pause every thread."""

from __future__ import annotations

import gc
from collections import deque
from typing import Final

from cogmeter.recording.operation import now_ns

LONG_NS: Final = 10_000_000  # of a pause that is remembered
REMEMBERED: Final = 100


class Pauses:
    """A ``gc`` callback that measures garbage collections, for several users."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0  # since the last ``take_longest_ns``
        self._long: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)  # begin and end
        self._began_ns: int | None = None
        self._users: set[str] = set()

    def begin(self, user: str) -> None:
        """Measure from now on, until the last user calls ``end``."""
        if not self._users:
            gc.callbacks.append(self)
        self._users.add(user)

    def end(self, user: str) -> None:
        """Measure no more for this user, who may have ended before."""
        self._users.discard(user)
        if not self._users and self in gc.callbacks:
            gc.callbacks.remove(self)

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        """Measure a collection; ``phase`` is "start" or "stop"."""
        if phase == "start":
            self._began_ns = now_ns()
        elif self._began_ns is not None:
            end_ns = now_ns()
            pause_ns = end_ns - self._began_ns
            if pause_ns >= LONG_NS:
                self._long.append((self._began_ns, end_ns))
            self._began_ns = None
            self.count += 1
            self.total_ns += pause_ns
            self.longest_ns = max(self.longest_ns, pause_ns)

    def take_longest_ns(self) -> int:
        """Return the longest pause since the last call."""
        longest_ns, self.longest_ns = self.longest_ns, 0
        return longest_ns

    def within(self, since_ns: int, until_ns: int) -> int:
        """Return how long the remembered pauses lasted in this time, in nanoseconds."""
        return sum(max(min(end_ns, until_ns) - max(began_ns, since_ns), 0) for began_ns, end_ns in self._long)
