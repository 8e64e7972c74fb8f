"""Error groups of a time range: their counts by day and compared with the period before, and what is new."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.query.records import Period, Range
from cogmeter.recording.markers import START, VERSION
from cogmeter.recording.service_names import BY_OPERATION, LISTENERS, TASKS
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from cogmeter.query.query import Query
    from cogmeter_storage.errors import ErrorExample, ErrorGroup
    from cogmeter_storage.model import FailureGroup, Marker

TREND_DAYS: Final = 14  # of a trend, or the days of the range if there are more
RANKED: Final = 200  # groups with the newest errors, among which the most frequent come first
_PAGE: Final = 200  # groups that are read at once
KNOWN_GROUPS: Final = 500  # groups that failures are compared with
_OUTERMOST: Final = BY_OPERATION | {TASKS, LISTENERS}  # services whose operations run inside no other one
_INNER: Final = 50  # groups of failures, by text, whose errors are searched in other operations
_ALL: Final = 2**62


@dataclass(frozen=True, slots=True)
class ErrorTrend:
    """An error group in a range of whole days, and in the days before."""

    group: ErrorGroup
    before: int  # errors in as many days before the range
    days: tuple[int, ...]  # errors on each of the last TREND_DAYS or more days of the range, oldest first
    is_new: bool  # first seen since the last deploy
    range_days: int  # days of the range


@dataclass(frozen=True, slots=True)
class ErrorList:
    """One page of the error groups of a range, most frequent first, of equal ones the last seen first."""

    range: Range
    groups: list[ErrorTrend]
    next_offset: int | None  # None on the last page
    deploy: Marker | None


@dataclass(frozen=True, slots=True)
class InnerError:
    """Failures of an operation with an error that another operation inside it raised, which counts it."""

    failures: FailureGroup
    group: ErrorGroup

    @property
    def raised_in(self) -> tuple[str, str]:
        """Service and name of the operation in which the error was raised most often."""
        return inner_place(self.group)[:2]


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """One error group with its newest examples, newest first."""

    trend: ErrorTrend
    examples: list[ErrorExample]
    deploy: Marker | None

    @property
    def running_version(self) -> str | None:
        """The version of the last deploy; None if versions are not known."""
        deploy = self.deploy
        return deploy.name.removeprefix("version ") if deploy is not None and deploy.kind == VERSION else None


async def error_groups(
    query: Query,
    span: Range,
    *,
    services: Collection[str] | None = None,
    operation: str | None = None,
    kinds: Collection[ErrorKind] | None = None,
    resolved: bool | None = None,
    limit: int = 50,
    offset: int = 0,
) -> ErrorList:
    """Return one page of the groups with errors in a range, most frequent first; counts are of its whole days.

    This is the order of every list of errors. After the RANKED groups with the newest errors, the order is that of the
    last error. Filters as in ErrorStore.groups. A group whose last error was on the first day, but before the range, is
    left out.

    Raises:
        UnknownNameError: there are no groups, and one of the services, or the operation in them, is not stored.
        StorageError: the store cannot be read.
    """
    place = partial(query.store.errors.groups, services=services, operation=operation)
    read = partial(place, span.since_us, span.until_us, kinds=kinds, resolved=resolved)
    newest = await read(limit=RANKED)
    if services is not None and not newest:  # an error's service may have no operations
        await query.require_services(services, operation)
    # One group more than the page shows whether there is another page.
    found = sorted(newest, key=lambda group: -group.count)[offset : offset + limit + 1]
    if len(newest) == RANKED and len(found) <= limit:
        found += await read(limit=limit + 1 - len(found), offset=max(offset, RANKED))
    found = [group for group in found if group.last_us >= span.since_us]
    deploy = await last_deploy(query)
    days = await _days_of(place, found[:limit], span)
    return ErrorList(
        range=span,
        groups=[_trend(group, days.get(group.id, group.days), span, deploy) for group in found[:limit]],
        next_offset=offset + limit if len(found) > limit else None,
        deploy=deploy,
    )


async def error_details(query: Query, number: int) -> ErrorDetails | None:
    """Return one group with its examples, compared over the last TREND_DAYS days; None if it does not exist.

    Raises:
        StorageError: the store cannot be read.
    """
    stored = await query.store.errors.group(number)
    if stored is None:
        return None
    group, examples = stored
    until_us = query.span(Period.DAY).until_us
    span = Range(until_us - (TREND_DAYS - 1) * DAY_US, until_us, f"last {TREND_DAYS} days")
    deploy = await last_deploy(query)
    return ErrorDetails(_trend(group, group.days, span, deploy), examples, deploy)


async def last_deploy(query: Query) -> Marker | None:
    """Return the last marker of a new version; without one, that of the last start."""
    start: Marker | None = None
    until_us = _ALL
    while markers := await query.store.markers(0, until_us, limit=_PAGE):
        for marker in reversed(markers):
            if marker.kind == VERSION:
                return marker
            if marker.kind == START and start is None:
                start = marker
        until_us = markers[0].at_us
    return start


def seen_since(deploy: Marker | None, group: ErrorGroup) -> bool:
    """Return whether a group was first seen since the deploy; False if there was none."""
    return deploy is not None and group.first_us >= deploy.at_us


async def known_groups(query: Query, span: Range, failures: Sequence[FailureGroup]) -> list[ErrorGroup]:
    """Return the error groups that these failures can belong to, of all services: see ``group_of_failures``."""
    return await query.store.errors.groups(span.since_us, span.until_us, limit=KNOWN_GROUPS) if failures else []


class UngroupedFailures(NamedTuple):
    """Failures of services that no error group of theirs counts."""

    inner: list[InnerError]
    unplaced: int  # operations that failed without an error whose place is known


NO_FAILURES: Final = UngroupedFailures([], 0)


async def ungrouped_failures(
    query: Query, span: Range, services: Collection[str], operation: str | None = None
) -> UngroupedFailures:
    """Return the failures of these services, or of this operation of them, that ``error_groups`` does not list.

    An error that passes through several operations is counted once, where it was raised. Others have no known place,
    such as a rate limit. Services without operations are left out.

    Raises:
        StorageError: the store cannot be read.
    """
    ids = [
        series.id
        for series in await query.store.series()
        if series.service in services and operation in {None, series.operation}
    ]
    failures = await query.store.failure_groups(ids, span.since_us, span.until_us, limit=_INNER) if ids else []
    groups = await known_groups(query, span, failures)
    unplaced = sum(one.count for one in failures if group_of_failures(one, groups) is None)
    return UngroupedFailures(raised_inside(failures, groups), unplaced)


def raised_inside(failures: Sequence[FailureGroup], groups: Sequence[ErrorGroup]) -> list[InnerError]:
    """Return those of these failures whose error group is of another operation."""
    found = [(one, group_of_failures(one, groups)) for one in failures]
    return [InnerError(one, group) for one, group in found if group is not None and is_inner(one, group)]


def inner_place(group: ErrorGroup) -> tuple[str, str, int]:
    """Return the place (service, operation, count) with most errors of a group that can run inside an operation."""
    return next((place for place in group.places if place[0] not in _OUTERMOST), group.places[0])


def is_inner(failures: FailureGroup, group: ErrorGroup) -> bool:
    """Return whether the errors of a group were raised inside another operation than these failures."""
    return bool(group.places) and not _happened_in(group, failures)


def group_of_failures(failures: FailureGroup, groups: Sequence[ErrorGroup]) -> ErrorGroup | None:
    """Return the error group that counts these failures; None if none does.

    An exception that was logged before it ended the operation is counted as logged. A place where both happen has two
    groups of one fingerprint; the one that counts this operation decides.
    """
    fingerprint = failures.example.error_group
    found = [group for group in groups if group.fingerprint == fingerprint]
    return max(found, key=lambda group: (_happened_in(group, failures), group.kind is ErrorKind.FAILED), default=None)


def _happened_in(group: ErrorGroup, failures: FailureGroup) -> bool:
    return any(place[:2] == (failures.service, failures.operation) for place in group.places)


async def _days_of(
    read: Callable[..., Awaitable[list[ErrorGroup]]], page: Sequence[ErrorGroup], span: Range
) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the counts by day of these groups, from the period before and the trend's first day on."""
    first_day = min(_bounds(span)[0], _trend_start(span))
    missing = {group.id for group in page}
    days: dict[int, tuple[tuple[int, int], ...]] = {}
    offset = 0
    # The groups are ordered by the last error: in a range that ends now, those of the page come first.
    while missing:
        found = await read(first_day * DAY_US, span.until_us, limit=_PAGE, offset=offset)
        days.update((group.id, group.days) for group in found if group.id in missing)
        missing.difference_update(group.id for group in found)
        offset += _PAGE
        if len(found) < _PAGE:
            break
    return days


def _trend(group: ErrorGroup, days: Sequence[tuple[int, int]], span: Range, deploy: Marker | None) -> ErrorTrend:
    before_day, first_day, last_day = _bounds(span)
    by_day = dict(days)
    return ErrorTrend(
        group=dataclasses.replace(group, days=tuple(entry for entry in days if first_day <= entry[0] <= last_day)),
        before=sum(errors for day, errors in days if before_day <= day < first_day),
        days=tuple(by_day.get(day, 0) for day in range(_trend_start(span), last_day + 1)),
        is_new=seen_since(deploy, group),
        range_days=last_day - first_day + 1,
    )


def _bounds(span: Range) -> tuple[int, int, int]:
    """Return the first day of the period before, and the first and last day of the range."""
    first_day, last_day = span.since_us // DAY_US, (span.until_us - 1) // DAY_US
    return 2 * first_day - last_day - 1, first_day, last_day


def _trend_start(span: Range) -> int:
    _, first_day, last_day = _bounds(span)
    return min(first_day, last_day - TREND_DAYS + 1)
