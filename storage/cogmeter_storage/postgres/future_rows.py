"""Moves rows with future times out of the way: they were recorded while the clock was ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter_storage.clock import AHEAD_US, clock
from cogmeter_storage.postgres.slots import SEQUENCE_BITS
from cogmeter_storage.sql.errors import move_future_counts

if TYPE_CHECKING:
    from cogmeter_storage.postgres.session import PostgresSession

_TABLES_AT_US: Final = ("trace", "marker", "sample", "usage_part")


def has_future_rows(session: PostgresSession, process: str, now_us: int) -> bool:
    """Return True if this process, or an observation, has a row more than AHEAD_US in the future."""
    ahead_us = now_us + AHEAD_US
    own = "SELECT id FROM run WHERE process = ?"
    finds: list[tuple[str, tuple[object, ...]]] = [
        (f"SELECT EXISTS (SELECT 1 FROM slot WHERE run IN ({own}) AND start_us > ?)", (process, ahead_us))  # noqa: S608 - the text above
    ]
    finds += [(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE at_us > ?)", (ahead_us,)) for table in _TABLES_AT_US]  # noqa: S608 - names of our tables
    return any((session.execute(find, values).fetchone() or (False,))[0] for find, values in finds)


def move_future_rows(session: PostgresSession, process: str, now_us: int) -> None:
    """Move this process's rows with times after now to ``set_apart``; its writer must begin a new run."""
    own = "SELECT id FROM run WHERE process = ?"
    with session.transaction("fold"):
        for table, time_column, of_process in (
            ("operation", "end_us", f" AND id >> {SEQUENCE_BITS} IN ({own})"),
            ("slot", "start_us", f" AND run IN ({own})"),
            *((table, "at_us", "") for table in _TABLES_AT_US),
        ):
            values = (now_us, process) if of_process else (now_us,)
            where = f"{time_column} > ?{of_process}"
            session.execute(
                "INSERT INTO set_apart (at_us, kind, time_us, content)"  # noqa: S608 - names of our tables
                f" SELECT ?, '{table}', {time_column}, row_to_json({table})::text FROM {table} WHERE {where}",
                (clock.now_us(), *values),
            )
            session.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608 - names of our tables
        session.execute(
            "UPDATE run SET last_end_us = ? WHERE process = ? AND last_end_us > ?", (now_us, process, now_us)
        )
        move_future_counts(session, now_us + AHEAD_US, now_us)
