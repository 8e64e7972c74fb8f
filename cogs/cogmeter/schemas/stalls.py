"""What blocked the event loop: by the line that did it, and the newest ones with their stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.recording.service_names import STALLS
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import Stats, TimeRange
from cogmeter.schemas.numbers import Number, ms
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.model import OperationRecord


class Stall(Schema):
    """One block of the event loop."""

    place: str = Field(examples=["cogs/music.py:88 search"])
    start_time: Instant
    duration: Number = Field(description="Milliseconds")
    during: str | None = Field(description="The interaction that ran then")
    stack: list[str] = Field(description="The innermost line first")

    @classmethod
    def of(cls, one: OperationRecord) -> Stall:
        """That of its operation."""
        stack, during = one.metadata.get("stack"), one.metadata.get("during")
        return cls(
            place=one.operation,
            start_time=at(one.start_us),
            duration=ms(one.duration_us),
            during=_text(during) if during else None,
            stack=[_text(line) for line in stack] if isinstance(stack, list) else [],
        )


class Stalls(Schema):
    """Blocks of the event loop."""

    time_range: TimeRange
    places: dict[str, Stats] = Field(description="By the line that blocked, the most frequent first")
    recent: list[Stall] = Field(description="Newest first")
    longest: list[Stall] = Field(description="Longest first")


async def stalls(query: Query, span: Range, *, limit: int) -> Stalls:
    """The blocks of a stretch of time.

    Raises:
        StorageError: the store does not answer.
    """
    ids = [one.id for one in await query.store.series() if one.service == STALLS]
    if not ids:  # nothing has blocked it yet
        return Stalls(time_range=TimeRange.of(span), places={}, recent=[], longest=[])
    where = (ids, span.since_us, span.until_us)
    places = await query.operations(STALLS, span)
    return Stalls(
        time_range=TimeRange.of(span),
        places={name: Stats.of(figures) for name, figures in places.items()},
        recent=[Stall.of(one) for one in await query.store.recent(*where, limit=limit)],
        longest=[Stall.of(one) for one in await query.store.slowest(*where, limit=limit)],
    )


def _text(value: Any) -> str:
    return safe.text(str(value))
