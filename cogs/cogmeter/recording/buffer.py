"""The bounded buffer between recording and flushing: a flat list of atoms, no I/O, no await.

An operation is five atoms in a row, ``(series, end_ns, duration, outcome, extra)``. A flat list needs no object per
operation and no work of the garbage collector. ``end_ns`` is of ``time.perf_counter_ns``. ``duration`` is in
nanoseconds. Where ``outcome`` is None (ok, from ``record()``), it is in milliseconds as the host passed it, not checked
yet. ``extra`` is None, or (error text or None, metadata mapping or None).

Any thread may record at any time. No operation is lost or torn, because:

- ``rows.extend`` of a tuple is atomic: under the GIL no other thread runs inside it, and a free-threaded build locks
  the list for it. So the atoms of one operation are always adjacent.
- Recording only appends. ``take`` copies the first ``count`` atoms and deletes the same ``count``. Atoms that another
  thread appends between the two statements are behind them and stay. A new list, or ``clear()``, would lose them,
  because recording keeps a reference to ``rows.extend``.
- ``limit`` is compared without the lock. Threads that compare at the same time can exceed it by one operation each.

``lock`` guards everything else that the host's threads change together: series, counters, markers, spans, the bound.
One lock is enough, because only slow paths take it. It is reentrant, because a signal handler or a finalizer of the
host may record something while its own thread holds the lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = 5
DROPPED: Final = "monitor.dropped"  # name of the stored samples: operations dropped since the previous sample
DEFAULT_CAPACITY = 10_000  # operations, until a monitor starts and sets its own bound
PLAIN_BYTES: Final = 105  # of one operation without error and metadata: five list slots and two numbers, measured
UNKNOWN_BYTES: Final = 400  # assumed for metadata whose size cannot be determined
MOST_VALUES: Final = 20  # metadata values whose size is measured; the others count as the mean of these
LEAST_STRIDE: Final = 11  # one in 11 to 21 extras is weighed, and represents the others
MOST_SHARE: Final = 4  # the extras that are not weighed count as a quarter of the bound at most

lock: Final = threading.RLock()

if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    # A fork waits until no other thread holds the lock: in the child that thread would not exist to release it.
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


class Buffer:
    """A buffer of operations with a bound, in operations or in bytes; operations beyond it are dropped and counted.

    ``rows`` is the same list for the buffer's whole life, so that the hot path may keep its ``extend``. The hot path
    compares its length with ``limit``, in atoms. Under a bound in bytes, error texts and metadata lower ``limit`` by as
    many atoms as use the same memory, until they are stored.
    """

    __slots__ = (
        "_bound",
        "_outstanding",
        "_stride",
        "_turn",
        "_weight",
        "by_memory",
        "dropped",
        "limit",
        "logged",
        "rows",
        "stored",
    )

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        """Create a buffer for this many operations."""
        self.rows: list[Any] = []
        self.dropped = 0
        self.logged = 0  # how many of the dropped operations are in the log
        self.stored = 0  # how many of them are in the store
        self.by_memory = False  # whether the bound is in bytes
        self.limit = self._bound = capacity * FIELDS
        self._weight = 0  # of the extras in ``rows``, in atoms
        self._outstanding: deque[int] = deque()  # the weight of each ``take`` that is not stored yet
        self._turn = 0  # extras until the next one that is weighed
        self._stride = 1  # the number of extras that it represents

    def __len__(self) -> int:
        return len(self.rows) // FIELDS

    @property
    def capacity(self) -> int:
        """The number of operations without error and metadata that fit, including those that are being written."""
        return self._bound // FIELDS

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        with lock:
            self.by_memory = False
            self._rebound(capacity * FIELDS)

    @property
    def max_bytes(self) -> int:
        """The approximate memory of a full buffer whose operations have no error and no metadata."""
        return self._bound * PLAIN_BYTES // FIELDS

    def begin(self, capacity: int | None, max_bytes: float) -> None:
        """Set the bound for a run: so many operations, or without a number, the memory that they take."""
        if not self.capacity:  # monitoring was disabled: those drops were intended
            self.dropped = self.logged = self.stored = 0
        if capacity is None:
            self.bound_by_memory(max_bytes)
        else:
            self.capacity = capacity

    def bound_by_memory(self, max_bytes: float) -> None:
        """Bound the buffer by the memory of its operations, including error texts and metadata, not by their number."""
        with lock:
            self.by_memory = True
            self._rebound(max(int(max_bytes * FIELDS / PLAIN_BYTES), FIELDS))

    @property
    def fits(self) -> int:
        """The number of operations that fit now: fewer while others are being written, or are large."""
        return max(self.limit, 0) // FIELDS

    @property
    def used(self) -> float:
        """The used share of the bound, including operations that are being written; 1 for a buffer of size 0."""
        return min(1 - (self.limit - len(self.rows)) / self._bound, 1.0) if self._bound else 1.0

    def level(self) -> str:
        """Return the fill level as text: ``120 of 10,000 operations wait``, ``120 operations wait (1% of 32 MB)``."""
        wait = "waits" if len(self) == 1 else "wait"
        if not self.by_memory:
            return f"{len(self):,} of {self.capacity:,} operations {wait}"
        noun = "operation" if len(self) == 1 else "operations"
        return f"{len(self):,} {noun} {wait} ({self.used:.0%} of {self.max_bytes / 1e6:g} MB)"

    def add(self, series: int, end_ns: int, duration_ns: int, outcome: int, extra: Any) -> None:
        """Add one operation, or count it as dropped: the slow path, for operations with an error or metadata."""
        rows = self.rows
        if len(rows) >= self.limit:
            self.drop()
            return
        rows.extend((series, end_ns, duration_ns, outcome, extra))
        if extra is not None and self.by_memory:
            self._turn -= 1  # not exact between threads, and need not be
            if self._turn < 0:
                self._weigh(extra, end_ns)

    def _weigh(self, extra: tuple[str | None, Mapping[str, Any] | None], end_ns: int) -> None:
        """Lower the limit by the size of this extra, and by the same size for each extra since the last weighed one.

        Weighing every extra would make recording a third slower. The stride changes with the clock, so that operations
        that always come in the same order are all weighed sometimes.
        """
        atoms = extra_bytes(extra) * FIELDS // PLAIN_BYTES
        with lock:
            most = self._bound // MOST_SHARE
            weight = atoms + min(atoms * (self._stride - 1), most)
            self._weight += weight
            self.limit -= weight
            heavy = atoms * LEAST_STRIDE > most  # a few of this size fill the buffer: weigh the next one, too
            self._stride = 1 if heavy else LEAST_STRIDE + end_ns // 100 % LEAST_STRIDE
            self._turn = self._stride - 1

    def drop(self, operations: int = 1) -> None:
        """Count lost operations."""
        with lock:
            self.dropped += operations

    def take(self, most: int | None = None, *, join: bool = False) -> list[Any]:
        """Remove and return the oldest atoms; they count against the bound until ``release``.

        With ``join`` they are released together with the atoms that were taken last.
        """
        with lock:
            rows = self.rows
            length = len(rows)
            count = length if most is None else min(length, most * FIELDS)
            atoms = rows[:count]
            del rows[:count]
            # The weight of each extra is not known any more; a share of the atoms has the same share of the weight.
            weight = self._weight if count == length else self._weight * count // length
            self._weight -= weight
            if join and self._outstanding:
                self._outstanding[-1] += weight
            else:
                self._outstanding.append(weight)
            self.limit -= count
            return atoms

    def release(self, atoms: list[Any]) -> None:
        """Release the capacity of atoms that are stored."""
        with lock:
            self.limit += len(atoms) + self._released_weight()

    def put_back(self, atoms: list[Any]) -> None:
        """Put atoms that could not be stored back in front of newer ones."""
        with lock:
            self.rows[:0] = atoms
            self.limit += len(atoms)
            self._weight += self._released_weight()

    def disable(self) -> None:
        """Drop every operation from now on, at no cost for the recording code."""
        with lock:
            self.capacity = 0
            self._empty()

    def forked(self) -> None:
        """Start empty in the child of a fork: the parent stores the waiting operations."""
        with lock:
            self._empty()
            self._outstanding.clear()
            self.dropped = self.logged = self.stored = 0
            self.by_memory = False
            self.limit = self._bound = min(DEFAULT_CAPACITY, self.capacity) * FIELDS

    def _empty(self) -> None:
        self.rows.clear()
        self.limit += self._weight
        self._weight = 0

    def _released_weight(self) -> int:
        return self._outstanding.popleft() if self._outstanding else 0

    def _rebound(self, bound: int) -> None:
        self.limit += bound - self._bound
        self._bound = bound


def extra_bytes(extra: tuple[str | None, Mapping[str, Any] | None]) -> int:
    """Return the approximate memory of an operation's error text and metadata in bytes.

    A metadata value counts with its own size, without the contents of a container.
    """
    text, metadata = extra
    size = getsizeof(extra) if text is None else getsizeof(extra) + getsizeof(text)
    if not metadata:
        return size
    try:
        count = len(metadata)
        values = metadata.values() if count <= MOST_VALUES else islice(metadata.values(), MOST_VALUES)
        measured = sum(map(getsizeof, values))
        return size + getsizeof(metadata) + (measured if count <= MOST_VALUES else measured * count // MOST_VALUES)
    except Exception:  # noqa: BLE001 - __sizeof__ may be the host's code, and may fail
        return size + UNKNOWN_BYTES
