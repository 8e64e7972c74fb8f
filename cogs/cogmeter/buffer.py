"""The bounded buffer between recording and flushing: a flat list of atoms, no I/O, no await.

An operation is five atoms in a row, ``(series, end_ns, duration, outcome, extra)``: a flat list costs neither an
object per operation nor the garbage collector's attention. ``end_ns`` is of ``time.perf_counter_ns``. ``duration`` is
in nanoseconds; where ``outcome`` is None (ok, from ``record()``), it is in milliseconds as the host gave it, still to
be checked. ``extra`` is None, or (error text or None, metadata mapping or None).
"""

from __future__ import annotations

from typing import Any

FIELDS = 5
DEFAULT_CAPACITY = 10_000


class Buffer:
    """Holds at most ``capacity`` operations; beyond that they are dropped and counted.

    ``rows`` is one list for the buffer's whole life, so that the hot path may keep its ``extend``. Adding and taking
    are single operations on that list, and so are safe between threads.
    """

    __slots__ = ("_capacity", "dropped", "limit", "rows")

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.rows: list[Any] = []
        self.dropped = 0
        self._capacity = capacity
        self.limit = capacity * FIELDS  # in atoms: what the hot path compares the list's length with

    def __len__(self) -> int:
        return len(self.rows) // FIELDS

    @property
    def capacity(self) -> int:
        """How many operations may wait, those being written included."""
        return self._capacity

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity = capacity
        self.limit = capacity * FIELDS

    def take(self) -> list[Any]:
        """Take out all atoms that are in it now; they count against the capacity until ``release``."""
        count = len(self.rows)
        taken = self.rows[:count]
        del self.rows[:count]
        self.limit -= count
        return taken

    def release(self, taken: list[Any]) -> None:
        """Give back the room of atoms that are safely stored."""
        self.limit += len(taken)

    def put_back(self, taken: list[Any]) -> None:
        """Give back atoms that could not be stored, ahead of what came since."""
        self.rows[:0] = taken
        self.limit += len(taken)

    def shut(self) -> None:
        """Hold nothing from now on: recording stays free of cost, and nothing is kept."""
        self.capacity = 0
        self.rows.clear()
