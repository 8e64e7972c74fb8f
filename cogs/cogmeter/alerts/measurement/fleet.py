"""What other processes record, as the difference between two readings of their minutes: exact, and without raw rows."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement.window import WindowTotals
from cogmeter.recording.service_names import STALLS
from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import FAILURES, MINUTE_US
from cogmeter_storage.slot import Slot, concatenate, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.window import Window
    from cogmeter_storage.base import Store
    from cogmeter_storage.lease import LiveMinute

FOLLOWED_US: Final = 5 * MINUTE_US  # a minute that is stored later than this is not measured
_Key = tuple[int, int, int]  # run, start and first operation of a slot
_NEGATED: Final = ("ok", "error", "upstream", "user", "cancelled", "sum_us", "counts")


class OtherProcesses:
    """Follows the newest minutes of the processes that share a store."""

    def __init__(
        self, names: Sequence[tuple[str, str]], learn: Callable[[Iterable[tuple[str, str]]], object] | None
    ) -> None:
        """``names`` is the recorder's growing list; ``learn`` adds names to it, as far as there is room."""
        self._names = names
        self._learn = learn
        self._known = 0  # names in ``_numbers``
        self._numbers: dict[tuple[str, str], int] = {}
        self._stored: dict[int, int] = {}  # the recorder's number of each of the store's series
        self._seen: dict[_Key, Slot] = {}  # as they were read last

    @staticmethod
    def first_us(now_us: int) -> int:
        """Return the start of the first minute that is followed."""
        return (now_us - FOLLOWED_US) // MINUTE_US * MINUTE_US

    async def refill(self, window: Window, store: Store, now_us: int, now_s: float) -> None:
        """Put the newest minutes of all processes, also of this one, into the window; later ``read`` adds to them.

        Raises:
            StorageError: they cannot be read.
        """
        minutes = await store.live_minutes(max(self.first_us(now_us), now_us - int(window.length_s * 1e6)))
        await self._read_names(store, minutes)
        for start_us, same in groupby(minutes, key=lambda one: one.minute.start_us):
            total = merge([one.minute.slot for one in same])
            window.put_back_totals(self._totals(total), start_s=now_s - max(now_us - start_us, 0) / 1e6)
        self._seen = {_key(one): one.minute.slot for one in minutes if not one.own}

    async def read(self, store: Store, now_us: int) -> WindowTotals | None:
        """Return what the other processes have stored since the last reading; None if it is nothing.

        Raises:
            StorageError: it cannot be read; the next reading contains it.
        """
        minutes = [one for one in await store.live_minutes(self.first_us(now_us)) if not one.own]
        await self._read_names(store, minutes)
        added = [_difference(one.minute.slot, self._seen.get(_key(one))) for one in minutes]
        self._seen = {_key(one): one.minute.slot for one in minutes}
        changed = [slot for slot in added if slot is not None]
        return self._totals(merge(changed)) if changed else None

    async def _read_names(self, store: Store, minutes: Sequence[LiveMinute]) -> None:
        """Learn the names of series that are new here."""
        ids = {number for one in minutes for number in one.minute.slot.series.tolist()}
        if ids <= self._stored.keys():
            return
        names = {one.id: (one.service, one.operation) for one in await store.series() if one.id in ids}
        if self._learn is not None:
            self._learn(names.values())
        for number in range(self._known, len(self._names)):
            self._numbers.setdefault(self._names[number], number)
        self._known = len(self._names)
        self._stored |= {one: self._numbers.get(name, 0) for one, name in names.items()}

    def _totals(self, slot: Slot) -> WindowTotals:
        """Return a slot by the recorder's numbers; series without one count for "(other)"."""
        series = np.array([self._stored.get(one, 0) for one in slot.series.tolist()], dtype=np.int64)
        numbers, row = np.unique(series, return_inverse=True)
        counts = np.zeros((3, len(numbers)), dtype=np.int64)
        outcomes = slot.outcomes
        failed = np.sum([outcomes[one] for one in FAILURES], axis=0, dtype=np.int64)
        for target, column in zip(counts, (np.sum(outcomes, axis=0, dtype=np.int64), failed, slot.sum_us), strict=True):
            np.add.at(target, row, column)
        keys, place = np.unique(
            np.repeat(series, slot.sizes) * BUCKETS + slot.buckets.astype(np.int64), return_inverse=True
        )
        times = np.zeros(len(keys), dtype=np.int64)
        np.add.at(times, place, slot.counts)
        return WindowTotals(numbers, counts, keys[times > 0], times[times > 0], self._longest(slot, series))

    def _longest(self, slot: Slot, series: NDArray[np.int64]) -> tuple[float, int]:
        """Return the longest stall, as far as there is a new one."""
        counts: NDArray[np.int64] = np.stack(slot.outcomes).sum(axis=0, dtype=np.int64)
        stalls = [
            (float(longest_us), number)
            for longest_us, number, count in zip(slot.max_us.tolist(), series.tolist(), counts.tolist(), strict=True)
            if count and self._names[number][0] == STALLS
        ]
        return max(stalls, default=(0.0, 0))


def _key(one: LiveMinute) -> _Key:
    return one.run, one.minute.start_us, one.minute.first_id


def _difference(new: Slot, old: Slot | None) -> Slot | None:
    """Return what was added to a slot; None if nothing was. Its largest durations are those of the whole slot."""
    if old is None:
        return new
    if len(new.series) == len(old.series) and all(
        np.array_equal(after, before) for after, before in zip(new.outcomes, old.outcomes, strict=True)
    ):
        return None
    before = concatenate([old])
    negated = {name: -getattr(before, name) for name in _NEGATED}
    added = merge([concatenate([new]), before._replace(**negated)])
    # Rows with future times were moved away: what is left was counted already.
    return added if min(int(column.min(initial=0)) for column in added) >= 0 else None
