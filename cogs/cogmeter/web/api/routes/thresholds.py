"""Thresholds: the limits in effect, changes with a preview, and the audit log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from cogmeter.alerts.review.threshold_changes import NOT_REPLAYABLE, Change, effective_limits, preview
from cogmeter.alerts.thresholds.keys import LimitError, OverrideKey, span_of
from cogmeter.query.records import Range
from cogmeter.render.rule_text import what_if_text
from cogmeter.schemas.alerts import (
    AuditAnswer,
    AuditPage,
    HoldingAnswer,
    OutlookAnswer,
    ThresholdChange,
    ThresholdChanges,
    Thresholds,
)
from cogmeter.schemas.base import TimeRange
from cogmeter.web.api.bodies import Body
from cogmeter.web.api.params import PagedParams, QueryParams, Service, cursor_of, numbers_of
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route

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
    """Parameters: the service."""

    service: Service | None = None


class ThresholdChangeParams(QueryParams):
    """Parameters: whether the change is only a preview."""

    dry_run: Annotated[bool, Field(description="Change nothing; return a preview over the last 7 days")] = False


class ChangeBody(Body):
    """Request body: the limits to change."""

    values: Annotated[
        dict[KeyText, Value],
        Field(
            min_length=1,
            max_length=MOST_CHANGES,
            description="Values by key: a number in the rule's unit or a text like 5%; 0 for off, null to reset",
            examples=[{"error_rate": "5%", "response_time@knowledge-graph": 1900, "throughput": None}],
        ),
    ]


async def read_thresholds(monitor: Monitor, params: ThresholdsParams) -> Thresholds:
    """Return the limits in effect."""
    limits = await effective_limits(monitor.store, monitor.settings)
    return Thresholds(
        rules=[_setting(limit) for limit in limits.rules(params.service)],
        others=[_setting(limit) for limit in await limits.others(params.service)],
    )


async def change_thresholds(
    monitor: Monitor, params: ThresholdChangeParams, body: ChangeBody, actor: str
) -> ThresholdChanges:
    """Change thresholds, all or none; or preview the changes."""
    # In a thread: an unknown key is compared with the names of all rules.
    changes = await asyncio.to_thread(_changes, body.values)
    if not params.dry_run:
        return await _apply(monitor, changes, actor)
    if len(changes) > MOST_PREVIEWS:
        detail = f"values has {len(changes)} changes. At most {MOST_PREVIEWS} can be previewed at once"
        raise Problem.of(422, detail, parameter="values")
    previews = [await preview(monitor.store, monitor.settings, change) for change in changes]
    return ThresholdChanges(
        dry_run=True,
        changes=[_previewed(change, its_preview) for change, its_preview in zip(changes, previews, strict=True)],
    )


async def read_audit(monitor: Monitor, params: PagedParams) -> AuditPage:
    """Return one page of the audit log."""
    (offset,) = numbers_of(params.cursor, 1) or (0,)
    entries = await monitor.store.alerting.audit(limit=params.limit + 1, offset=offset)
    next_offset = offset + params.limit if len(entries) > params.limit else None
    return AuditPage(entries=[AuditAnswer.of(entry) for entry in entries[: params.limit]], next=cursor_of(next_offset))


def _changes(values: Mapping[str, str | float | None]) -> list[Change]:
    """Return the checked changes; raise Problem for an invalid one."""
    changes = []
    for key, value in values.items():
        try:
            changes.append(Change.of_key(key, None if value is None else str(value)))
        except LimitError as error:
            raise Problem.of(422, str(error), parameter=f"values.{key}") from None
    return changes


async def _apply(monitor: Monitor, changes: Sequence[Change], actor: str) -> ThresholdChanges:
    before = await effective_limits(monitor.store, monitor.settings)
    await monitor.override({change.key: change.value for change in changes}, actor)
    after = await effective_limits(monitor.store, monitor.settings)
    applied = [
        ThresholdChange(
            key=change.key,
            before=_setting(before.of(change.subject, change.field)),
            after=_setting(after.of(change.subject, change.field)),
            message="In effect now, until it is changed or reset.",
            outlook=None,
        )
        for change in changes
    ]
    return ThresholdChanges(dry_run=False, changes=applied)


def _previewed(change: Change, its_preview: Preview) -> ThresholdChange:
    what_if, outlook = its_preview.what_if, None
    if what_if is None:
        message = NOT_REPLAYABLE if change.value is not None else "The configured value would be in effect again."
    else:
        message = what_if_text(what_if)
        outlook = OutlookAnswer.of(what_if, TimeRange.of(Range(what_if.since_us, what_if.until_us, "")))
    before, after = _setting(its_preview.before), _setting(its_preview.after)
    return ThresholdChange(key=change.key, before=before, after=after, message=message, outlook=outlook)


def _setting(limit: EffectiveLimit) -> HoldingAnswer:
    if isinstance(limit.value, str):
        return HoldingAnswer.of(limit, unit=None, least=None, most=None)
    span = span_of(OverrideKey.parse(limit.key))
    most = None if span.most == float("inf") else span.most
    return HoldingAnswer.of(limit, unit=span.unit, least=span.least, most=most)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/thresholds",
        read_thresholds,
        "List the threshold of every rule with its origin, and other changed limits",
        query=ThresholdsParams,
        response=Thresholds,
    ),
    Route(
        "PUT",
        "/api/performance/thresholds",
        change_thresholds,
        "Change thresholds; with dryRun, return a preview over the last 7 days instead",
        query=ThresholdChangeParams,
        body=ChangeBody,
        response=ThresholdChanges,
        changes=True,
    ),
    Route(
        "GET",
        "/api/performance/audit",
        read_audit,
        "List changes of thresholds and mutes, and acknowledgements, newest first, page by page",
        query=PagedParams,
        response=AuditPage,
    ),
)
