"""Fills the alert window from the store at a start, so that alerts continue where the last run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement.window import SLICES
from cogmeter.recording.service_names import STALLS
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.alerts.measurement.window import Window
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord

PIECE: Final = 500  # series that are read at once: a histogram of each is 12 kB


async def refill(
    window: Window,
    store: Store,
    series: Sequence[SeriesRecord],
    now_us: int,
    now_s: float,
    *,
    until_us: int | None = None,
) -> None:
    """Restore the operations of the last window, minute by minute, without series that the recorder does not know.

    Only those of steps before ``until_us``, the start of a minute, if it is set.
    """
    end_us = now_us + 1 if until_us is None else min(until_us, now_us + 1)
    window.learn()
    number_of = {names: number for number, names in enumerate(window.series)}
    known = sorted((number_of[names], row.id) for row in series if (names := (row.service, row.operation)) in number_of)
    length_us = int(window.length_s * 1e6)
    step_us = max(1, -(-length_us // (SLICES * MINUTE_US))) * MINUTE_US
    first_us = -(-(now_us - length_us) // step_us) * step_us
    for start_us in range(first_us, end_us, step_us):
        for at in range(0, len(known), PIECE):
            span = (start_us, min(start_us + step_us, end_us))
            await _put_back(window, store, known[at : at + PIECE], span, start_s=now_s - (now_us - start_us) / 1e6)


async def _put_back(
    window: Window, store: Store, known: Sequence[tuple[int, int]], span: tuple[int, int], *, start_s: float
) -> None:
    """Restore one time range of some series; each is a pair of its number and the store's id."""
    totals = await store.totals(*span, groups={stored: row for row, (_, stored) in enumerate(known)})
    if not totals.counts.any():
        return
    numbers = np.array([number for number, _ in known], dtype=np.int64)
    stalls = np.array([window.series[number][0] == STALLS for number in numbers.tolist()], dtype=np.bool_)
    longest = np.where(stalls, totals.max_us[0], 0)
    row = int(longest.argmax())
    window.put_back(
        numbers,
        np.stack([totals.counts[0], totals.failures[0], totals.sum_us[0]]),
        totals.buckets[0],
        start_s=start_s,
        longest=(float(longest[row]), int(numbers[row])),
    )
