"""The incident context of an alert: who is affected, the most common error, an example, and recent changes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.errors import group_number
from cogmeter.alerts.model import BOT
from cogmeter.alerts.rules import RULES
from cogmeter.query.errors import KNOWN_GROUPS, group_of_failures
from cogmeter.query.records import IncidentContext
from cogmeter.recording import service_names
from cogmeter.redaction import without_ids
from cogmeter_storage.errors import headline
from cogmeter_storage.failure_groups import kind_of
from cogmeter_storage.model import HOUR_US, FailureGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.model import OperationRecord

READ: Final = 500  # single operations
BEFORE_US: Final = HOUR_US  # older changes are not listed
MARKERS: Final = 20
INTRODUCED: Final = "alerts.introduced"  # the stored key of the rules that were explained

_logger = logging.getLogger("cogmeter.alerts")

_PERSON = re.compile(r"[0-9a-f]{8}")  # a hash of watch.people; a value that the host itself calls "user" is not counted


class IncidentReader:
    """Reads incident contexts from ``store``, which is replaced with a corrupt database; knows which alerts explain."""

    def __init__(
        self, store: Store, *, window_s: float, url_of: Callable[[OperationRecord], str | None] = lambda _: None
    ) -> None:
        """``window_s`` is the length of the window that rules measure.

        ``url_of`` returns the link to an operation's message in Discord, if it is remembered.
        """
        self.store = store
        self.url_of = url_of
        self._window_us = int(window_s * 1e6)
        self._introduced: dict[str, str] | None = None  # the uid of the first alert that was shown, by rule
        self._introducing = asyncio.Lock()

    async def introduces(self, alert: Alert) -> bool:
        """Return whether this is the first alert of its rule that a Discord message shows; if none was, it is now.

        Raises:
            StorageError: the store cannot be used now.
        """
        if alert.rule not in RULES:
            return False
        async with self._introducing:
            introduced = await self._read_introduced() if self._introduced is None else self._introduced
            if alert.rule not in introduced:
                introduced = {**introduced, alert.rule: alert.uid}
                await self.store.set_value(INTRODUCED, json.dumps(introduced).encode())
            self._introduced = introduced
        return introduced[alert.rule] == alert.uid

    async def _read_introduced(self) -> dict[str, str]:
        stored = await self.store.get_value(INTRODUCED)
        with contextlib.suppress(ValueError):
            value = json.loads(stored or b"{}")
            if isinstance(value, dict):
                return {str(rule): str(uid) for rule, uid in value.items()}
        _logger.warning("The list of explained rules cannot be read; each rule is explained once more")
        return {}

    async def of(self, alert: Alert) -> IncidentContext:
        """Return the alert's context, from the start of its window to its end, or to its last measurement.

        Counts are of whole minutes. Users are counted in the newest failures (for slowness, in the slowest operations
        beyond the threshold) that ran inside interactions.

        Raises:
            StorageError: the store cannot be read now.
        """
        since_us = alert.started_us - self._window_us
        until_us = max(alert.seen_us, alert.resolved_us or 0, alert.started_us) + 1
        markers = await self.store.markers(alert.started_us - BEFORE_US, alert.started_us + 1, limit=MARKERS)
        context = IncidentContext(since_us, until_us, 0, 0, markers=tuple(reversed(markers)))
        series = await self._series(alert)
        if not series:
            return await self._with_stored_error(context, alert)
        totals = await self.store.totals(since_us, until_us, groups=dict.fromkeys(series, 0))
        context = dataclasses.replace(
            context,
            since_us=totals.since_us,
            until_us=totals.until_us,
            operations=int(totals.counts.sum()),
            failures=int(totals.failures.sum()),
        )
        return await self._with_stored_error(await self._with_examples(context, alert, series), alert)

    async def _with_stored_error(self, context: IncidentContext, alert: Alert) -> IncidentContext:
        """Return the context with the error group that a rule about errors is about."""
        rule = RULES.get(alert.rule)
        group: ErrorGroup | None = None
        if rule is not None and rule.one_error:
            number = group_number(alert.operation)
            found = None if number is None else await self.store.errors.group(number)
            group = None if found is None else found[0]
        elif rule is not None and rule.error_kind is not None:
            services = None if alert.service == BOT else [alert.service]
            span = context.since_us, context.until_us
            groups = await self.store.errors.groups(*span, services=services, kinds=[rule.error_kind])
            recent = [candidate for candidate in groups if candidate.last_us >= context.since_us]
            group = max(recent, key=lambda candidate: candidate.count, default=None)
        if group is None:
            return context
        error = headline(group.type, group.message)
        count = group.count if rule is not None and rule.one_error else 0
        return dataclasses.replace(
            context, most_common_error=_without_ids(error), most_common_count=count, error_group=group
        )

    async def _series(self, alert: Alert) -> list[int]:
        """Return the ids of the series that the alert concerns; none for an unknown service."""
        known = await self.store.series()
        rule = RULES.get(alert.rule)
        service = alert.service if rule is None else rule.measured_service(alert.service)
        if service == BOT:
            return [series.id for series in known if not service_names.in_background(series.service)]
        names = {service} if not alert.operation else {(service, alert.operation)}
        return [series.id for series in known if {series.service, (series.service, series.operation)} & names]

    async def _with_examples(self, context: IncidentContext, alert: Alert, series: Collection[int]) -> IncidentContext:
        """Return the context with users, most common error and example, from single operations."""
        scope = (series, context.since_us, context.until_us)
        rule = RULES.get(alert.rule)
        if rule is not None and rule.slowest:
            slowest = await self.store.slowest(*scope, limit=READ)
            affected = [operation for operation in slowest if operation.duration_us >= alert.threshold * 1000]
            example = next(iter(slowest), None)
        else:
            affected = await self.store.recent(*scope, limit=READ, failed=True)
            # The newest one with a link, so that the reader can open it.
            example = next((operation for operation in affected if self.url_of(operation)), next(iter(affected), None))
        failures = _most_common_error(affected)
        return dataclasses.replace(
            context,
            users=_distinct(affected, "user"),
            guilds=_distinct(affected, "guild"),
            most_common_error=None if failures is None else _without_ids(failures.example.error),
            most_common_count=0 if failures is None else failures.count,
            error_group=None if failures is None else await self._error_group(context, failures),
            example=None if example is None else dataclasses.replace(example, error=_without_ids(example.error)),
            example_url=None if example is None else self.url_of(example),
        )

    async def _error_group(self, context: IncidentContext, failures: FailureGroup) -> ErrorGroup | None:
        """Return the error group of the most common error, which knows its file and line; None if it has none."""
        groups = await self.store.errors.groups(context.since_us, context.until_us, limit=KNOWN_GROUPS)
        return group_of_failures(failures, groups)


def _distinct(operations: Sequence[OperationRecord], kind: str) -> int | None:
    """Return the number of distinct users or guilds of the operations; None if no operation names one."""
    values = {operation.metadata.get(kind) for operation in operations}
    hashes = {value for value in values if isinstance(value, str) and _PERSON.fullmatch(value)}
    return len(hashes) or None


def _most_common_error(operations: Sequence[OperationRecord]) -> FailureGroup | None:
    """Return the failures with the most common error of the operations (newest first); None if none has a text.

    Errors of one place that differ only in numbers and ids count as the same.
    """
    kinds = [((kind_of(one.error), one.error_group), one) for one in operations if one.error]
    if not kinds:
        return None
    most_common, count = Counter(kind for kind, _ in kinds).most_common(1)[0]
    failed = [operation for found, operation in kinds if found == most_common]
    newest, oldest = failed[0], failed[-1]
    return FailureGroup(
        service=newest.service,
        operation=newest.operation,
        kind=most_common[0],
        outcome=newest.outcome,
        count=count,
        first_us=oldest.end_us,
        last_us=newest.end_us,
        example=newest,
        truncated=False,
    )


def _without_ids(error: str | None) -> str | None:
    """Return an error's text without ids of users, guilds and channels, as it may leave the bot."""
    return None if error is None else without_ids(error)
