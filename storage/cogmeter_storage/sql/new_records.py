"""SQL for the records that were stored after a position: traces, alert changes and markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.model import Marker, NewRecords, RecordPosition
from cogmeter_storage.sql.alerts import ALERT_COLUMNS, CHANGE_COLUMNS, CHANGE_WIDTH, alert_of, change_of
from cogmeter_storage.sql.observations import TRACE_COLUMNS, trace_of

if TYPE_CHECKING:
    from cogmeter_storage.sql.session import DamagedRows, Session

_JOINED: Final = "alert_change JOIN alert ON alert.id = alert_change.alert"
# By table: what is selected, from where. The last column is the id of the record.
_SELECTED: Final = {
    "trace": (TRACE_COLUMNS, "trace", ("trace",)),
    "alert_change": (f"{ALERT_COLUMNS}, {CHANGE_COLUMNS}", _JOINED, ("alert_change", "alert")),
    "marker": ("at_us, kind, name", "marker", ("marker",)),
}


def newest(raw: Session) -> RecordPosition:
    """Implement Store.newest_position."""
    with raw.snapshot():
        return RecordPosition(*(_newest_id(raw, table) for table in _SELECTED))


def read(raw: Session, damage: DamagedRows, position: RecordPosition, limit: int) -> NewRecords:
    """Implement Store.new_records."""
    after = dict(zip(_SELECTED, (position.trace, position.change, position.marker), strict=True))
    with raw.snapshot():
        rows = {table: _rows(raw, table, last_id, limit) for table, last_id in after.items()}
        # After a clean-up that removed all of a kind, ids begin again.
        ends = {table: found[-1][-1] if found else _newest_id(raw, table) for table, found in rows.items()}
    width = CHANGE_WIDTH
    changes = [(change_of(row[-width - 1 : -1]), alert_of(row[: -width - 1])) for row in rows["alert_change"]]
    traces = filter(None, (trace_of(row, damage) for row in rows["trace"]))
    markers = (Marker(*row) for row in rows["marker"])
    return NewRecords(RecordPosition(*ends.values()), tuple(traces), tuple(changes), tuple(markers))


def _newest_id(raw: Session, table: str) -> int:
    return int(raw.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])  # noqa: S608 - one of our tables


def _rows(raw: Session, table: str, last_id: int, limit: int) -> list[tuple[Any, ...]]:
    """Return the sound rows of a table after an id."""
    columns, source, checked = _SELECTED[table]
    sound = " AND ".join(map(raw.sound_rows, checked))
    return raw.execute(
        f"SELECT {columns}, {table}.id FROM {source} WHERE {table}.id > ? AND {sound} ORDER BY {table}.id LIMIT ?",  # noqa: S608 - the texts above
        (last_id, max(limit, 0)),
    ).fetchall()
