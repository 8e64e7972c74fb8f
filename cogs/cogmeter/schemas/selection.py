"""What happened in a selected range, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.errors import group_of_failures, known_groups, last_deploy
from cogmeter.query.selection import select
from cogmeter.schemas.alerts import AlertAnswer, MarkerAnswer
from cogmeter.schemas.base import Schema, Stats, TimeRange
from cogmeter.schemas.errors import ErrorGroupAnswer
from cogmeter.schemas.operations import OperationAnswer
from cogmeter.schemas.slow import SlowRunAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.model import Marker


class SelectionAnswer(Schema):
    """Everything that happened in a range, for example behind one point of a chart."""

    time_range: TimeRange
    service: str | None = Field(description="null: all services but the background services")
    operation: str | None
    stats: Stats
    before: Stats = Field(description="Of the range of the same length before it")
    alerts: list[AlertAnswer] = Field(description="That fired and overlap the range, newest first")
    alerts_left_out: int = Field(description="Alerts beyond the first 20")
    slowest: list[OperationAnswer] = Field(description="The 8 slowest operations")
    runs: list[SlowRunAnswer] = Field(description="The slowest runs that have a trace, with their parts and reasons")
    errors: list[ErrorGroupAnswer] = Field(description="The 8 largest groups of failures")
    truncated: bool = Field(description="True when there are more than 20,000 failures: only the newest are grouped")
    markers: list[MarkerAnswer] = Field(description="In order of time")


async def selection_answer(
    query: Query, span: Range, *, service: str | None, markers: Sequence[Marker]
) -> SelectionAnswer:
    """Return what happened in a range, see ``cogmeter.query.selection.select``.

    Raises:
        UnknownNameError: nothing is stored under that service or label.
        StorageError: the store cannot be read.
    """
    found = await select(query, span, service, markers=markers)
    known, deploy = await known_groups(query, span, found.failures), await last_deploy(query)
    return SelectionAnswer(
        time_range=TimeRange.of(span),
        service=found.service,
        operation=found.operation,
        stats=Stats.of(found.figures),
        before=Stats.of(found.before),
        alerts=[AlertAnswer.of(alert) for alert in found.alerts],
        alerts_left_out=found.left_out,
        slowest=[OperationAnswer.of(operation) for operation in found.slowest],
        runs=[SlowRunAnswer.of(run) for run in found.runs],
        errors=[ErrorGroupAnswer.of(group, group_of_failures(group, known), deploy) for group in found.failures],
        truncated=any(group.truncated for group in found.failures),
        markers=[MarkerAnswer.of(marker) for marker in found.markers],
    )
