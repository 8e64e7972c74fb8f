"""Reads a long stretch of operations in order, a short question at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from cogmeter_storage.sqlite.rows import first_id_from, snapshot
from cogmeter_storage.sqlite.search import COLUMNS, SOURCE, known, operations_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Collection

    from cogmeter_storage.model import Operation
    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.damage import DamageLog

_SCANNED_ROWS = 20_000  # that one question passes by at most: a few milliseconds, however rare the series is
_NEXT = f"SELECT {COLUMNS} FROM {SOURCE} ORDER BY operation.id LIMIT ?"  # noqa: S608 - constants of search.py


class _Strategy(NamedTuple):
    """What is still to be read: ids from ``next_id`` to ``last_id``, of the series in a JSON list."""

    next_id: int
    last_id: int
    series: str


async def stream(
    reading: Connection,
    damage: DamageLog,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    rows: int,
) -> AsyncIterator[list[Operation]]:
    """See Store.stream."""
    if rows < 1:
        raise ValueError(f"rows is at least 1, not {rows}")
    if series is not None and not series:
        return  # nothing has to be passed by to know that
    way = await reading.run(_way, None if series is None else tuple(series), since_us, until_us)
    while way.next_id <= way.last_id:
        chunk, way = await reading.run(_chunk, damage, way, rows)
        if chunk:
            yield chunk


def _way(raw: sqlite3.Connection, series: Collection[int] | None, since_us: int, until_us: int) -> _Strategy:
    with snapshot(raw):
        ids = known(raw) if series is None else series
        return _Strategy(first_id_from(raw, since_us), first_id_from(raw, until_us) - 1, json.dumps(sorted(ids)))


def _chunk(raw: sqlite3.Connection, damage: DamageLog, way: _Strategy, rows: int) -> tuple[list[Operation], _Strategy]:
    """The next rows, and the way behind them; one statement, so one read transaction of its own."""
    last_id = min(way.last_id, way.next_id + _SCANNED_ROWS - 1)
    found = raw.execute(_NEXT, (way.next_id, last_id, way.series, rows)).fetchall()
    next_id = found[-1][0] + 1 if len(found) == rows else last_id + 1
    return list(operations_of(found, damage)), way._replace(next_id=next_id)
