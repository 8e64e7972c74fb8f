"""The Store protocol. Its docstrings are the contract, and one test suite checks every back end against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cogmeter_storage.sharing import SharedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.alerting import AlertStore
    from cogmeter_storage.costs import CostStore
    from cogmeter_storage.errors import ErrorStore
    from cogmeter_storage.model import (
        BatchId,
        Cleaned,
        Damage,
        Erased,
        FailureGroup,
        Marker,
        NewRecords,
        OperationRecord,
        Outcome,
        Person,
        RecordPosition,
        Retention,
        Row,
        SampleStep,
        SeriesRecord,
        StoreStatus,
        Totals,
        TraceRecord,
    )
    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.usage import UsageStore


class StorageError(Exception):
    """The store cannot do what was requested. The text names the problem and the next step.

    ``permanent`` is true when a retry is useless (not a database, a newer schema, a second writer). It is false when a
    retry may work (a full disk, a lock).
    """

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class CorruptStoreError(StorageError):
    """The database is damaged. ``open_store(..., replace_corrupt=True)`` sets it aside and starts a new one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class DetachedStoreError(StorageError):
    """The open database is no longer the file at its path; nothing was written. ``Store.reopen`` repairs it.

    The file was deleted, moved or replaced, or another program removed its write-ahead log.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=False)


class AccessRefusedError(StorageError):
    """The server is there, but refuses user, password or database: the settings must be changed on one of the sides.

    It is not permanent: a running bot keeps its operations until the server accepts it again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=False)


