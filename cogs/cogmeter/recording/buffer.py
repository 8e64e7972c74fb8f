"""The bounded buffer between recording and flushing: a flat list of atoms, no I/O, no await.

An operation is five atoms in a row, ``(series, end_ns, duration, outcome, extra)``: a flat list costs neither an
object per operation nor the garbage collector's attention. ``end_ns`` is of ``time.perf_counter_ns``. ``duration`` is
in nanoseconds; where ``outcome`` is None (ok, from ``record()``), it is in milliseconds as the host gave it, still to
be checked. ``extra`` is None, or (error text or None, metadata mapping or None).

Any thread may record at any time. Why no operation is lost or torn:

- ``rows.extend`` of a tuple is one step: under the GIL no other thread runs inside of it, and a free-threaded build
  locks the list for it. So the atoms of one operation always lie together.
- Recording only ever appends. ``take`` copies the first ``count`` atoms and deletes those same ``count``: what another
  thread appends between the two statements lies behind them and stays. Swapping in a new list, or ``clear()``, would
  lose it, because recording keeps ``rows.extend`` of this list.
- ``limit`` is compared without the lock. Threads that compare at the same time can exceed it by one operation each.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.locking import lock

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = 5
DROPPED: Final = "monitor.dropped"  # the stored samples' name: operations dropped since the sample before
DEFAULT_CAPACITY = 10_000  # operations, until a monitor is started, which sets its own bound
PLAIN_BYTES: Final = 105  # of one operation without error and metadata: five list slots and two numbers, measured
UNKNOWN_BYTES: Final = 400  # assumed for metadata whose size cannot be found
MOST_VALUES: Final = 20  # metadata values whose size is looked up; the others count as the mean of these
LEAST_STRIDE: Final = 11  # one in 11 to 21 extras is weighed, for all of them
MOST_SHARE: Final = 4  # one that stands for others takes no more than a quarter of the bound for them


class Buffer:
    """Hold operations up to a bound, in operations or in bytes; drop and count those beyond it.

    ``rows`` is one list for the buffer's whole life, so that the hot path may keep its ``extend``. The hot path
    compares its length with ``limit``, in atoms. Under a bound in bytes, error texts and metadata lower ``limit`` by as
    many atoms as would take the same memory, until they are stored.
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
        """Make it for this many operations."""
        self.rows: list[Any] = []
        self.dropped = 0
        self.logged = 0  # how many of the dropped operations the log has named
        self.stored = 0  # how many of them the store knows of
        self.by_memory = False  # whether the bound is one in bytes
        self.limit = self._bound = capacity * FIELDS
        self._weight = 0  # of the extras in ``rows``, in atoms
        self._outstanding: deque[int] = deque()  # the weight of each ``take`` that is not stored yet
        self._turn = 0  # extras until the next one that is weighed
        self._stride = 1  # for how many that one stands

    def __len__(self) -> int:
        return len(self.rows) // FIELDS

    @property
    def capacity(self) -> int:
        """How many operations without error and metadata may wait, those being written included."""
        return self._bound // FIELDS

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        with lock:
            self.by_memory = False
            self._rebound(capacity * FIELDS)

    @property
    def max_bytes(self) -> int:
        """About how much memory a full buffer takes if no operation in it has an error or metadata."""
        return self._bound * PLAIN_BYTES // FIELDS

    def bound_by_memory(self, max_bytes: float) -> None:
        """Bound it by what the operations in it take, error texts and metadata included, in place of their number."""
        with lock:
            self.by_memory = True
            self._rebound(max(int(max_bytes * FIELDS / PLAIN_BYTES), FIELDS))

    @property
    def fits(self) -> int:
        """How many operations may wait at this moment: fewer while others are written, or wait with much in them."""
        return max(self.limit, 0) // FIELDS

    @property
    def used(self) -> float:
        """The share of the bound that is in use, by what is being written too; 1 for a buffer that keeps nothing."""
        return min(1 - (self.limit - len(self.rows)) / self._bound, 1.0) if self._bound else 1.0

    def level(self) -> str:
        """How full it is, in words: ``120 of 10,000 operations wait``, ``120 operations wait (1% of 32 MB)``."""
        if not self.by_memory:
            return f"{len(self):,} of {self.capacity:,} operations wait"
        return f"{len(self):,} operations wait ({self.used:.0%} of {self.max_bytes / 1e6:g} MB)"

    def add(self, series: int, end_ns: int, duration_ns: int, outcome: int, extra: Any) -> None:
        """Add one operation, or count it as dropped: the slow path, for what may have an error or metadata."""
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
        """Lower the limit by the size of this extra, and of those since the last one as if each were like it.

        Weighing each of them would make recording a third slower. How many are left out changes with the clock, so
        that operations which always come in the same order are all weighed sometimes.
        """
        atoms = extra_bytes(extra) * FIELDS // PLAIN_BYTES
        with lock:
            most = self._bound // MOST_SHARE
            weight = atoms + min(atoms * (self._stride - 1), most)
            self._weight += weight
            self.limit -= weight
            heavy = atoms * LEAST_STRIDE > most  # a few like it fill the buffer: the next one is weighed, too
            self._stride = 1 if heavy else LEAST_STRIDE + end_ns // 100 % LEAST_STRIDE
            self._turn = self._stride - 1

    def drop(self, operations: int = 1) -> None:
        """Count operations that are lost."""
        with lock:
            self.dropped += operations

    def take(self, most: int | None = None) -> list[Any]:
        """Take out the oldest atoms, of at most so many operations; they count against the bound until ``release``."""
        with lock:
            rows = self.rows
            there = len(rows)
            count = there if most is None else min(there, most * FIELDS)
            taken = rows[:count]
            del rows[:count]
            # What each extra weighs is not known any more; a part of the atoms has that part of the weight.
            weight = self._weight if count == there else self._weight * count // there
            self._weight -= weight
            self._outstanding.append(weight)
            self.limit -= count
            return taken

    def release(self, taken: list[Any]) -> None:
        """Give back the room of atoms that are safely stored."""
        with lock:
            self.limit += len(taken) + self._returned()

    def put_back(self, taken: list[Any]) -> None:
        """Give back atoms that could not be stored, ahead of what came since."""
        with lock:
            self.rows[:0] = taken
            self.limit += len(taken)
            self._weight += self._returned()

    def shut(self) -> None:
        """Keep nothing from now on: recording stays free of cost, and what comes is dropped."""
        with lock:
            self.capacity = 0
            self._empty()

    def forked(self) -> None:
        """Begin anew in the child of a fork: what waits here is the parent's, which stores it."""
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

    def _returned(self) -> int:
        return self._outstanding.popleft() if self._outstanding else 0

    def _rebound(self, bound: int) -> None:
        self.limit += bound - self._bound
        self._bound = bound


def extra_bytes(extra: tuple[str | None, Mapping[str, Any] | None]) -> int:
    """About the memory that an operation's error text and metadata take, in bytes: what the buffer keeps alive.

    A metadata value counts by its own size: what is inside of a container is left out.
    """
    text, metadata = extra
    size = getsizeof(extra) if text is None else getsizeof(extra) + getsizeof(text)
    if not metadata:
        return size
    try:
        count = len(metadata)
        values = metadata.values() if count <= MOST_VALUES else islice(metadata.values(), MOST_VALUES)
        inside = sum(map(getsizeof, values))
        return size + getsizeof(metadata) + (inside if count <= MOST_VALUES else inside * count // MOST_VALUES)
    except Exception:  # noqa: BLE001 - a size may be the host's code, and the operation counts whatever it does
        return size + UNKNOWN_BYTES
