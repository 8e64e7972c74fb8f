"""Errors: failures grouped by text, and error groups with their place, people, trend and stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.errors import (
    error_details,
    error_groups,
    group_of_failures,
    inner_place,
    is_inner,
    known_groups,
    last_deploy,
    seen_since,
    ungrouped_failures,
)
from cogmeter.query.query import now_us
from cogmeter.recording.background import paced
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import MarkerAnswer
from cogmeter.schemas.base import Schema, TimeRange
from cogmeter.schemas.operations import OperationAnswer
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.query.errors import ErrorDetails, ErrorTrend
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.errors import ErrorExample, ErrorGroup, ErrorKind, ErrorLink, Frame
    from cogmeter_storage.model import FailureGroup, Marker


class StackFrame(Schema):
    """One line of a stack."""

    file: str = Field(
        description="Relative to the bot's working directory, or package/module.py of an installed package"
    )
    function: str = Field(description="The qualified name")
    line: int
    own: bool = Field(description="True for code of the bot: not an installed package, not the standard library")

    @classmethod
    def of(cls, frame: Frame) -> StackFrame:
        """Build it from a stored frame."""
        return cls(file=safe.text(frame.file), function=safe.text(frame.function), line=frame.line, own=frame.own)


class OperationErrors(Schema):
    """The errors of a group in one operation."""

    service: str
    operation: str
    count: int


class ErrorGroupAnswer(Schema):
    """Failures of one service, operation and error group whose error texts differ only in numbers and ids."""

    service: str
    operation: str
    error: str = Field(description="The error text with # for numbers and ids; empty for failures without a text")
    outcome: str = Field(description="error or upstream")
    count: int
    first_at: Instant
    last_at: Instant
    example: OperationAnswer = Field(description="The newest failure of the group")
    group_id: int | None = Field(description="The error group that counts these failures; null, as below, if none does")
    type: str | None = Field(description="The type of the exception, with its module")
    place: StackFrame | None = Field(description="The innermost line of the bot's code")
    kind: str | None = Field(description="failed, logged or unhandled")
    users: int | None = Field(description="Distinct users of the error group")
    guilds: int | None = Field(description="Distinct guilds of the error group")
    first_seen: Instant | None = Field(description="The first error of the error group")
    last_seen: Instant | None = Field(description="The last error of the error group")
    is_new: bool | None = Field(description="True if the error group was first seen since the last deploy")
    resolved: bool | None = Field(description="True if the error group is resolved")
    raised_in: OperationErrors | None = Field(
        description="The operation inside this one that raised the error, where its error group is counted; "
        "null if the error was raised in this one"
    )

    @classmethod
    def of(cls, failures: FailureGroup, group: ErrorGroup | None, deploy: Marker | None) -> ErrorGroupAnswer:
        """Build it from stored failures, and their error group if it is known."""
        place = None if group is None else group.place
        return cls(
            service=failures.service,
            operation=failures.operation,
            error=safe.text(failures.kind),
            outcome=failures.outcome.label,
            count=failures.count,
            first_at=utc(failures.first_us),
            last_at=utc(failures.last_us),
            example=OperationAnswer.of(failures.example),
            group_id=group and group.id,
            type=group and safe.text(group.type),
            place=place and StackFrame.of(place),
            kind=group and group.kind.value,
            users=group and group.users,
            guilds=group and group.guilds,
            first_seen=group and utc(group.first_us),
            last_seen=group and utc(group.last_us),
            is_new=group and seen_since(deploy, group),
            resolved=group and group.resolved_us is not None,
            raised_in=None if group is None or not is_inner(failures, group) else _inner_place(group),
        )


def _inner_place(group: ErrorGroup) -> OperationErrors:
    service, operation, count = inner_place(group)
    return OperationErrors(service=service, operation=operation, count=count)


class Errors(Schema):
    """Groups of failures, the largest first."""

    time_range: TimeRange
    groups: list[ErrorGroupAnswer]
    truncated: bool = Field(description="True when there are more than 20,000 failures: only the newest are grouped")


async def errors(query: Query, span: Range, *, service: str | None, operation: str | None, limit: int) -> Errors:
    """Group the failures of a range by their error text.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    ids = await query.ids(service, operation)
    groups = await query.store.failure_groups(ids, span.since_us, span.until_us, limit=limit)
    known, deploy = await known_groups(query, span, groups), await last_deploy(query)
    return Errors(
        time_range=TimeRange.of(span),
        groups=[ErrorGroupAnswer.of(group, group_of_failures(group, known), deploy) async for group in paced(groups)],
        truncated=any(group.truncated for group in groups),
    )


class ExceptionInfo(Schema):
    """One exception of a chain."""

    type: str = Field(examples=["discord.errors.NotFound"])
    message: str = Field(description="Without secrets and Discord ids")
    frames: list[StackFrame] = Field(description="Outermost first; of a long stack, the first 10 and the last 20")

    @classmethod
    def of(cls, link: ErrorLink) -> ExceptionInfo:
        """Build it from a stored exception."""
        return cls(
            type=safe.text(link.type), message=safe.text(link.message), frames=[*map(StackFrame.of, link.frames)]
        )


class ErrorOccurrence(Schema):
    """One error with its stack."""

    at: Instant
    service: str
    operation: str
    version: str | None = Field(description="The version of the bot; null if it is not known")
    chain: list[ExceptionInfo] = Field(description="The error, its cause, the cause of that; the members of a group")

    @classmethod
    def of(cls, example: ErrorExample) -> ErrorOccurrence:
        """Build it from a stored example."""
        return cls(
            at=utc(example.at_us),
            service=example.service,
            operation=example.operation,
            version=safe.text_or_none(example.version),
            chain=[*map(ExceptionInfo.of, example.chain)],
        )


