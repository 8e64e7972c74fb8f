"""The slowest single operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.query.name_matching import suggest
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.service_names import BACKGROUND
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.operations import OperationAnswer

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range


class Slowest(Schema):
    """Operations, the slowest first; of equal ones the newest."""

    time_range: TimeRange
    operations: list[OperationAnswer]


async def slowest(
    query: Query, span: Range, *, services: Collection[str] | None, operation: str | None, limit: int
) -> Slowest:
    """The slowest operations of these services, or of all that do not run in the background; of one name, if given.

    Raises:
        UnknownNameError: nothing is stored under one of the names.
        StorageError: the store does not answer.
    """
    if services is not None:
        await query.known(services)
    stored = await query.store.series()
    wanted = [one for one in stored if (one.service not in BACKGROUND if services is None else one.service in services)]
    if operation is not None:
        named = [one for one in wanted if one.operation == operation]
        if not named:
            alike = await suggest(operation, {one.operation for one in wanted})
            raise UnknownNameError("operation", operation, alike)
        wanted = named
    ids = [one.id for one in wanted]
    found = await query.store.slowest(ids, span.since_us, span.until_us, limit=limit)
    return Slowest(time_range=TimeRange.of(span), operations=[OperationAnswer.of(one) for one in found])
