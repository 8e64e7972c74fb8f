"""The Store on SQLite: which connection each question goes to."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cogmeter_storage import error_groups
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import FAILURES, Outcome
from cogmeter_storage.sqlite import backup, erasure, maintenance, markers, reader, recovery, search, stream, verify
from cogmeter_storage.sqlite import samples as sample_rows
from cogmeter_storage.sqlite import traces as trace_rows
from cogmeter_storage.sqlite.alerting import SqliteAlertStore
from cogmeter_storage.sqlite.connection import Connection
from cogmeter_storage.sqlite.damage import DamageLog
from cogmeter_storage.sqlite.database_file import Readable, Writable
from cogmeter_storage.sqlite.identity import Loss
from cogmeter_storage.sqlite.lock import resolved
from cogmeter_storage.sqlite.writer import Writer, series_ids
from cogmeter_storage.totals import check_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.model import (
        Cleaned,
        Damage,
        ErrorGroup,
        Marker,
        Operation,
        Person,
        Retention,
        Row,
        Series,
        StoreStatus,
        Totals,
        TraceRecord,
    )


class SqliteStore:
    """Operations in one SQLite file; see Store for what each method promises.

    A cancelled append has written all or nothing; shield it to know which.
    """

    def __init__(self, path: Path, url: str, reading: Connection, writer: Writer | None, damage: DamageLog) -> None:
        """Made by ``SqliteStore.open``; without a writer it is for reading alone."""
        self._path = path
        self._url = url
        self._reading = reading
        self._writer_or_none = writer
        self._damage = damage
        self._closed = False
        self._loss: Loss | None = None  # what reopen() found
        self._saved: Path | None = None  # the copy that it made, ...
        self._saves = 0  # ... and how often it tried
        self._alerting = SqliteAlertStore(reading, lambda: self._writer)

    @classmethod
    async def open(cls, path: Path, url: str, *, replace_corrupt: bool, read_only: bool) -> SqliteStore:
        """Open the file, for writing with its lock; see open_store."""
        path = resolved(path)
        damage = DamageLog(path)
        writable = None if read_only else Writable(path, damage, replace_corrupt=replace_corrupt)
        return await cls._open(path, url, damage, writable)

    @classmethod
    async def _open(cls, path: Path, url: str, damage: DamageLog, writable: Writable | None) -> SqliteStore:
        writer = None if writable is None else await _open_writer(writable, path)
        reading = Connection(path, Readable(path))
        try:
            await reading.open()
        except BaseException:
            if writer is not None:
                await writer.end()
            raise
        return cls(path, url, reading, writer, damage)

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """The ids of these names; new ones are added."""
        return await self._writer.run(series_ids, names)

    async def series(self) -> list[Series]:
        """All series."""
        return await self._reading.run(reader.series)

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int) -> int:
        """Write rows in one transaction, and seal the minutes that ended."""
        return await self._writer.append(slices, now_us=now_us)

    async def set_apart(self, *, now_us: int) -> bool:
        """Move what lies in the future out of the way."""
        return await self._writer.set_apart(now_us=now_us)

    async def fold(self, *, now_us: int) -> int:
        """Fold ended hours and days."""
        return await maintenance.fold_all(self._writer, now_us)

    async def totals(
        self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None = None
    ) -> Totals:
        """Aggregates of a range."""
        check_step(step_us)
        # The head is taken before the snapshot; the reader notices when a minute has been sealed between the two.
        head = self._writer_or_none.head if self._writer_or_none else None
        return await self._reading.run(
            reader.totals, self._damage, head, since_us, until_us, groups=dict(groups), step_us=step_us
        )

    async def recent(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int, failed: bool = False
    ) -> list[Operation]:
        """The latest operations."""
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
    ) -> list[Operation]:
        """The latest operations, page by page."""
        wanted = search.Wanted(frozenset(Outcome if outcomes is None else outcomes), slower_than_us)
        ids = None if series is None else tuple(series)
        at = (ids, since_us, until_us)
        return await self._reading.run(
            search.newest, self._damage, *at, wanted=wanted, limit=limit, before_id=before_id
        )

    def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[Operation]]:
        """All operations in order, in chunks."""
        return stream.stream(self._reading, self._damage, series, since_us, until_us, rows=rows)

    async def error_groups(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int = 50
    ) -> list[ErrorGroup]:
        """Failures by what they say."""
        return await error_groups.group(self, series, since_us, until_us, limit=limit)

    async def slowest(self, series: Collection[int], since_us: int, until_us: int, *, limit: int) -> list[Operation]:
        """The slowest operations."""
        return await self._reading.run(search.slowest, self._damage, tuple(series), since_us, until_us, limit=limit)

    async def clean(self, retention: Retention, *, now_us: int) -> Cleaned:
        """Remove what is too old."""
        return await maintenance.clean(self._writer, retention, now_us)

    async def add_traces(self, traces: Sequence[TraceRecord]) -> None:
        """Keep traces."""
        await self._writer.run(trace_rows.add, traces)

    async def traces(
        self, service: str | None, operation: str | None, since_us: int, *, limit: int
    ) -> list[TraceRecord]:
        """Traces, slowest first."""
        return await self._reading.run(
            trace_rows.slowest, self._damage, service, operation, since_us=since_us, limit=limit
        )

    async def add_samples(self, at_us: int, values: Mapping[str, float]) -> None:
        """Keep the gauges of one moment."""
        await self._writer.run(sample_rows.add, at_us, values)

    async def samples(self, names: Collection[str], since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Gauges by metric name."""
        return await self._reading.run(sample_rows.read, tuple(names), since_us, until_us)

    async def add_marker(self, marker: Marker) -> Marker:
        """Keep a marker."""
        return await self._writer.run(markers.add, marker)

    async def markers(self, since_us: int, until_us: int, *, limit: int = 100) -> list[Marker]:
        """Markers in order of time."""
        return await self._reading.run(markers.read, since_us, until_us, limit)

    async def remember(self, key: str, value: bytes) -> None:
        """Keep a few bytes."""
        await self._writer.run(markers.remember, key, value)

    async def recall(self, key: str) -> bytes | None:
        """The bytes that are kept."""
        return await self._reading.run(markers.recall, key)

    @property
    def alerting(self) -> SqliteAlertStore:
        """Alerts and what belongs to them."""
        return self._alerting

    async def status(self) -> StoreStatus:
        """Size, extent and last write."""
        writer = self._writer_or_none
        last_write_us = writer.last_write_us if writer else None
        return await self._reading.run(
            reader.status, self._damage, self._path, url=self._url, last_write_us=last_write_us
        )

    async def backup(self, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write a copy to a new file, by a connection of its own, so that no other question waits for it."""
        async with AsyncExitStack() as stack:
            if self._writer_or_none is not None:
                source = await stack.enter_async_context(self._writer.beside(Readable(self._path)))
            else:
                source = Connection(self._path, Readable(self._path))
                await source.open()
                stack.push_async_callback(source.end)
            await backup.backup(source, path, progress, closing=lambda: self._closed)

    async def vacuum(self) -> None:
        """Give free room back."""
        await self._writer.run(backup.compact)

    async def verify(self) -> Damage:
        """Look for damage everywhere, and repair what can be repaired."""
        await verify.verify(self._reading, self._writer_or_none, self._damage)
        return (await self.status()).damage

    async def forget(self, person: Person) -> int:
        """Remove what leads to one person."""
        return await erasure.forget(self._writer, person)

    def stop_waiting(self) -> None:
        """Wait for locks of other programs for two seconds more."""
        if self._writer_or_none is not None:
            self._writer_or_none.hurry()

    async def reopen(self) -> tuple[SqliteStore, str]:
        """Close this store, and open its path again; see Store.reopen."""
        writer = self._writer
        if not self._closed:
            self._loss = await asyncio.to_thread(writer.identity.loss)
            if self._loss is not None:
                self._saves += 1
                last = self._saves >= recovery.SAVES
                self._saved = await recovery.save(self._reading, self._path, last=last)
            await self._abandon(writer)
        spare = None
        if self._loss is not None:
            spare = await asyncio.to_thread(recovery.prepare, writer.identity, self._loss, self._saved)
        damage = DamageLog(self._path)
        is_new = not await asyncio.to_thread(self._path.exists)
        saved = spare if is_new or self._loss is Loss.LOG else None
        writable = Writable(self._path, damage, replace_corrupt=True, saved=saved)
        store = await SqliteStore._open(self._path, self._url, damage, writable)
        if writer.hurried:
            store.stop_waiting()
        if self._loss is Loss.LOG and saved is not None and not writable.recovered.failed:
            await asyncio.to_thread(saved.unlink)
        return store, recovery.report(self._path, self._loss, self._saved, spare, writable.recovered)

    async def _abandon(self, writer: Writer) -> None:
        """Close without bringing the write-ahead log into the database, which may be another one by now.

        The last connection to close would do that. Here it is the reading one, which cannot write.
        """
        self._closed = True
        try:
            await writer.end(alone=True)
        finally:
            await self._reading.end()

    async def close(self) -> None:
        """Give the threads, the file and its lock back."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._reading.end()
        finally:
            # Last, because the last connection to close empties the write-ahead log, and only the writer may.
            if self._writer_or_none is not None:
                await self._writer_or_none.end()

    @property
    def _writer(self) -> Writer:
        if self._writer_or_none is None:
            raise StorageError(f"Database {self._path} has been opened for reading alone.", permanent=True)
        return self._writer_or_none


async def _open_writer(writable: Writable, path: Path) -> Writer:
    connection = Connection(path, writable)
    await connection.open()
    return Writer(connection, writable.head, writable.identity, writable.damage, patience_s=writable.patience_s)
