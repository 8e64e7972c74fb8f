"""The parts that all exporters share: the facts of a format, the request, and helpers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from cogmeter_storage.base import Store

ROWS: Final = 100  # operations that are read, and then written, in one turn: about a millisecond of each thread


@dataclass(frozen=True, slots=True)
class Export:
    """A request for an export: the operations that ended in [since_us, until_us), of some services or of all."""

    since_us: int
    until_us: int
    at_us: int  # the time at which the export is made
    services: Collection[str] | None = None
    namespace: str = "chatterbot"  # the prefix of metric names


@dataclass(frozen=True, slots=True)
class Exporter:
    """All facts about one export format. Each format's module has one, as ``EXPORTER``.

    ``write`` yields the bytes piece by piece, and keeps at most a few hundred operations in memory. It may raise
    StorageError, before the first piece or between two pieces; the bytes so far are then not a complete export.
    """

    name: str  # in options, settings and addresses
    label: str  # on screens
    description: str
    suffixes: tuple[str, ...]  # of file names, without a dot; a new file gets the first
    media_type: str
    streams: bool  # writes each operation, so the export grows with their number; false: figures only
    write: Callable[[Store, Export], AsyncIterator[bytes]]


async def series_of(store: Store, export: Export) -> dict[str, list[int]]:
    """Return the ids of the series to export by service, in alphabetical order; a service not stored has none."""
    ids: dict[str, list[int]] = {}
    for series in await store.series():
        if export.services is None or series.service in export.services:
            ids.setdefault(series.service, []).append(series.id)
    return ids


async def series_ids(store: Store, export: Export) -> Collection[int] | None:
    """Return the ids of the series to export; None for all."""
    if export.services is None:
        return None
    return [number for ids in (await series_of(store, export)).values() for number in ids]


def milliseconds(duration_us: int) -> int | float:
    """Return a duration in milliseconds: an integer if possible, else with up to three decimals, so nothing is lost."""
    return duration_us / 1000 if duration_us % 1000 else duration_us // 1000
