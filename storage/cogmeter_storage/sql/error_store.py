"""The ErrorStore: sends each call to the reading or the writing connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US
from cogmeter_storage.sql import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter_storage.errors import ErrorBatch, ErrorChange, ErrorExample, ErrorGroup
    from cogmeter_storage.model import BatchId
    from cogmeter_storage.sql.session import DamagedRows, Runner


class SqlErrorStore:
    """The errors in the store's file; see ErrorStore for the contract of each method."""

    def __init__(self, reading: Runner, writer: Callable[[], Runner], damage: DamagedRows) -> None:
        """``writer`` raises StorageError when the store is read-only."""
        self._reading = reading
        self._writer = writer
        self._damage = damage

    async def add(self, batches: Sequence[ErrorBatch], *, batch: BatchId | None = None) -> list[ErrorChange]:
        """Store batches, all or none."""
        errors.check_batches(batches)
        return await self._writer().run(errors.add_batches, tuple(batches), batch) if batches else []

    async def groups(
        self,
        since_us: int,
        until_us: int,
        *,
        services: Collection[str] | None = None,
        operation: str | None = None,
        kinds: Collection[ErrorKind] | None = None,
        resolved: bool | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[ErrorGroup]:
        """Return groups, last seen first."""
        if until_us <= since_us:
            return []
        days = since_us // DAY_US, (until_us - 1) // DAY_US
        place = None if services is None else tuple(services), operation
        wanted = tuple(ErrorKind if kinds is None else kinds)
        return await self._reading.run(
            errors.read_groups, days, place, kinds=wanted, resolved=resolved, limit=limit, offset=offset
        )

    async def group(self, number: int) -> tuple[ErrorGroup, list[ErrorExample]] | None:
        """Return one group and its examples."""
        return await self._reading.run(errors.read_group, self._damage, number)

    async def resolve(self, number: int, *, actor: str, now_us: int) -> ErrorGroup:
        """Resolve a group."""
        return await self._writer().run(errors.resolve, number, actor, now_us)

    async def mute(self, number: int, *, until_us: int | None, actor: str, now_us: int) -> ErrorGroup:
        """Mute a group, or end its mute."""
        return await self._writer().run(errors.mute, number, until_us, actor, now_us)