class ErrorGroupSummary(Schema):
    """Errors of one type and place, or, without code of the bot in the stack, of one type and message."""

    id: int = Field(description="The id in the URLs of other routes; never reused")
    kind: str = Field(
        description="failed: it ended an operation; logged: at level ERROR or higher; unhandled: it ended a task, "
        "a callback or a thread"
    )
    type: str
    message: str = Field(description="Of the newest error, without secrets and Discord ids")
    place: StackFrame | None = Field(description="The innermost line of the bot's code; null if it is not known")
    count: int = Field(description="Errors on the days of the range")
    previous_count: int = Field(description="Errors on as many days before the range")
    total: int = Field(description="Errors since the first one")
    trend: list[int] = Field(description="Errors per UTC day, oldest first; the last day is the last one of the range")
    users: int = Field(description="Distinct users since the first error; 1,000 means at least 1,000")
    guilds: int = Field(description="Distinct guilds since the first error; 1,000 means at least 1,000")
    first_seen: Instant
    last_seen: Instant
    first_version: str | None
    last_version: str | None
    is_new: bool = Field(description="First seen since the last deploy")
    resolved: bool
    resolved_at: Instant | None
    resolved_by: str | None
    reopened_at: Instant | None = Field(description="When it came back after it had been resolved")
    muted_until: Instant | None = Field(description="null unless it is muted now")
    operations: list[OperationErrors] = Field(description="Where it happened, most frequent first; at most 20")

    @classmethod
    def of(cls, trend: ErrorTrend) -> ErrorGroupSummary:
        """Build it from a query's group."""
        group = trend.group
        return cls(
            id=group.id,
            kind=group.kind.value,
            type=safe.text(group.type),
            message=safe.text(group.message),
            place=None if group.place is None else StackFrame.of(group.place),
            count=group.count,
            previous_count=trend.before,
            total=group.total,
            trend=list(trend.days),
            users=group.users,
            guilds=group.guilds,
            first_seen=utc(group.first_us),
            last_seen=utc(group.last_us),
            first_version=safe.text_or_none(group.first_version),
            last_version=safe.text_or_none(group.last_version),
            is_new=trend.is_new,
            resolved=group.resolved_us is not None,
            resolved_at=utc_or_none(group.resolved_us),
            resolved_by=group.resolved_by or None,
            reopened_at=utc_or_none(group.reopened_us),
            muted_until=utc_or_none(group.muted_until_us) if group.is_muted(now_us()) else None,
            operations=[
                OperationErrors(service=service, operation=operation, count=count)
                for service, operation, count in group.places
            ],
        )


class ErrorGroupPage(Schema):
    """Error groups, the most frequent first. Errors are counted by UTC day: the range is widened to whole days."""

    time_range: TimeRange
    deploy: MarkerAnswer | None = Field(description="New groups were first seen since it: the last version or start")
    groups: list[ErrorGroupSummary]
    raised_inside: list[ErrorGroupAnswer] = Field(
        description="On the first page of given services: their failures with an error that an operation inside them "
        "raised. It is counted there, not here"
    )
    next: str | None = Field(description="The cursor of the next page; null on the last page")


class ErrorGroupDetail(Schema):
    """One error group with its newest errors. Its count is of all stored days, its trend of the last 14 days."""

    group: ErrorGroupSummary
    deploy: MarkerAnswer | None = Field(description="The last version or start")
    running_version: str | None = Field(description="The version of the bot; null if it is not known")
    examples: list[ErrorOccurrence] = Field(description="Newest first; at most 5")

    @classmethod
    def of(cls, details: ErrorDetails) -> ErrorGroupDetail:
        """Build it from a query's details."""
        return cls(
            group=ErrorGroupSummary.of(details.trend),
            deploy=None if details.deploy is None else MarkerAnswer.of(details.deploy),
            running_version=safe.text_or_none(details.running_version),
            examples=[*map(ErrorOccurrence.of, details.examples)],
        )


class ErrorReport(Errors):
    """The failures of a range by text, and all of its error groups by place."""

    deploy: MarkerAnswer | None = Field(description="New groups were first seen since it: the last version or start")
    error_groups: list[ErrorGroupSummary] = Field(description="Also of errors that ended no operation")


async def error_group_page(
    query: Query,
    span: Range,
    *,
    services: Collection[str] | None = None,
    operation: str | None = None,
    kinds: Collection[ErrorKind] | None = None,
    resolved: bool | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[ErrorGroupPage, int | None]:
    """Return one page of error groups without its cursor, and the next page's offset; None on the last page.

    Raises:
        UnknownNameError: one of the services, or the operation in them, is not stored.
        StorageError: the store cannot be read.
    """
    found = await error_groups(
        query,
        span,
        services=services,
        operation=operation,
        kinds=kinds,
        resolved=resolved,
        limit=limit,
        offset=offset,
    )
    inner = [] if services is None or offset else (await ungrouped_failures(query, span, services, operation)).inner
    page = ErrorGroupPage(
        time_range=TimeRange.of(span),
        deploy=None if found.deploy is None else MarkerAnswer.of(found.deploy),
        groups=[*map(ErrorGroupSummary.of, found.groups)],
        raised_inside=[ErrorGroupAnswer.of(one.failures, one.group, found.deploy) for one in inner],
        next=None,
    )
    return page, found.next_offset


async def error_group_detail(query: Query, number: int) -> ErrorGroupDetail | None:
    """Return one error group with its examples; None if it does not exist.

    Raises:
        StorageError: the store cannot be read.
    """
    details = await error_details(query, number)
    return None if details is None else ErrorGroupDetail.of(details)
