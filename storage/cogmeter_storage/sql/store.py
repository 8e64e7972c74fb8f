"""What the stores of all engines do in the same way: the small tables, and values by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter_storage.sql import new_records, observations
from cogmeter_storage.sql.alert_store import SqlAlertStore
from cogmeter_storage.sql.costs import SqlCostStore
from cogmeter_storage.sql.error_store import SqlErrorStore
from cogmeter_storage.sql.usage import SqlUsageStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cogmeter_storage.model import Marker, NewRecords, RecordPosition, TraceRecord
    from cogmeter_storage.sql.session import DamagedRows, Runner


class SqlStore:
    """The part of Store that is the same for every engine; see Store for the contract of each method."""

    def __init__(self, reading: Runner, writer: Callable[[], Runner], damage: DamagedRows) -> None:
        """``writer`` raises StorageError when the store is read-only."""
        self._sql_reading = reading
        self._sql_writer = writer
        self._damaged_rows = damage
        self._alerting = SqlAlertStore(reading, writer)
        self._errors = SqlErrorStore(reading, writer, damage)
        self._usage = SqlUsageStore(reading, writer, damage)
        self._costs = SqlCostStore(reading, writer)

    @property
    def alerting(self) -> SqlAlertStore:
        """The alerts and what belongs to them."""
        return self._alerting

    @property
    def errors(self) -> SqlErrorStore:
        """The error groups."""
        return self._errors

    @property
    def usage(self) -> SqlUsageStore:
        """The distinct users and guilds of series, and counts by hour."""
        return self._usage

    @property
    def costs(self) -> SqlCostStore:
        """The costs."""
        return self._costs

    async def new_records(self, position: RecordPosition, *, limit: int) -> NewRecords:
        """Return what was stored after a position."""
        return await self._sql_reading.run(new_records.read, self._damaged_rows, position, limit)

    async def newest_position(self) -> RecordPosition:
        """Return the position after everything."""
        return await self._sql_reading.run(new_records.newest)

    async def add_traces(self, traces: Sequence[TraceRecord]) -> None:
        """Store traces."""
        await self._sql_writer().run(observations.add_traces, traces)

    async def traces(
        self,
        service: str | None,
        operation: str | None,
        since_us: int,
        *,
        limit: int,
        until_us: int | None = None,
        one_each: bool = False,
        involving: tuple[str, str | None] | None = None,
    ) -> list[TraceRecord]:
        """Return traces, slowest first."""
        subject = observations.TraceFilter(service, operation, since_us, until_us, one_each, involving)
        return await self._sql_reading.run(observations.slowest_traces, self._damaged_rows, subject, limit=limit)

    async def add_marker(self, marker: Marker) -> Marker:
        """Store a marker."""
        return await self._sql_writer().run(observations.add_marker, marker)

    async def markers(self, since_us: int, until_us: int, *, limit: int = 100) -> list[Marker]:
        """Return markers in order of time."""
        return await self._sql_reading.run(observations.read_markers, since_us, until_us, limit)

    async def set_value(self, key: str, value: bytes) -> None:
        """Store a few bytes under a key."""
        await self._sql_writer().run(observations.set_value, self._key(key), value)

    async def add_value(self, key: str, value: bytes) -> bytes:
        """Store a few bytes under a key without a value."""
        return await self._sql_writer().run(observations.add_value, self._key(key), value)

    async def get_value(self, key: str) -> bytes | None:
        """Return the bytes under a key."""
        return await self._sql_reading.run(observations.get_value, self._key(key))

    def _key(self, key: str) -> str:
        """Return the stored key of a value."""
        return key
