"""The guide's JSON export: one document with every service's operations and figures, and a timeline by the hour.

The services come one after the other, each by its own pass over the rows: passing by a row of another service costs a
small part of what writing one costs, and needs neither memory nor a temporary file.

Figures come from the sealed slots. They are of whole minutes (of whole hours or days where nothing finer is kept:
``figuresSince`` and ``figuresUntil`` say so), and they count what is no longer kept operation by operation, too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cogmeter.exporters import stats
from cogmeter.exporters.base import ROWS, Export, iso, series_of
from cogmeter.exporters.operations import as_json
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from cogmeter_storage.base import Store


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """See Exporter."""
    series = await series_of(store, export)
    # What is recorded from now on is left out of every service alike.
    since_us, until_us = max(export.since_us, 0), min(export.until_us, await _end_of(store))
    groups = {number: group for group, ids in enumerate(series.values()) for number in ids}
    totals = await store.totals(since_us, until_us, groups=groups)
    by_service = await stats.by_service(totals, list(series))
    time_range = {
        "since": iso(export.since_us),
        "until": _until(export.until_us),
        "figuresSince": iso(totals.since_us),
        "figuresUntil": iso(totals.until_us),
    }
    yield f'{{"exportTime":{json.dumps(iso(export.at_us))},"timeRange":{json.dumps(time_range)},'.encode()
    yield f'"metrics":{{"totalOperations":{int(totals.counts.sum())},"services":{{'.encode()
    for number, (name, figures) in enumerate(by_service.items()):
        yield f'{"," if number else ""}\n{json.dumps(name)}:{{"operations":['.encode()
        async for piece in _operations(store, series[name], since_us, until_us):
            yield piece
        yield f'\n],"stats":{json.dumps(figures)}}}'.encode()
    yield b'},"timeline":['
    async for piece in _timeline(store, groups, totals.since_us, totals.until_us):
        yield piece
    yield b"\n]}}\n"


async def _operations(store: Store, ids: Collection[int], since_us: int, until_us: int) -> AsyncIterator[bytes]:
    before = "\n"
    async for operations in store.stream(ids, since_us, until_us, rows=ROWS):
        yield (before + ",\n".join(as_json(operations))).encode()
        before = ",\n"


async def _timeline(store: Store, groups: Collection[int], since_us: int, until_us: int) -> AsyncIterator[bytes]:
    before = "\n"
    async for hour in stats.hours(store, dict.fromkeys(groups, 0), since_us, until_us):
        yield (before + json.dumps(hour)).encode()
        before = ",\n"


async def _end_of(store: Store) -> int:
    """Just behind the last stored operation."""
    last_end_us = (await store.status()).last_end_us
    return 0 if last_end_us is None else last_end_us + 1


def _until(until_us: int) -> str:
    """The end of the range; where that is a day's end, the guide shows the day's last second."""
    return iso(until_us - 1_000_000 if until_us % DAY_US == 0 else until_us)
