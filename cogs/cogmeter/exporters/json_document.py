"""The guide's JSON export: the operations and figures of each service, figures of commands, a timeline by the hour.

The services are written one after the other, each with its own pass over the rows. Skipping a row of another service
costs a small part of writing one, and this way needs neither memory nor a temporary file.

Figures come from the sealed slots. They cover whole minutes (or whole hours or days where only those are kept:
``figuresSince`` and ``figuresUntil`` name the range), including operations whose rows are no longer kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from cogmeter.exporters.base import ROWS, Export, Exporter, series_of
from cogmeter.exporters.ndjson import as_json
from cogmeter.query.statistics import figures_of_rows
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import BY_OPERATION, label
from cogmeter.schemas.base import ms_or_none
from cogmeter.schemas.times import last_us
from cogmeter.times import iso
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from cogmeter.query.records import Figures
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Totals

N = TypeVar("N", str, tuple[str, str])  # the name of a group
SERVICES_PER_SLICE: Final = 32  # services whose figures are computed in one turn of the loop: about a millisecond
_BINS: Final = 168  # read at once: a week of hours
_STEPS_US: Final = tuple(HOUR_US * _BINS**power for power in range(4))  # the last one is longer than a century


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """Implement Exporter.write."""
    series = await series_of(store, export)
    # An operation that is recorded from now on is left out of every service alike.
    since_us, until_us = max(export.since_us, 0), min(export.until_us, await _end_of(store))
    groups = {number: group for group, ids in enumerate(series.values()) for number in ids}
    totals = await store.totals(since_us, until_us, groups=groups)
    by_service = await _by_name(totals, list(series))
    time_range = {
        "since": iso(export.since_us),
        "until": iso(last_us(export.until_us)),
        "figuresSince": iso(totals.since_us),
        "figuresUntil": iso(totals.until_us),
    }
    yield f'{{"exportTime":{json.dumps(iso(export.at_us))},"timeRange":{json.dumps(time_range)},'.encode()
    yield f'"metrics":{{"totalOperations":{int(totals.counts.sum())},"services":{{'.encode()
    for number, (name, stats) in enumerate(by_service.items()):
        yield f'{"," if number else ""}\n{json.dumps(name)}:{{"operations":['.encode()
        async for piece in _operations(store, series[name], since_us, until_us):
            yield piece
        yield f'\n],"stats":{json.dumps(stats)}}}'.encode()
    yield b'},"timeline":['
    async for piece in _timeline(store, dict.fromkeys(groups, 0), totals.since_us, totals.until_us):
        yield piece
    yield b'\n],"commands":['
    for number, command in enumerate(await _commands(store, export, since_us, until_us)):
        yield f"{',' if number else ''}\n{json.dumps(command)}".encode()
    yield b"\n]}}\n"


async def _operations(store: Store, ids: Collection[int], since_us: int, until_us: int) -> AsyncIterator[bytes]:
    separator = "\n"
    async for operations in store.stream(ids, since_us, until_us, rows=ROWS):
        yield (separator + ",\n".join(as_json(operations))).encode()
        separator = ",\n"


async def _timeline(store: Store, series: Mapping[int, int], since_us: int, until_us: int) -> AsyncIterator[bytes]:
    """Yield each hour that has operations, in order of time; ``series`` maps all series to the one group 0.

    ``since_us`` is a time that the totals start at, so that no hour or day is counted twice where only coarser slots
    are kept. Where only days are kept, a day counts as its first hour.
    """
    separator = "\n"
    first_hour = min(_ceiling(since_us, HOUR_US), until_us)
    first_day = min(_ceiling(first_hour, DAY_US), until_us)
    for start_us, stop_us in ((since_us, first_hour), (first_hour, first_day), (first_day, until_us)):
        async for hour in _hours(store, series, start_us, stop_us):
            yield (separator + json.dumps(hour)).encode()
            separator = ",\n"


async def _hours(
    store: Store, series: Mapping[int, int], since_us: int, until_us: int
) -> AsyncIterator[dict[str, Any]]:
    """Yield the hours with operations in this range. A long range is first searched in longer steps."""
    if since_us >= until_us or not series:
        return
    step_us = next(step_us for step_us in _STEPS_US if until_us - since_us <= step_us * _BINS)
    totals = await store.totals(since_us, until_us, groups=series, step_us=step_us)
    bins = np.flatnonzero(totals.counts[:, 0])
    starts_us = totals.edges_us[bins].tolist()
    if step_us == HOUR_US:
        rows = (part[bins, 0] for part in (totals.outcomes, totals.sum_us, totals.max_us, totals.buckets))
        for start_us, figures in zip(starts_us, figures_of_rows(*rows, span_us=HOUR_US), strict=True):
            yield {"timestamp": iso(start_us), **_stats(figures)}
        return
    for start_us in starts_us:
        async for hour in _hours(store, series, start_us, min(start_us + step_us, until_us)):
            yield hour


async def _by_name(totals: Totals, names: Sequence[N]) -> dict[N, dict[str, Any]]:
    """Return the figures of each group that has operations by its name, computed in short pieces.

    The totals have one bin, and one group per name.
    """
    stats: dict[N, dict[str, Any]] = {}
    span_us = totals.until_us - totals.since_us
    async for start in paced(range(0, len(names), SERVICES_PER_SLICE)):
        piece = slice(start, start + SERVICES_PER_SLICE)
        rows = (part[0, piece] for part in (totals.outcomes, totals.sum_us, totals.max_us, totals.buckets))
        pairs = zip(names[piece], figures_of_rows(*rows, span_us=span_us), strict=True)
        stats |= {name: _stats(figures) for name, figures in pairs if figures.operations}
    return stats


async def _commands(store: Store, export: Export, since_us: int, until_us: int) -> list[dict[str, Any]]:
    """Return the figures of each command, component and reply that has operations, the busiest first."""
    ranked = [
        series
        for series in await store.series()
        if series.service in BY_OPERATION and (export.services is None or series.service in export.services)
    ]
    numbers = {series.id: number for number, series in enumerate(ranked)}
    totals = await store.totals(since_us, until_us, groups=numbers)
    stats = await _by_name(totals, [(series.service, series.operation) for series in ranked])
    commands = [
        {"name": label(*name), "service": name[0], "operation": name[1], **figures} for name, figures in stats.items()
    ]
    return sorted(commands, key=lambda command: -command["totalOperations"])


def _stats(figures: Figures) -> dict[str, Any]:
    """Return figures in the guide's words: response times in milliseconds, the error rate as a share."""
    return {
        "totalOperations": figures.operations,
        "successfulOperations": figures.operations - figures.failures,
        "failedOperations": figures.failures,
        "averageResponseTime": ms_or_none(figures.mean_us),
        "errorRate": round(figures.error_rate, 6) if figures.operations else 0,
        "p50ResponseTime": ms_or_none(figures.p50_us),
        "p95ResponseTime": ms_or_none(figures.p95_us),
        "p99ResponseTime": ms_or_none(figures.p99_us),
        "maxResponseTime": ms_or_none(figures.max_us),
    }


async def _end_of(store: Store) -> int:
    """Return the time just after the last stored operation."""
    last_end_us = (await store.status()).last_end_us
    return 0 if last_end_us is None else last_end_us + 1


def _ceiling(at_us: int, width_us: int) -> int:
    return -(-at_us // width_us) * width_us


EXPORTER: Final = Exporter(
    name="json",
    label="JSON",
    description="One document: operations and figures of services, figures of commands, a timeline by the hour",
    suffixes=("json",),
    media_type="application/json",
    streams=True,
    write=write,
)
