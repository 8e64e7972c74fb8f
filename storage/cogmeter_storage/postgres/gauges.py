"""The gauges and values of each process.

The name of a metric begins with that of its process, so that no line mixes two; the key of a value ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter_storage.postgres.session import storable_text
from cogmeter_storage.sql import observations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cogmeter_storage.postgres.session import PostgresSession

SEPARATOR: Final = "\x1f"  # in no name of a process or gauge
_LIVE_US: Final = 60_000_000


def metric_of(process: str, gauge: str) -> str:
    """Return the name under which a gauge of a process is stored."""
    return storable_text(f"{process.replace(SEPARATOR, ' ')}{SEPARATOR}{gauge}")


def add_samples(session: PostgresSession, at_us: int, values: Mapping[str, float], process: str) -> None:
    """Implement Store.add_samples; one transaction."""
    observations.add_samples(session, at_us, {metric_of(process, name): value for name, value in values.items()})


def read_samples(
    session: PostgresSession, names: Collection[str], since_us: int, until_us: int, process: str
) -> dict[str, list[tuple[int, float]]]:
    """Implement Store.samples."""
    found = observations.read_samples(session, [metric_of(process, name) for name in names], since_us, until_us)
    return dict(zip(names, found.values(), strict=True))


def by_process(
    session: PostgresSession, name: str, since_us: int, until_us: int, only: str | None
) -> dict[str, list[tuple[int, float]]]:
    """Implement Store.samples_by_process."""
    rows = session.execute(
        "SELECT split_part(name, ?1, 1), at_us, value FROM metric JOIN sample ON sample.metric = metric.id"
        " WHERE split_part(name, ?1, 2) = ?2 AND (?3 OR name = ?4) AND at_us >= ?5 AND at_us < ?6"
        " ORDER BY 1, at_us",
        (SEPARATOR, name, only is None, metric_of(only or "", name), since_us, until_us),
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for process, at_us, value in rows:
        found.setdefault(process, []).append((at_us, value))
    return found


def value_key(key: str, process: str) -> str:
    """Return the key under which a value of a process is stored."""
    return f"{key} of {process}"


def values_by_process(session: PostgresSession, key: str) -> dict[str, bytes]:
    """Implement Store.values_by_process."""
    first = value_key(key, "")
    rows = session.execute(
        "SELECT substr(name, ?), value FROM memory WHERE starts_with(name, ?)", (len(first) + 1, first)
    )
    return {process: bytes(value) for process, value in rows}


def present_process(session: PostgresSession) -> str:
    """Return the process whose gauges a reader sees that is none itself: of the live ones the one that runs longest.

    Without a live one it is the last one that was alive; an empty text if none ever was.
    """
    row = session.execute(
        "SELECT process FROM run ORDER BY CASE WHEN ended_us IS NULL AND"
        " seen_us > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ? THEN id END NULLS LAST,"
        " seen_us DESC LIMIT 1",
        (_LIVE_US,),
    ).fetchone()
    return "" if row is None else str(row[0])
