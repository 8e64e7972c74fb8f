"""Background loops and scheduled jobs: how they run, and which of them should and do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from cogmeter.recording.service_names import TASKS
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import Stats, TimeRange
from cogmeter.schemas.numbers import Number, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range


class LoopRunState(Protocol):
    """A loop that is not well, as the watch tells it."""

    @property
    def name(self) -> str: ...  # noqa: D102 - see alerts.model.LoopState
    @property
    def dead(self) -> bool: ...  # noqa: D102
    @property
    def overdue_s(self) -> float: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102


class Loop(Schema):
    """One loop or job by the name of its operations."""

    name: str
    state: str = Field(description="ok, overdue or dead")
    overdue_seconds: Number = Field(description="Since when its next iteration is due; 0 for one that is not late")
    message: str | None = Field(description="What is the matter; null if nothing is")
    stats: Stats | None = Field(description="Of its iterations; null where none ended in the range")


class Loops(Schema):
    """Those that are not well first, then the busiest."""

    time_range: TimeRange
    loops: list[Loop]


async def loops(query: Query, span: Range, ill: Sequence[LoopRunState]) -> Loops:
    """Every loop that ran in a stretch of time, and those that are not well now.

    Raises:
        StorageError: the store does not answer.
    """
    stats = {name: Stats.of(figures) for name, figures in (await query.operations(TASKS, span)).items()}
    found = [_ill(one, stats.pop(one.name, None)) for one in ill]
    well = [Loop(name=name, state="ok", overdue_seconds=0, message=None, stats=one) for name, one in stats.items()]
    return Loops(time_range=TimeRange.of(span), loops=[*found, *well])


def _ill(one: LoopRunState, stats: Stats | None) -> Loop:
    return Loop(
        name=one.name,
        state="dead" if one.dead else "overdue",
        overdue_seconds=rounded(one.overdue_s, 3),
        message=safe.text(one.text),
        stats=stats,
    )
