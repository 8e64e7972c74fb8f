"""Keeps gauges: a number for each metric name and moment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

_DELETE_ROWS = 5000


def add(raw: sqlite3.Connection, at_us: int, values: Mapping[str, float]) -> None:
    """See Store.add_samples; one transaction."""
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    with transaction(raw):
        raw.executemany("INSERT OR IGNORE INTO metric (name) VALUES (?)", ((name,) for name in finite))
        raw.executemany(
            "INSERT OR REPLACE INTO sample (metric, at_us, value) SELECT id, ?, ? FROM metric WHERE name = ?",
            ((at_us, value, name) for name, value in finite.items()),
        )


def read(
    raw: sqlite3.Connection, names: Collection[str], since_us: int, until_us: int
) -> dict[str, list[tuple[int, float]]]:
    """See Store.samples."""
    find = (
        "SELECT at_us, value FROM sample WHERE metric = (SELECT id FROM metric WHERE name = ?)"  # noqa: S608 - names of our columns
        f" AND at_us >= ? AND at_us < ? AND {sound('sample')} ORDER BY at_us"
    )
    return {name: raw.execute(find, (name, since_us, until_us)).fetchall() for name in names}


def delete(raw: sqlite3.Connection, cut_us: int) -> int:
    """Delete a few samples of the first metric that has any before the cut; 0 when none has."""
    with transaction(raw):
        for (metric,) in raw.execute("SELECT id FROM metric").fetchall():
            oldest = "SELECT at_us FROM sample WHERE metric = ?1 AND at_us < ?2 ORDER BY at_us LIMIT ?3"
            removed = raw.execute(
                f"DELETE FROM sample WHERE metric = ?1 AND at_us IN ({oldest})",  # noqa: S608 - the text above
                (metric, cut_us, _DELETE_ROWS),
            ).rowcount
            if removed:
                return removed
        # A shard or an interface that is no more takes its name along.
        raw.execute("DELETE FROM metric WHERE NOT EXISTS (SELECT 1 FROM sample WHERE sample.metric = metric.id)")
    return 0
