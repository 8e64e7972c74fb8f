"""The Store on PostgreSQL: sends each call to the reading or the writing connection."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from cogmeter_storage import failure_groups
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import FAILURES, Outcome, Tier
from cogmeter_storage.operations import OperationFilter
from cogmeter_storage.postgres import erasure, gauges, leases, maintenance, reader, search
from cogmeter_storage.postgres.connection import PostgresConnection, shown_name
from cogmeter_storage.postgres.damage import PostgresDamage
from cogmeter_storage.postgres.writer import PostgresWriter, series_ids
from cogmeter_storage.process import Process
from cogmeter_storage.sql import observations
from cogmeter_storage.sql.costs import SqlCostStore
from cogmeter_storage.sql.store import SqlStore
from cogmeter_storage.totals import check_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.lease import Lease, LiveMinute
    from cogmeter_storage.model import (
        BatchId,
        Cleaned,
        Damage,
        Erased,
        FailureGroup,
        OperationRecord,
        Person,
        Retention,
        Row,
        SampleStep,
        SeriesRecord,
        StoreStatus,
        Totals,
    )
    from cogmeter_storage.process import ProcessRecord
    from cogmeter_storage.rollup import SealedSlot


class PostgresStore(SqlStore):
    """The store in one PostgreSQL database, which other processes share; see Store for the contract of each method."""

    def __init__(self, url: str, reading: PostgresConnection, writer: PostgresWriter | None, process: Process) -> None:
        """Use ``PostgresStore.open`` instead; without a writer the store is read-only."""
        self._url = url
        self._reading = reading
        self._writer_or_none = writer
        self._process = process
        self._only: str | None = None  # the process to which it is narrowed
        self._own: PostgresStore | None = None
        self._damage = PostgresDamage(reading.name)
        self._leasing: PostgresConnection | None = None  # from the first ``lead`` on
        super().__init__(reading, lambda: self._writer, self._damage)

    @classmethod
    async def open(cls, url: str, *, read_only: bool, process: Process | None = None) -> PostgresStore:
        """Connect, upgrade the tables, and begin a run of this process; see open_store."""
        process = process or Process()
        reading = PostgresConnection(url, application=f"cogmeter {process.name}", only_reads=True)
        writer = None
        await reading.open()
        try:
            if not read_only:
                writer = await _open_writer(url, process)
        except BaseException:
            await reading.end()
            raise
        return cls(url, reading, writer, process)

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """Return the ids of these names; add new ones."""
        return await self._writer.run(series_ids, names)

    async def series(self) -> list[SeriesRecord]:
        """Return all series."""
        return await self._reading.run(reader.series)

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int, batch: BatchId | None = None) -> int:
        """Write rows in one transaction, and seal the minutes that ended."""
        return await self._writer.append(slices, now_us=now_us, batch=batch)

    async def move_future_rows(self, *, now_us: int) -> bool:
        """Move rows with future times out of the way."""
        return await self._writer.move_future_rows(now_us)

    async def fold(self, *, now_us: int) -> int:
        """Fold ended hours and days."""
        return await maintenance.fold_all(self._writer, self._damage, now_us)

    async def totals(
        self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None = None
    ) -> Totals:
        """Aggregate a range."""
        check_step(step_us)
        return await self._reading.run(
            reader.totals, self._damage, since_us, until_us, groups=dict(groups), step_us=step_us, only=self._only
        )

    async def totals_by_process(self, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> dict[str, Totals]:
        """Aggregate a range of each process."""
        return await self._reading.run(
            reader.totals_by_process, self._damage, since_us, until_us, groups=dict(groups), only=self._only
        )

    async def sealed_minutes(self, since_us: int, until_us: int, *, limit: int) -> list[SealedSlot]:
        """Return sealed minutes of this process in order of time."""
        reached_us = self._writer_or_none.reached_us if self._writer_or_none else clock.now_us()
        return await self._reading.run(
            reader.sealed_minutes,
            self._damage,
            since_us,
            until_us,
            limit,
            only=self._process.name,
            reached_us=reached_us,
        )

    async def hour_versions(self, since_us: int, until_us: int) -> dict[int, object] | None:
        """Return the versions of folded hours."""
        return await self._reading.run(reader.hour_versions, since_us, until_us, only=self._only)

    async def recent(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int, failed: bool = False
    ) -> list[OperationRecord]:
        """Return the latest operations."""
        outcomes = FAILURES if failed else None
        return await self.page(series, since_us, until_us, limit=limit, outcomes=outcomes)

    async def page(
        self,
        series: Collection[int] | None,
        since_us: int,
        until_us: int,
        *,
        limit: int,
        before_id: int | None = None,
        outcomes: Collection[Outcome] | None = None,
        slower_than_us: int = 0,
    ) -> list[OperationRecord]:
        """Return one page of the latest operations."""
        matching = OperationFilter(frozenset(Outcome if outcomes is None else outcomes), slower_than_us)
        ids = None if series is None else tuple(series)
        return await self._reading.run(
            search.newest,
            self._damage,
            ids,
            since_us,
            until_us,
            matching=matching,
            limit=limit,
            before_id=before_id,
            only=self._only,
        )

    def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[OperationRecord]]:
        """Yield all operations in order, in chunks."""
        return search.stream(self._reading, series, since_us, until_us, rows=rows, only=self._only)

    async def failure_groups(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int = 50
    ) -> list[FailureGroup]:
        """Group failures by their text."""
        return await failure_groups.group_failures(self, series, since_us, until_us, limit=limit)

    async def slowest(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int
    ) -> list[OperationRecord]:
        """Return the slowest operations."""
        return await self._reading.run(
            search.slowest, self._damage, tuple(series), since_us, until_us, limit=limit, only=self._only
        )

    async def clean(self, retention: Retention, *, now_us: int) -> Cleaned:
        """Remove old data."""
        return await maintenance.clean(self._writer, retention, now_us)

    async def add_samples(self, at_us: int, values: Mapping[str, float]) -> None:
        """Store the gauges of one moment of this process."""
        await self._writer.run(gauges.add_samples, at_us, values, self._process.name)

    async def samples(self, names: Collection[str], since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return gauges of one process by metric name."""
        process = await self._gauges_of()
        return await self._reading.run(gauges.read_samples, tuple(names), since_us, until_us, process)

    async def newest_samples(self, since_us: int) -> dict[str, float]:
        """Return the newest value of each gauge of one process."""
        process = await self._gauges_of()
        return await self._reading.run(observations.newest_samples, since_us, gauges.metric_of(process, ""))

    async def samples_by_process(self, name: str, since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return one gauge of every process."""
        return await self._reading.run(gauges.by_process, name, since_us, until_us, self._only)

    async def values_by_process(self, key: str) -> dict[str, bytes]:
        """Return one value of every process."""
        return await self._reading.run(gauges.values_by_process, key)

    async def sample_steps(
        self, names: Collection[str], since_us: int, until_us: int, *, step_us: int
    ) -> dict[str, dict[int, SampleStep]]:
        """Implement Store.sample_steps."""
        process = await self._gauges_of()
        metrics = {name: gauges.metric_of(process, name) for name in names}
        found = await observations.all_sample_steps(
            self._reading, tuple(metrics.values()), since_us, until_us, step_us=step_us
        )
        return {name: found[metric] for name, metric in metrics.items()}

    async def _gauges_of(self) -> str:
        """Return the process whose gauges are read: the chosen one, or this one, or that of ``present_process``."""
        if self._only is not None or self._writer_or_none is not None:
            return self._only or self._process.name
        return await self._reading.run(gauges.present_process)

    @property
    def shared(self) -> bool:
        """True: any number of processes may write."""
        return True

    async def lead(self) -> Lease:
        """Become or stay the leader."""
        if self._leasing is None:
            self._leasing = await self._open_leasing()
        return await self._leasing.run(leases.lead, self._writer.run_id)

    async def resign(self) -> None:
        """Let another process lead."""
        if self._leasing is not None:
            await self._leasing.run(leases.resign, self._writer.run_id)

    async def live_minutes(self, since_us: int) -> list[LiveMinute]:
        """Return the newest minutes of each process."""
        own = frozenset(self._writer.runs) if self._writer_or_none else frozenset()
        return await self._reading.run(reader.live_minutes, self._damage, since_us, own)

    async def _open_leasing(self) -> PostgresConnection:
        """Connect once more: no query and no append may delay a renewal."""
        connection = PostgresConnection(self._url, application=f"cogmeter {self._process.name}")
        await connection.open()
        return connection

    @property
    def process(self) -> Process | None:
        """The process that it writes for; None if it is read-only."""
        return None if self._writer_or_none is None else self._process

    async def processes(self) -> list[ProcessRecord]:
        """Return the last start of each process."""
        return await self._reading.run(reader.processes)

    def of_process(self, name: str) -> PostgresStore:
        """Return this store with the operations of one process only; it shares the connections of this one."""
        narrowed = copy(self)
        narrowed.narrow(name)
        return narrowed

    def narrow(self, name: str) -> None:
        """Use the operations and values of one process only."""
        self._only = name
        self._own = None
        self._costs = SqlCostStore(self._reading, lambda: self._writer, self._key)

    def _key(self, key: str) -> str:
        """Return the stored key of a value: those of one process have its name."""
        return key if self._only is None else gauges.value_key(key, self._only)

    @property
    def own(self) -> PostgresStore:
        """This store, narrowed to the process that opened it."""
        if self._own is None:
            self._own = self if self._only == self._process.name else self.of_process(self._process.name)
        return self._own

    async def first_us(self) -> int | None:
        """Return the start of the stored statistics."""
        return await self._reading.run(reader.first_us, only=self._only)

    async def status(self) -> StoreStatus:
        """Return size, time range and last write."""
        writer = self._writer_or_none
        last_write_us = writer.last_write_us if writer else None
        url = f"postgresql://{shown_name(self._url)}"
        return await self._reading.run(
            reader.status, self._damage, url=url, last_write_us=last_write_us, only=self._only
        )

    async def backup(self, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write a copy to a new SQLite file, on an extra connection; operations get the ids of such a file."""
        from cogmeter_storage.transfer import backup_postgres  # imports SQLite's side

        await backup_postgres(self._url, path, progress)

    async def vacuum(self) -> None:
        """Return unused space to the file system."""
        await self._writer.run_long(maintenance.vacuum)

    async def verify(self) -> Damage:
        """Read every slot and count damaged ones."""
        for tier in Tier:
            await self._reading.run_long(maintenance.read_tier, self._damage, tier)
        return (await self.status()).damage

    async def erase_person(self, person: Person) -> Erased:
        """Erase the data that identifies one person."""
        return await erasure.erase_person(self._writer, person)

    def stop_waiting(self) -> None:
        """Limit further waiting for locks: PostgreSQL's are short, and a lost server ends a call by its timeouts."""

    async def reopen(self) -> tuple[PostgresStore, str]:
        """Close this store and connect again; see Store.reopen."""
        await self.close()
        store = await PostgresStore.open(self._url, read_only=self._writer_or_none is None, process=self._process)
        return store, f"connected to {self._reading.name} again"

    async def close(self) -> None:
        """End the run, and close both connections."""
        leasing, self._leasing = self._leasing, None
        if leasing is not None:
            await leasing.end()
        if self._writer_or_none is not None:
            await self._writer_or_none.end()
        await self._reading.end()

    @property
    def _writer(self) -> PostgresWriter:
        if self._writer_or_none is None:
            raise StorageError(f"Database {self._reading.name} was opened for reading only.", permanent=True)
        return self._writer_or_none


async def _open_writer(url: str, process: Process) -> PostgresWriter:
    connection = PostgresConnection(url, application=f"cogmeter {process.name}")
    await connection.open()
    writer = PostgresWriter(connection, process)
    try:
        await connection.run(partial(maintenance.migrate, name=connection.name))
        await writer.begin_run()
        if clock.credible:
            await writer.move_future_rows(clock.now_us())
    except BaseException:
        await connection.end()
        raise
    return writer
