"""What processes that share a store need from it: who they are, who leads, and the figures of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter_storage.base import Store
    from cogmeter_storage.lease import Lease, LiveMinute
    from cogmeter_storage.model import Totals
    from cogmeter_storage.process import Process, ProcessRecord


class SharedStore(Protocol):
    """The part of Store about its processes. Every method may raise StorageError, as in Store."""

    @property
    def shared(self) -> bool:
        """True if several processes may write at the same time; each is known by its name."""
        ...

    async def lead(self) -> Lease:
        """Become the leader of the processes that share the store, or stay it; one of them leads at a time.

        A lease that is not renewed in time ends, by the clock of the database. Its length counts from the call on.
        """
        ...

    async def resign(self) -> None:
        """Let another process lead at once, if this one does. ``close`` does the same."""
        ...

    async def live_minutes(self, since_us: int) -> list[LiveMinute]:
        """Return what each process has stored of each minute that starts at or after then, in order of time.

        A later call returns the same minutes with what was added. Empty if the store is not shared.
        """
        ...

    @property
    def process(self) -> Process | None:
        """The process that this store writes for, among those that share a server; None where only one can write."""
        ...

    async def processes(self) -> list[ProcessRecord]:
        """Return the last start of each process, by name; nothing where only one process can write."""
        ...

    def of_process(self, name: str) -> Store:
        """Return this store with the operations of one process only; itself where only one can write.

        Values by key and samples are those of the process. Alerts, error groups, usage, costs, traces and markers are
        not narrowed.
        """
        ...

    @property
    def own(self) -> Store:
        """This store as ``of_process`` returns it for the process that opened it; always the same object."""
        ...

    async def totals_by_process(self, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> dict[str, Totals]:
        """Aggregate the minutes of a range for each process that has operations in it, see ``totals``.

        The range must not be older than the minutes that are kept. Nothing where only one process can write.
        """
        ...

    async def values_by_process(self, key: str) -> dict[str, bytes]:
        """Return what each process has stored under a key with ``own.set_value``, by its name.

        Nothing where only one process can write.
        """
        ...

    async def samples_by_process(self, name: str, since_us: int, until_us: int) -> dict[str, list[tuple[int, float]]]:
        """Return the (time, value) pairs of one gauge in [since_us, until_us) of each process that has some.

        They are in order of time. Where only one process can write, its name is empty here.
        """
        ...
