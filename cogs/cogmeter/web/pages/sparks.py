"""Sparklines of table rows: operations over time and the failures among them, as SVG paths."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store

N = TypeVar("N", str, tuple[str, str])  # the name of a row

BINS: Final = 25  # the last 24 hours touch 25 clock hours
BATCH: Final = 16  # rows that are read at once: each is a histogram of 12 kB for every bin
MOST: Final = 40  # rows with a sparkline
STEP, HEIGHT = 4, 26  # of a bar


@dataclass(frozen=True, slots=True)
class Spark:
    """The paths of one sparkline in a box of ``width`` x HEIGHT."""

    all: str
    bad: str
    width: int


async def sparks(store: Store, ids: Mapping[N, Sequence[int]], span: Range) -> dict[N, Spark]:
    """Return the sparkline of each name from its series; only of the first MOST names.

    Raises:
        StorageError: the store cannot be read.
    """
    names = list(ids)[:MOST]
    drawn: dict[N, Spark] = {}
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        groups = {series_id: place for place, name in enumerate(batch) for series_id in ids[name]}
        totals = await store.totals(span.since_us, span.until_us, groups=groups, step_us=_step_us(span))
        counts, failures = totals.counts, totals.failures
        for place, name in enumerate(batch):
            drawn[name] = spark(counts[:, place].tolist(), failures[:, place].tolist())
        await asyncio.sleep(0)
    return drawn


def _step_us(span: Range) -> int:
    """Return the width of a bin: whole hours for long ranges, because the store has slots of an hour."""
    wanted_us = -(-(span.until_us - span.since_us) // BINS)
    unit_us = HOUR_US if wanted_us > HOUR_US // 2 else MINUTE_US
    return max(-(-wanted_us // unit_us), 1) * unit_us


def spark(counts: Sequence[int], failures: Sequence[int]) -> Spark:
    """Return the bars of these bins; the highest fills the box."""
    most, width = max(counts, default=0), len(counts) * STEP
    if not most:
        return Spark("", "", width)
    return Spark(_bars(counts, most), _bars(failures, most), width)


def _bars(values: Sequence[int], most: int) -> str:
    return "".join(
        f"M{place * STEP + STEP // 2} {HEIGHT}v-{max(round(value / most * HEIGHT), 1)}"
        for place, value in enumerate(values)
        if value
    )
