"""Removes old rows of the small tables, a few at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.sql import costs, usage
from cogmeter_storage.sql.alerts import delete_resolved
from cogmeter_storage.sql.errors import delete_old_details, delete_old_groups
from cogmeter_storage.sql.observations import delete_samples, delete_traces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from cogmeter_storage.model import Retention
    from cogmeter_storage.sql.session import Session

    # Deletes a few rows in one transaction, and returns how many.
    Deletion: TypeAlias = Callable[[Session], int]
    # Calls a deletion with pauses until it deletes nothing more, and returns the total.
    DeleteAll: TypeAlias = Callable[[Deletion], Awaitable[int]]

_DELETE_ROWS: Final = 5_000
# How long the sketches of hours are kept besides those of days: a week of them would take 16% of the disk, not 7%.
_USAGE_HOURS: Final = 48.0


class CleanedRows(NamedTuple):
    """The numbers of removed rows."""

    traces: int
    samples: int
    alerts: int
    errors: int


def cut_us(now_us: int, hours: float, width_us: int) -> int:
    """Return the border of a slot of this width before which data is older than ``hours``."""
    return int(now_us - hours * HOUR_US) // width_us * width_us


async def clean_small_tables(
    delete_all: DeleteAll, retention: Retention, now_us: int, *, corrections: Sequence[str]
) -> CleanedRows:
    """Remove what Store.clean names, other than operations and slots; ``corrections`` are tables of the engine."""
    raw_cut = cut_us(now_us, retention.raw_hours, HOUR_US)
    day_cut = cut_us(now_us, retention.day_hours, DAY_US)
    error_cut = cut_us(now_us, retention.error_hours, DAY_US)
    oldest_cut = min(raw_cut, cut_us(now_us, retention.hour_hours, DAY_US))
    traces = await delete_all(partial(delete_traces, cut_us=raw_cut))
    samples = await delete_all(partial(delete_samples, cut_us=raw_cut))
    alerts = await delete_all(partial(delete_resolved, cut_us=day_cut))
    for table, time_column, before_us in (
        ("attempt", "at_us", raw_cut),
        ("delivery", "ended_us", raw_cut),  # NULL while it waits, so never before the cut
        ("mute", "until_us", raw_cut),
        ("audit", "at_us", day_cut),
        ("marker", "at_us", day_cut),
        *((table, "at_us", raw_cut) for table in corrections),
    ):
        await delete_all(partial(_delete_rows, table=table, time_column=time_column, before_us=before_us))
    errors = await delete_all(partial(delete_old_groups, cut_us=error_cut))
    await delete_all(partial(delete_old_details, cut_us=error_cut))
    usage_hours = cut_us(now_us, min(_USAGE_HOURS, retention.raw_hours), DAY_US)
    await delete_all(partial(usage.delete_hours, cut_us=usage_hours))
    await delete_all(partial(usage.delete_old, cut_us=oldest_cut))
    await delete_all(partial(costs.delete_old, cut_us=oldest_cut))
    return CleanedRows(traces, samples, alerts, errors)


def _delete_rows(raw: Session, table: str, time_column: str, before_us: int) -> int:
    """Delete the oldest few rows of a small table; return how many."""
    oldest = f"SELECT id FROM {table} WHERE {time_column} < ? ORDER BY {time_column} LIMIT ?"  # noqa: S608 - names of our tables
    with raw.transaction():
        return raw.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (before_us, _DELETE_ROWS)).rowcount  # noqa: S608 - the text above
