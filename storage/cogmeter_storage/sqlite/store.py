"""The Store on SQLite: sends each call to the reading or the writing connection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cogmeter_storage import failure_groups
from cogmeter_storage.base import StorageError
from cogmeter_storage.lease import Lease
from cogmeter_storage.model import FAILURES, Outcome
from cogmeter_storage.operations import OperationFilter
from cogmeter_storage.sql import observations
from cogmeter_storage.sql.store import SqlStore
from cogmeter_storage.sqlite import (
    backup,
    erasure,
    maintenance,
    reader,
    recovery,
    search,
    verify,
)
from cogmeter_storage.sqlite.connection import Connection
from cogmeter_storage.sqlite.damage import DamageLog
from cogmeter_storage.sqlite.database_file import ReadOpener, WriteOpener
from cogmeter_storage.sqlite.file_identity import Loss, resolve_path
from cogmeter_storage.sqlite.writer import Writer, series_ids
from cogmeter_storage.totals import check_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.lease import LiveMinute
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
    from cogmeter_storage.process import Process, ProcessRecord
    from cogmeter_storage.rollup import SealedSlot


class SqliteStore(SqlStore):
    """The store in one SQLite file; see Store for the contract of each method."""

    def __init__(self, path: Path, url: str, reading: Connection, writer: Writer | None, damage: DamageLog) -> None:
        """Use ``SqliteStore.open`` instead; without a writer the store is read-only."""
        self._path = path
        self._url = url
        self._reading = reading
        self._writer_or_none = writer
        self._damage = damage
        self._closed = False
        self._loss: Loss | None = None  # found by reopen()
        self._saved: Path | None = None  # the copy made by reopen()
        self._save_attempts = 0  # attempts of reopen() to make it
        super().__init__(reading, lambda: self._writer, damage)

    @classmethod
    async def open(cls, path: Path, url: str, *, replace_corrupt: bool, read_only: bool) -> SqliteStore:
        """Open the file, for writing with its lock; see open_store."""
        path = resolve_path(path)
        damage = DamageLog(path)
        opener = None if read_only else WriteOpener(path, damage, replace_corrupt=replace_corrupt)
        return await cls._open(path, url, damage, opener)

    @classmethod
    async def _open(cls, path: Path, url: str, damage: DamageLog, opener: WriteOpener | None) -> SqliteStore:
        writer = None if opener is None else await _open_writer(opener, path)
        reading = Connection(path, ReadOpener(path))
        try:
            await reading.open()
        except BaseException:
            if writer is not None:
                await writer.end()
            raise
        return cls(path, url, reading, writer, damage)

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """Return the ids of these names; add new ones."""
        return await self._writer.run(series_ids, names)

    async def series(self) -> list[SeriesRecord]:
        """Return all series."""
        return await self._reading.run(reader.series)

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int, batch: BatchId | None = None) -> int:  # noqa: ARG002 - a commit is never in doubt
        """Write rows in one transaction, and seal the minutes that ended."""
        return await self._writer.append(slices, now_us=now_us)

    async def move_future_rows(self, *, now_us: int) -> bool:
        """Move rows with future times out of the way."""
        return await self._writer.move_future_rows(now_us=now_us)

    async def fold(self, *, now_us: int) -> int:
        """Fold ended hours and days."""
        return await maintenance.fold_all(self._writer, now_us)

    async def totals(
        self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None = None
    ) -> Totals:
        """Aggregate a range."""
        check_step(step_us)
        # Read before the snapshot; the reader detects a minute that was sealed in between.
        position = self._writer_or_none.position if self._writer_or_none else None
        return await self._reading.run(
            reader.totals, self._damage, position, since_us, until_us, groups=dict(groups), step_us=step_us
        )

    async def sealed_minutes(self, since_us: int, until_us: int, *, limit: int) -> list[SealedSlot]:
        """Return sealed minutes in order of time."""
        return await self._reading.run(reader.sealed_minutes, self._damage, since_us, until_us, limit)

    async def hour_versions(self, since_us: int, until_us: int) -> dict[int, object] | None:
        """Return the versions of folded hours."""
        return await self._reading.run(reader.hour_versions, self._damage, since_us, until_us)

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
            search.newest, self._damage, ids, since_us, until_us, matching=matching, limit=limit, before_id=before_id
        )

    def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[OperationRecord]]:
        """Yield all operations in order, in chunks."""
        return search.stream(self._reading, self._damage, series, since_us, until_us, rows=rows)

    async def failure_groups(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int = 50
    ) -> list[FailureGroup]:
        """Group failures by their text."""
        return await failure_groups.group_failures(self, series, since_us, until_us, limit=limit)

    async def slowest(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int
    ) -> list[OperationRecord]:
        """Return the slowest operations."""
        return await self._reading.run(search.slowest, self._damage, tuple(series), since_us, until_us, limit=limit)

    async def clean(self, retention: Retention, *, now_us: int) -> Cleaned:
        """Remove old data."""
        return await maintenance.clean(self._writer, retention, now_us)

    async def add_samples(self, at_us: int, values: Mapping[str, float]) -> None:
        """Store the gauges of one moment."""
        await self._writer.run(observations.add_samples, at_us, values)

    async def samples(self, names: Collection[str], since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return gauges by metric name."""
        return await self._reading.run(observations.read_samples, tuple(names), since_us, until_us)

    async def newest_samples(self, since_us: int) -> dict[str, float]:
        """Return the newest value of each gauge."""
        return await self._reading.run(observations.newest_samples, since_us)

    async def values_by_process(self, key: str) -> dict[str, bytes]:  # noqa: ARG002 - one process writes the file
        """Return nothing: one process writes the file."""
        return {}

    async def samples_by_process(self, name: str, since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return one gauge of the one process."""
        samples = await self.samples([name], since_us, until_us)
        return {"": samples[name]} if samples[name] else {}

    async def sample_steps(
        self, names: Collection[str], since_us: int, until_us: int, *, step_us: int
    ) -> dict[str, dict[int, SampleStep]]:
        """Implement Store.sample_steps."""
        return await observations.all_sample_steps(self._reading, names, since_us, until_us, step_us=step_us)

    @property
    def shared(self) -> bool:
        """False: one process writes the file, and keeps its lock."""
        return False

    async def lead(self) -> Lease:
        """Return a lease that does not end."""
        return Lease(leads=True)

    async def resign(self) -> None:
        """Do nothing: there is no other process."""

    async def live_minutes(self, since_us: int) -> list[LiveMinute]:  # noqa: ARG002 - there is no other process
        """Return nothing: ``totals`` is exact for one process."""
        return []

    @property
    def process(self) -> Process | None:
        """None: one process writes the file."""
        return None

    async def processes(self) -> list[ProcessRecord]:
        """Return nothing: one process writes the file."""
        return []

    async def totals_by_process(
        self,
        since_us: int,  # noqa: ARG002 - one process writes the file
        until_us: int,  # noqa: ARG002 - as above
        *,
        groups: Mapping[int, int],  # noqa: ARG002 - as above
    ) -> dict[str, Totals]:
        """Return nothing: one process writes the file."""
        return {}

    def of_process(self, name: str) -> SqliteStore:  # noqa: ARG002 - one process writes the file
        """Return this store."""
        return self

    @property
    def own(self) -> SqliteStore:
        """This store."""
        return self

    async def first_us(self) -> int | None:
        """Return the start of the stored statistics."""
        return await self._reading.run(reader.first_us, self._damage)

    async def status(self) -> StoreStatus:
        """Return size, time range and last write."""
        writer = self._writer_or_none
        last_write_us = writer.last_write_us if writer else None
        return await self._reading.run(
            reader.status, self._damage, self._path, url=self._url, last_write_us=last_write_us
        )

    async def backup(self, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write a copy to a new file on an extra connection, so that no other query waits for it."""
        async with AsyncExitStack() as stack:
            if self._writer_or_none is not None:
                source = await stack.enter_async_context(self._writer.extra_connection(ReadOpener(self._path)))
            else:
                source = Connection(self._path, ReadOpener(self._path))
                await source.open()
                stack.push_async_callback(source.end)
            await backup.backup(source, path, progress, closing=lambda: self._closed)

    async def vacuum(self) -> None:
        """Return unused space to the file system."""
        await self._writer.run(backup.compact)

    async def verify(self) -> Damage:
        """Find damage everywhere, and repair what can be repaired."""
        await verify.verify(self._reading, self._writer_or_none, self._damage)
        return (await self.status()).damage

    async def erase_person(self, person: Person) -> Erased:
        """Erase the data that identifies one person."""
        return await erasure.erase_person(self._writer, person)

    def stop_waiting(self) -> None:
        """Wait at most two more seconds for locks of other programs."""
        if self._writer_or_none is not None:
            self._writer_or_none.stop_waiting()

    async def reopen(self) -> tuple[SqliteStore, str]:
        """Close this store and open its path again; see Store.reopen."""
        writer = self._writer
        if not self._closed:
            self._loss = await asyncio.to_thread(writer.identity.loss)
            if self._loss is not None:
                self._save_attempts += 1
                last = self._save_attempts >= recovery.MAX_SAVE_ATTEMPTS
                self._saved = await recovery.save_copy(self._reading, self._path, last=last)
            await self._abandon(writer)
        copy = None
        if self._loss is not None:
            copy = await asyncio.to_thread(recovery.prepare_path, writer.identity, self._loss, self._saved)
        damage = DamageLog(self._path)
        is_new = not await asyncio.to_thread(self._path.exists)
        saved = copy if is_new or self._loss is Loss.LOG else None
        opener = WriteOpener(self._path, damage, replace_corrupt=True, saved=saved)
        store = await SqliteStore._open(self._path, self._url, damage, opener)
        if writer.stopping:
            store.stop_waiting()
        if self._loss is Loss.LOG and saved is not None and not opener.copied.failed:
            await asyncio.to_thread(saved.unlink)
        return store, recovery.describe_result(self._path, self._loss, self._saved, copy, opener.copied)

    async def _abandon(self, writer: Writer) -> None:
        """Close without a checkpoint, because the database at the path may be another one by now.

        The last connection to close would make one. Here that is the reading one, which cannot write.
        """
        self._closed = True
        try:
            await writer.end(exclusive=True)
        finally:
            await self._reading.end()

    async def close(self) -> None:
        """Release the threads, the file and its lock."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._reading.end()
        finally:
            # Last: the last connection to close empties the write-ahead log, and only the writer may.
            if self._writer_or_none is not None:
                await self._writer_or_none.end()

    @property
    def _writer(self) -> Writer:
        if self._writer_or_none is None:
            raise StorageError(f"Database {self._path} has been opened for reading only.", permanent=True)
        return self._writer_or_none


async def _open_writer(opener: WriteOpener, path: Path) -> Writer:
    connection = Connection(path, opener)
    await connection.open()
    return Writer(connection, opener.position, opener.identity, opener.damage, lock_timeout_s=opener.lock_timeout_s)
