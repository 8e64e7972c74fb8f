"""What an exporter is, what it is asked, and the words for times and durations that all of them write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from cogmeter_storage.base import Store

ROWS: Final = 100  # operations that are read, and then written, in one turn: about a millisecond of each thread

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = -62_135_596_800_000_000  # what a year of four digits can say
_LAST_US = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be exported: the operations that ended in [since_us, until_us), of some services or of all."""

    since_us: int
    until_us: int
    at_us: int  # now: when the export is made
    services: Collection[str] | None = None
    namespace: str = "chatterbot"  # what the names of metrics begin with


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format. ``write`` gives the bytes piece by piece, and holds no more than a few hundred operations at once.

    It may raise StorageError, before the first piece or between two; then what was written is no whole export.
    """

    name: str
    media_type: str
    ending: str  # of a file's name, without a dot
    write: Callable[[Store, Export], AsyncIterator[bytes]]


async def series_of(store: Store, export: Export) -> dict[str, list[int]]:
    """The ids of the series to export by their service, in alphabetical order; names that are not stored have none."""
    ids: dict[str, list[int]] = {}
    for one in await store.series():
        if export.services is None or one.service in export.services:
            ids.setdefault(one.service, []).append(one.id)
    return ids


async def wanted_ids(store: Store, export: Export) -> Collection[int] | None:
    """The ids of the series to export; None for all."""
    if export.services is None:
        return None
    return [number for ids in (await series_of(store, export)).values() for number in ids]


def iso(at_us: int) -> str:
    """A time in ISO 8601, UTC: to the second where it is a whole one, else to the millisecond or microsecond."""
    seconds, us = divmod(min(max(at_us, _FIRST_US), _LAST_US), 1_000_000)
    return _second(seconds) + (f".{us:06}Z" if us % 1000 else f".{us // 1000:03}Z" if us else "Z")


@lru_cache(maxsize=1024)  # operations of one second stand beside each other
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")[:19]  # without the offset


def milliseconds(duration_us: int) -> int | float:
    """A duration in milliseconds: whole ones as an integer, else with up to three decimals, so that nothing is lost."""
    return duration_us / 1000 if duration_us % 1000 else duration_us // 1000
