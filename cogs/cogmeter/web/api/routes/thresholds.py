"""Thresholds: what holds, a change with a look at what it would have told, and who changed what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from cogmeter.alerts.review.threshold_changes import NOT_REPLAYABLE, Change, holdings, preview
from cogmeter.alerts.thresholds.keys import LimitError, OverrideKey, span_of
from cogmeter.query.records import Range
from cogmeter.render.rule_text import what_if_text
from cogmeter.schemas.changes import (
    AuditAnswer,
    AuditPage,
    HoldingAnswer,
    OutlookAnswer,
    ThresholdChange,
    ThresholdChanges,
    Thresholds,
)
from cogmeter.schemas.figures import TimeRange
from cogmeter.web.api.params import PagedParams, Service, cursor_of, numbers_of
from cogmeter.web.api.routing import Body, Problem, QueryParams, Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.alerts.review.threshold_changes import Preview
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import EffectiveLimit

MOST_CHANGES: Final = 10
MOST_PREVIEWS: Final = 3  # each replays up to 7 days

Value = Annotated[StrictStr, Field(min_length=1, max_length=50)] | StrictInt | StrictFloat | None
KeyText = Annotated[str, Field(min_length=1, max_length=300)]


class ThresholdsParams(QueryParams):
    """For which service."""

    service: Service | None = None


class ThresholdChangeParams(QueryParams):
    """Whether to try it only."""

    dry_run: Annotated[bool, Field(description="Change nothing; say what it would have told in the last days")] = False


class ThresholdChangeBody(Body):
    """What to change."""

    values: Annotated[
        dict[KeyText, Value],
        Field(
            min_length=1,
            max_length=MOST_CHANGES,
            description="By key; as people write it or in the rule's unit, 0 for off, null to let the settings hold",
            examples=[{"error_rate": "5%", "response_time@knowledge-graph": 1900, "throughput": None}],
        ),
    ]


async def read_thresholds(monitor: Monitor, ask: ThresholdsParams) -> Thresholds:
    """What holds."""
    held = await holdings(monitor.store, monitor.settings)
    return Thresholds(
        rules=[_holding(one) for one in held.rules(ask.service)],
        others=[_holding(one) for one in held.others(ask.service)],
    )


async def change_thresholds(
    monitor: Monitor, ask: ThresholdChangeParams, body: ThresholdChangeBody, actor: str
) -> ThresholdChanges:
    """Change thresholds, all or none; or try it."""
    # In a thread: the names of rules are compared with a key that cannot be.
    wanted = await asyncio.to_thread(_wanted, body.values)
    if not ask.dry_run:
        return await _change(monitor, wanted, actor)
    if len(wanted) > MOST_PREVIEWS:
        detail = f"values has {len(wanted)} changes; no more than {MOST_PREVIEWS} are tried at once"
        raise Problem.of(422, detail, parameter="values")
    tried = [await preview(monitor.store, monitor.settings, one) for one in wanted]
    changes = [_tried(change, found) for change, found in zip(wanted, tried, strict=True)]
    return ThresholdChanges(dry_run=True, changes=changes)


async def read_audit(monitor: Monitor, ask: PagedParams) -> AuditPage:
    """One page of the audit."""
    (offset,) = numbers_of(ask.cursor, 1) or (0,)
    found = await monitor.store.alerting.audit(limit=ask.limit + 1, offset=offset)
    following = offset + ask.limit if len(found) > ask.limit else None
    return AuditPage(entries=[AuditAnswer.of(one) for one in found[: ask.limit]], next=cursor_of(following))


def _wanted(values: Mapping[str, str | float | None]) -> list[Change]:
    """The checked changes; raises Problem for one that cannot be."""
    made = []
    for key, value in values.items():
        try:
            made.append(Change.of_key(key, None if value is None else str(value)))
        except LimitError as error:
            raise Problem.of(422, str(error), parameter=f"values.{key}") from None
    return made


async def _change(monitor: Monitor, wanted: Sequence[Change], actor: str) -> ThresholdChanges:
    before = await holdings(monitor.store, monitor.settings)
    await monitor.override({one.key: one.value for one in wanted}, actor)
    after = await holdings(monitor.store, monitor.settings)
    made = [
        ThresholdChange(
            key=one.key,
            before=_holding(before.of(one.subject, one.field)),
            after=_holding(after.of(one.subject, one.field)),
            message="It holds at once, and until it is changed or reset.",
            outlook=None,
        )
        for one in wanted
    ]
    return ThresholdChanges(dry_run=False, changes=made)


def _tried(change: Change, found: Preview) -> ThresholdChange:
    outlook, answer = found.outlook, None
    if outlook is None:
        message = NOT_REPLAYABLE if change.value is not None else "The setting would hold again."
    else:
        message = what_if_text(outlook)
        span = Range(outlook.since_us, outlook.until_us, "")
        answer = OutlookAnswer.of(outlook, TimeRange.of(span))
    before, after = _holding(found.before), _holding(found.after)
    return ThresholdChange(key=change.key, before=before, after=after, message=message, outlook=answer)


def _holding(one: EffectiveLimit) -> HoldingAnswer:
    if isinstance(one.value, str):
        return HoldingAnswer.of(one, unit=None, least=None, most=None)
    span = span_of(OverrideKey.parse(one.key))
    most = None if span.most == float("inf") else span.most
    return HoldingAnswer.of(one, unit=span.unit, least=span.least, most=most)


PATH: Final = "/api/performance/thresholds"
ROUTES: Final = (
    Route(
        "GET",
        PATH,
        read_thresholds,
        "Every rule's threshold and where it comes from, and what else was changed",
        query=ThresholdsParams,
        answer=Thresholds,
    ),
    Route(
        "PUT",
        PATH,
        change_thresholds,
        "Change thresholds; with dryRun, say what that would have told instead",
        query=ThresholdChangeParams,
        body=ThresholdChangeBody,
        answer=ThresholdChanges,
        changes=True,
    ),
    Route(
        "GET",
        "/api/performance/audit",
        read_audit,
        "List changes of thresholds and mutes, and acknowledgements, newest first, page by page",
        query=PagedParams,
        answer=AuditPage,
    ),
)
