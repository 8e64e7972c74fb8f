"""The Store protocol: its contract is in the docstrings, and one test suite holds every back end to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.alerting import AlertStore
    from cogmeter_storage.model import (
        Cleaned,
        Damage,
        ErrorGroup,
        Marker,
        Operation,
        Outcome,
        Person,
        Retention,
        Row,
        Series,
        StoreStatus,
        Totals,
        TraceRecord,
    )


class StorageError(Exception):
    """The store cannot do what was asked; its text says what is wrong and how to mend it.

    ``permanent`` tells whether trying again is useless (a file that is no database, a newer schema, a second
    writer) or may help (a full disk, a lock).
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


class Store(Protocol):
    """Where operations live.

    One writer appends; reading never waits for it. Every method may raise StorageError, and after a failed
    write the store is as it was before: the same call can be made again.
    """

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """The ids of these (service, operation) pairs, in their order; new pairs are added."""
        ...

    async def series(self) -> list[Series]:
        """All series, ordered by service and operation."""
        ...

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int) -> int:
        """Write rows behind the last one, in one transaction, and seal every minute that ended by ``now_us``.

        Rows are ordered by end time; an end time before the last stored one, or before the end of the last sealed
        minute, is clamped to that and counted. Each slice is taken and written in one turn of the loop, so
        callers keep slices at 100 to 250 rows and may convert lazily. With no rows it only seals. Returns the
        number of rows written. History is brought in by the same call, with ``now_us`` the end of what is
        brought in. A cancelled append has written all or nothing; a caller who must know which one shields it.

        Raises ValueError when an outcome or a series id cannot be; then nothing is written.
        """
        ...

    async def set_apart(self, *, now_us: int) -> bool:
        """Correct what was recorded while the clock was ahead: what lies more than five minutes behind ``now_us``.

        Operations, slots, samples, traces and markers with later times are moved out of the way and kept until a
        clean-up removes them by the time that they were set apart at; ``status`` counts them. Alerts, deliveries and
        their records keep their place, and their later times become ``now_us``; mutes begin then and keep their length.
        What is appended next follows what is left. Opening a store for writing does the same by the clock. Returns
        whether anything had to be corrected.
        """
        ...

    async def fold(self, *, now_us: int) -> int:
        """Fold sealed minutes into the hours, and hours into the days, that ended by ``now_us``.

        Returns the number of slots written. Folding again writes nothing. A minute that is sealed after its hour or
        day was folded joins them when it is sealed.
        """
        ...

    async def totals(
        self, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int | None = None
    ) -> Totals:
        """Aggregate the operations that ended in [since_us, until_us).

        ``groups`` maps series id to group number 0..n-1; series outside it are left out. Without ``step_us``
        there is one bin; with it (a multiple of a minute) bins of that width start at the covered start.
        ``since_us`` is taken down to its minute; where the minutes (or hours) are no longer kept, down to the
        hour (or day); ``until_us`` is taken up in the same way. Where only hours (or days) are kept, each counts in
        the bin that it starts in. The open minute is included. The result says which range was covered. Days are days
        in UTC. Raises ValueError when ``step_us`` is no positive multiple of a minute.
        """
        ...

    async def recent(
        self, series: Collection[int], since_us: int, until_us: int, *, limit: int, failed: bool = False
    ) -> list[Operation]:
        """The latest operations of these series that ended in the range, newest first; only failures if asked."""
        ...

    async def slowest(self, series: Collection[int], since_us: int, until_us: int, *, limit: int) -> list[Operation]:
        """The slowest operations of these series that ended in the range, slowest first; of equal ones the newest."""
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
    ) -> list[Operation]:
        """The latest operations of these series (None: of all) that ended in the range, newest first, page by page.

        ``before_id`` is the id of the last one of the page before. ``outcomes`` (None: any) and ``slower_than_us``
        (they took at least so long) narrow it. What is recorded meanwhile stands before the first page and moves
        nothing.
        """
        ...

    def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[Operation]]:
        """The operations of these series (None: of all) that ended in the range, in order of end time and id.

        In chunks of 1 to ``rows``, each read by itself when it is asked for: between two of them nothing is held, so a
        slow reader blocks neither writing, nor clean-up, nor other questions. What is recorded after the first chunk
        was asked for is not in it, nor is what is cleaned away before it is reached. Raises ValueError when ``rows``
        is below 1.
        """
        ...

    async def error_groups(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int = 50
    ) -> list[ErrorGroup]:
        """The failures of these series (None: of all) that ended in the range, grouped; the largest groups first.

        No more than the newest 20,000 are looked at; when there are more, every group says so (``truncated``).
        """
        ...

    async def clean(self, retention: Retention, *, now_us: int) -> Cleaned:
        """Remove what is older than the retention, in paced chunks, so that no write waits long.

        Operations and minutes go in whole hours, hours in whole days; traces, samples, ended deliveries, attempts and
        ended mutes go with the operations of their time; resolved alerts (with all that belongs to them), markers and
        the audit with the days. What is not sealed yet, slots that are not folded into the coarser tier yet (call
        fold() before), alerts that are not resolved and deliveries that wait stay.
        """
        ...

    async def add_traces(self, traces: Sequence[TraceRecord]) -> None:
        """Keep traces, all or none of them; the store gives the ids."""
        ...

    async def traces(
        self, service: str | None, operation: str | None, since_us: int, *, limit: int
    ) -> list[TraceRecord]:
        """The traces that began since then, of one service and operation name or (None) of all.

        The slowest first, of equal ones the newest: a limit then leaves out what matters least.
        """
        ...

    async def add_samples(self, at_us: int, values: Mapping[str, float]) -> None:
        """Keep the gauges of one moment, by metric name; again at the same moment, the later value counts.

        What is not finite is left out.
        """
        ...

    async def samples(self, names: Collection[str], since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """For each of the names, its (time, value) pairs in [since_us, until_us), in order of time; [] for none."""
        ...

    async def add_marker(self, marker: Marker) -> Marker:
        """Keep a marker; returns it with its id."""
        ...

    async def markers(self, since_us: int, until_us: int, *, limit: int = 100) -> list[Marker]:
        """The newest ``limit`` markers in [since_us, until_us), in order of time."""
        ...

    async def remember(self, key: str, value: bytes) -> None:
        """Keep a few bytes under a key, in place of what it held."""
        ...

    async def recall(self, key: str) -> bytes | None:
        """What is kept under the key."""
        ...

    @property
    def alerting(self) -> AlertStore:
        """Alerts, their deliveries, mutes and changed thresholds; see AlertStore."""
        ...

    async def status(self) -> StoreStatus:
        """Size, extent and last write."""
        ...

    async def backup(self, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write a copy of all that is stored now to a new file, which can then be opened as a store.

        Neither writing nor reading waits for it, and what is written meanwhile is not in it. ``progress`` is told, on
        another thread, how much of how much is done. A failed or cancelled backup leaves no file. Raises
        FileExistsError when the file exists.
        """
        ...

    async def vacuum(self) -> None:
        """Give the room of what was removed back to the system. Writing waits for as long as copying it all takes."""
        ...

    async def verify(self) -> Damage:
        """Read every slot and look at every row but the operations; returns how much damage is known then.

        What is damaged is rebuilt or moved out of the way, and slots of a format without checksum get one; a store that
        is open for reading alone only counts. In paced chunks, as clean(). Damage that another method meets is handled
        there and then: what can be rebuilt is, and the rest is skipped, counted, and logged once.
        """
        ...

    async def forget(self, person: Person) -> int:
        """Remove what leads to one person; returns how many rows held it. The operations themselves stay.

        The member of metadata goes; the number is replaced wherever texts or metadata hold it, as text or number; the
        name is replaced where it stands for who did something. In paced chunks, as clean().
        """
        ...

    async def reopen(self) -> tuple[Store, str]:
        """Close this store and open its path again, after a DetachedStoreError or a CorruptStoreError.

        Data that only the open connections can still read is saved first. A deleted database is written again; a
        replaced one is used as it is, and the old data is saved in ``<name>.recovered-<UTC time>``; a damaged one is
        set aside as in ``open_store``. Return the new store and a sentence that says what was done. After an error,
        call it again.

        Raises:
            StorageError: the path cannot be opened now.
        """
        ...

    def stop_waiting(self) -> None:
        """Wait for locks of other programs for two more seconds, all in all: the bot is about to stop."""
        ...

    async def close(self) -> None:
        """Give everything back: connections, threads, the writer's lock. Calling it again does nothing."""
        ...