class Store(SharedStore, Protocol):
    """A store of operations.

    One writer appends, and readers never wait for it. Every method may raise StorageError. After a failed write the
    store is unchanged, so the same call can be repeated.
    """

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """Return the ids of these (service, operation) pairs in their order; add new pairs."""
        ...

    async def series(self) -> list[SeriesRecord]:
        """Return all series, ordered by service and operation."""
        ...

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int, batch: BatchId | None = None) -> int:
        """Append rows in one transaction, and seal every minute that ended by ``now_us``.

        Rows are ordered by end time. An end time before the last stored one, or before the end of the last sealed
        minute, is moved forward to it and counted. Each slice is converted and written in one turn of the loop: use
        slices of 100 to 250 rows. Without rows, the call only seals. To import history, pass the end of the imported
        range as ``now_us``. Returns the number of rows written. A cancelled append has written everything or nothing;
        shield it to know which. A store on a server records the id of ``batch`` in the same transaction. If it has been
        recorded before, or a later one of its source, nothing is written, and the result is the same.

        Raises ValueError for an invalid outcome or series id; nothing is written then.
        """
        ...

    async def move_future_rows(self, *, now_us: int) -> bool:
        """Move rows that were recorded while the clock was ahead: more than five minutes after ``now_us``.

        Operations, slots, samples, traces and markers with later times go to the table ``set_apart``. A clean-up
        removes them once that move is older than the retention; ``status`` counts them. Alerts, deliveries, error
        groups and their records stay, and their later times become ``now_us``; mutes start then and keep their length.
        Later appends follow the rows that remain. Opening a store for writing does the same with the wall clock.
        Returns whether anything was corrected.
        """
        ...

    async def fold(self, *, now_us: int) -> int:
        """Fold sealed minutes into hours, and hours into days, that ended by ``now_us``; also those of usage and costs.

        Returns the number of slots of operations written. Folding again writes nothing. A minute that is sealed after
        its hour or day was folded is added to them when it is sealed.
        """
        ...

    async def totals(
        self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None = None
    ) -> Totals:
        """Aggregate the operations that ended in [since_us, until_us).

        ``groups`` maps a series id to a group number 0..n-1; other series are left out. Without ``step_us`` there is
        one bin. With it (a positive multiple of a minute) bins of that width begin at the covered start. The range is
        widened to whole minutes, or to whole hours or days where only those are stored; each of these counts in the bin
        in which it starts. Days are UTC. The open minute is included. The result contains the covered range. Raises
        ValueError for another ``step_us``.
        """
        ...

    async def sealed_minutes(self, since_us: int, until_us: int, *, limit: int) -> list[SealedSlot]:
        """Return the first ``limit`` sealed minutes that start in [since_us, until_us), in order of time.

        No later operation changes a sealed minute. Minutes without operations are left out, and so are those that were
        cleaned up.
        """
        ...

    async def new_records(self, position: RecordPosition, *, limit: int) -> NewRecords:
        """Return the traces, alert changes and markers that were stored after ``position``, in that order.

        At most ``limit`` of each kind are returned, and the position after them. A record that cannot be read is
        passed over.
        """
        ...

    async def newest_position(self) -> RecordPosition:
        """Return the position after everything that is stored."""
        ...

    async def hour_versions(self, since_us: int, until_us: int) -> dict[int, object] | None:
        """Return the version of each folded hour in [since_us, until_us) by its start.

        The statistics of an hour, as ``totals`` returns them, change only with its version. An hour is left out while
        no operation after it is stored, and while it has no operations. None if only days are stored for some of them.
        """
        ...

    async def recent(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int, failed: bool = False
    ) -> list[OperationRecord]:
        """Return the latest operations of these series that ended in the range, newest first.

        With ``failed``, return only failures.
        """
        ...

    async def slowest(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int
    ) -> list[OperationRecord]:
        """Return the slowest operations of these series that ended in the range, slowest first, then newest first."""
        ...

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
        """Return one page of the operations of these series (None: all) that ended in the range, newest first.

        ``before_id`` is the id of the last operation of the previous page. ``outcomes`` (None: all) and
        ``slower_than_us`` (the minimum duration, inclusive) filter. Operations that are recorded later come before the
        first page, so pages do not shift.
        """
        ...

    def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[OperationRecord]]:
        """Yield the operations of these series (None: all) that ended in the range, in order of end time and id.

        Each chunk has 1 to ``rows`` operations and is read on demand. Nothing stays open between two chunks, so a slow
        reader blocks neither writing, clean-up nor other queries. Operations recorded after the first chunk was
        requested are left out, as are those cleaned up before they are reached. Raises ValueError when ``rows`` is
        below 1.
        """
        ...

    async def failure_groups(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int = 50
    ) -> list[FailureGroup]:
        """Group the failures of these series (None: all) that ended in the range; return the largest groups first.

        At most the newest 20,000 failures are read. If there are more, every group has ``truncated`` set.
        """
        ...

    async def clean(self, retention: Retention, *, now_us: int) -> Cleaned:
        """Remove data older than the retention, in small transactions with pauses, so that no write waits long.

        Operations and minutes are removed in whole hours, hours in whole days. Traces, samples, ended deliveries,
        attempts and ended mutes are kept as long as operations; resolved alerts (with everything that belongs to them),
        markers and the audit log as long as days; error groups as long as errors, after their last one; usage and
        costs as UsageStore and CostStore say. These stay: operations that are not sealed, slots that are not folded yet
        (call fold() first), alerts that are not resolved, and waiting deliveries.
        """
        ...

    async def add_traces(self, traces: Sequence[TraceRecord]) -> None:
        """Store traces, all or none of them; the store assigns the ids."""
        ...

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
        """Return the traces that ended in [since_us, until_us), of one service and operation name or (None) of all.

        ``involving`` chooses those with a span of this service and operation name (None: any) among the slowest 2,000.

        The slowest come first, then the newest, so a limit drops the least important ones. With ``one_each``, only the
        slowest of each service and operation name is returned. A trace that lasted for more than an hour before the
        range may be left out.
        """
        ...

    async def add_samples(self, at_us: int, values: Mapping[str, float]) -> None:
        """Store the gauges of one moment by metric name; a later value for the same moment replaces the first.

        Values that are not finite are left out.
        """
        ...

    async def samples(self, names: Collection[str], since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return for each name its (time, value) pairs in [since_us, until_us), in order of time.

        They are those of this process; of another one see ``of_process``.
        """
        ...

    async def newest_samples(self, since_us: int) -> dict[str, float]:
        """Return the newest value of each gauge of this process that was sampled since then; see ``samples``."""
        ...

    async def sample_steps(
        self, names: Collection[str], since_us: int, until_us: int, *, step_us: int
    ) -> dict[str, dict[int, SampleStep]]:
        """Aggregate samples in [since_us, until_us) by name and by the number of their step, from 0 at ``since_us``.

        A step without samples is left out. The store aggregates a part of the range at a time, so a long range delays
        no other query. Raises ValueError when ``step_us`` is below 1.
        """
        ...

    async def add_marker(self, marker: Marker) -> Marker:
        """Store a marker and return it with its id."""
        ...

    async def markers(self, since_us: int, until_us: int, *, limit: int = 100) -> list[Marker]:
        """Return the newest ``limit`` markers in [since_us, until_us), in order of time."""
        ...

    async def set_value(self, key: str, value: bytes) -> None:
        """Store a few bytes under a key; replace its previous value."""
        ...

    async def add_value(self, key: str, value: bytes) -> bytes:
        """Store a few bytes under a key that has no value yet; return the value that it has now."""
        ...

    async def get_value(self, key: str) -> bytes | None:
        """Return the bytes that are stored under the key, or None."""
        ...

    @property
    def alerting(self) -> AlertStore:
        """The alerts, deliveries, mutes and threshold overrides; see AlertStore."""
        ...

    @property
    def errors(self) -> ErrorStore:
        """The error groups with their counts and examples; see ErrorStore."""
        ...

    @property
    def usage(self) -> UsageStore:
        """The distinct users and guilds of series, and counts by hour; see UsageStore."""
        ...

    @property
    def costs(self) -> CostStore:
        """The sums of tokens and money; see CostStore."""
        ...

    async def first_us(self) -> int | None:
        """Return the start of the first stored minute, or of the first hour or day if only those are stored.

        That is the end of the first operation if no minute is sealed yet, and None without operations.
        """
        ...

    async def status(self) -> StoreStatus:
        """Return the size, the time range, the last write and known damage."""
        ...

    async def backup(self, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write a copy of the present data to a new file, which can be opened as a store.

        It is an SQLite file, also of another engine: then operations get the ids of such a file, in order of end time.
        Neither writing nor reading waits for it, and later writes are not in the copy. ``progress`` is called on
        another thread with the number of pages done and in total. A failed or cancelled backup leaves no file. Raises
        FileExistsError when the file exists.
        """
        ...

    async def vacuum(self) -> None:
        """Return unused space to the file system. Writing waits until the whole database has been copied."""
        ...

    async def verify(self) -> Damage:
        """Read every slot and check every row except operations; return the damage that is known afterwards.

        Damaged data is rebuilt or moved to the table ``damage``, and slots of the old format get a checksum. A
        read-only store only counts. The work is split like clean(). When another method finds damage, it rebuilds the
        data if possible; otherwise it skips, counts and logs the data once.
        """
        ...

    async def erase_person(self, person: Person) -> Erased:
        """Erase the data that identifies one person; return the numbers of changed rows. The operations stay.

        The metadata entry is removed, and so is its value from the users of errors and of costs, whose sums stay. The
        user id is replaced in texts and metadata, whether text or number. The display name is replaced where it names
        an actor. Sketches of usage stay: nobody can be removed from one. The work is split like clean().
        """
        ...

    async def reopen(self) -> tuple[Store, str]:
        """Close this store and open its path again, after a DetachedStoreError or a CorruptStoreError.

        Data that only the open connections can still read is saved first. A deleted database is written again. A
        replaced one is used as it is, and the old data is saved as ``<name>.recovered-<UTC time>``. A damaged one is
        set aside as in ``open_store``. Returns the new store and a sentence about what was done. After an error, call
        it again.

        Raises:
            StorageError: the path cannot be opened now.
        """
        ...

    def stop_waiting(self) -> None:
        """Limit all further waiting for locks of other programs to two seconds: the bot is about to stop."""
        ...

    async def close(self) -> None:
        """Release connections, threads and the writer's lock. Further calls do nothing."""
        ...
