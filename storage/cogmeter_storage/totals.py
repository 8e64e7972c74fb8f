"""Adds slots up to Totals: by bin of time and group of series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import MINUTE_US, Outcome, Totals
from cogmeter_storage.slot import SlotFormatError, concatenate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cogmeter_storage.model import Int64Array
    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.slot import Column, Slot

# Buckets added up at once: few enough that no numpy call holds the GIL for long, and enough that the fixed cost of a
# call is small.
_CHUNK_BUCKETS = 40_000


class Lookup:
    """A number for each known series id, -1 for all others."""

    def __init__(self, numbers: Mapping[int, int]) -> None:
        self._table = np.full(max(numbers, default=0) + 2, -1, dtype=np.int64)  # the last entry is for larger ids
        for series, number in numbers.items():
            self._table[series] = number

    @classmethod
    def of_ids(cls, series: Collection[int]) -> Lookup:
        """Return a lookup that has 0 for each of these series ids."""
        return cls(dict.fromkeys(series, 0))

    def __call__(self, series: Column) -> Int64Array:
        """Return the numbers of these series ids."""
        largest = np.int64(self._table.size - 1)  # numpy refuses a plain int that a narrow column cannot hold
        return self._table[np.minimum(series, largest)]


def check_step(step_us: int | None) -> None:
    """Refuse a bin that slots would overlap.

    Raises:
        ValueError: the step is not a positive multiple of a minute.
    """
    if step_us is not None and (step_us <= 0 or step_us % MINUTE_US):
        raise ValueError(f"step_us is a positive multiple of a minute ({MINUTE_US}), not {step_us}")


class Accumulator:
    """Totals that grow slot by slot."""

    def __init__(self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None) -> None:
        span = until_us - since_us
        self._since_us, self._until_us = since_us, until_us
        self._step_us = step_us or max(span, 1)
        self._bins = 1 if step_us is None else -(-span // step_us)
        self._groups = max(groups.values(), default=-1) + 1
        self._lookup = Lookup(groups)
        # One extra row for the other series: cheaper than filtering them out.
        self._size = self._bins * self._groups
        self._outcomes = np.zeros((len(Outcome), self._size + 1), dtype=np.int64)
        self._sum_us, self._max_us = np.zeros((2, self._size + 1), dtype=np.int64)
        self._buckets = np.zeros((self._size + 1) * BUCKETS, dtype=np.int64)

    def add(self, starts_us: Sequence[int], slots: Sequence[Slot]) -> None:
        """Add slots (at least one) to the bins in which they start; they must be inside the range.

        Pass few slots at once: each numpy call on them may hold the GIL.

        Raises:
            SlotFormatError: the columns of a slot do not fit each other.
        """
        columns = concatenate(slots)
        if int(columns.sizes.sum()) != columns.buckets.size or columns.buckets.max(initial=0) >= BUCKETS:
            raise SlotFormatError("a damaged slot: its buckets do not fit its series")
        bins = (np.array(starts_us, dtype=np.int64) - self._since_us) // self._step_us
        group = self._lookup(columns.series)
        rows = np.repeat(bins, [slot.series.size for slot in slots]) * self._groups + group
        rows[group < 0] = self._size
        for added, column in zip(self._outcomes, columns.outcomes, strict=True):
            np.add.at(added, rows, column)
        np.add.at(self._sum_us, rows, columns.sum_us)
        np.maximum.at(self._max_us, rows, columns.max_us)
        keys = np.repeat(rows * BUCKETS, columns.sizes)
        keys += columns.buckets
        np.add.at(self._buckets, keys, columns.counts)

    def totals(self) -> Totals:
        """Return the sums so far."""
        shape = (self._bins, self._groups)
        return Totals(
            since_us=self._since_us,
            until_us=self._until_us,
            edges_us=self._since_us + np.arange(self._bins, dtype=np.int64) * self._step_us,
            outcomes=self._outcomes[:, :-1].T.reshape(*shape, len(Outcome)),
            sum_us=self._sum_us[:-1].reshape(shape),
            max_us=self._max_us[:-1].reshape(shape),
            buckets=self._buckets[:-BUCKETS].reshape(*shape, BUCKETS),
        )


def add_in_chunks(sums: Accumulator, slots: Iterable[SealedSlot]) -> None:
    """Add slots, a few at once."""
    chunk: list[SealedSlot] = []
    buckets = 0
    for slot in slots:
        chunk.append(slot)
        buckets += slot.slot.buckets.size
        if buckets > _CHUNK_BUCKETS:
            sums.add([sealed.start_us for sealed in chunk], [sealed.slot for sealed in chunk])
            chunk, buckets = [], 0
    if chunk:
        sums.add([sealed.start_us for sealed in chunk], [sealed.slot for sealed in chunk])
