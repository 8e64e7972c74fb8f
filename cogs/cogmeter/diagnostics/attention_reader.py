"""Reads the facts about what needs attention, with a bounded number of queries, and keeps them for some seconds."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT
from cogmeter.alerts.review.report import report_of
from cogmeter.alerts.rules import RULES
from cogmeter.diagnosis import BAD, MOST, Status
from cogmeter.diagnostics.attention import (
    AlertIncident,
    AttentionFacts,
    JudgedOperation,
    SlowPart,
    distinct,
    rank,
)
from cogmeter.diagnostics.deploy_checks import DeployChecks
from cogmeter.diagnostics.judgement import judge
from cogmeter.query.errors import group_of_failures, last_deploy
from cogmeter.query.records import Period, Range
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, BY_OPERATION, is_dependency
from cogmeter_storage.alerting import SENT, AlertState
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter.alerts.incident_context import IncidentReader
    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.diagnosis import Check, ConcernList
    from cogmeter.query.query import Query
    from cogmeter.query.records import AlertLine, IncidentContext, Overview, Summary
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.model import TraceRecord

READ: Final = 5  # alerts whose incident is read, the worst ones
MAIN_SHARE: Final = 0.5  # of a service's failures or time, from which one operation is named as their place
TRACES: Final = 20  # slowest interactions whose time is divided
JUDGED: Final = 10  # operations beyond their thresholds that are considered, those with most failures
GROUPS: Final = 50  # groups of errors that are searched for the cause of failing operations, last seen first
IGNORED_US: Final = 7 * DAY_US  # how far back rules are checked that nobody acts on
IGNORED_ALERTS: Final = 500  # newest alerts, and transitions, of that time
KEPT_S: Final = 15.0  # how long an incident that was read is used again
KEPT_IGNORED_S: Final = 300.0  # and the rules that nobody acts on


async def judged_operations(view: Overview | Summary, limits: Limits) -> list[JudgedOperation]:
    """Return the worst that are beyond their thresholds: commands and services; a whole of which no part is, too."""
    candidates = [(command.service, command.operation, command.figures) for command in view.commands]
    candidates += [(service, "", figures) for service, figures in view.services]
    found: list[JudgedOperation] = []
    worst_first: list[tuple[bool, int, int]] = []
    services: set[str] = set()
    async for service, operation, figures in paced(candidates):
        if not operation and service in services:
            continue
        judgement = judge(figures, limits, service, operation)
        if judgement.status in BAD:
            worst_first.append((judgement.status is not Status.UNHEALTHY, -figures.failures, len(found)))
            found.append(JudgedOperation(service, operation, judgement, figures.failures))
            services.add(service)
    if not found:
        whole = judge(view.total, limits)
        return [JudgedOperation("", "", whole, view.total.failures)] if whole.failing else []
    return [found[place] for *_, place in sorted(worst_first)[:JUDGED]]


class Attention:
    """Reads the facts of one bot, and returns what needs attention."""

    def __init__(
        self,
        query: Query,
        *,
        incidents: Callable[[], IncidentReader],
        limits: Callable[[], Limits],
    ) -> None:
        """``limits`` returns the thresholds in effect."""
        self._query = query
        self.deploys = DeployChecks(query)
        self._incidents = incidents
        self._limits = limits
        self._read: dict[
            str, tuple[float, AlertIncident]
        ] = {}  # by uid and version of the alert, with the time of reading
        self._ignored: tuple[float, Sequence[AlertLine]] | None = None

    async def concerns(
        self,
        view: Overview | Summary,
        active: Sequence[Alert],
        services: Collection[str] | None = None,
        *,
        now: Collection[Check] = (),
        most: int = MOST,
    ) -> ConcernList:
        """Return at most ``most`` findings, the worst first: of all services, or of these.

        ``active`` are the active alerts; an answer that lists them, too, passes the same ones. ``now`` are the checks
        of the services that the verdict judges; their names are those of the services.

        Raises:
            StorageError: the store cannot be read.
        """
        return rank(await self.facts(view, active, services, now), most)

    async def facts(
        self,
        view: Overview | Summary,
        active: Sequence[Alert],
        services: Collection[str] | None = None,
        now: Collection[Check] = (),
    ) -> AttentionFacts:
        """Read what ``rank`` decides on: the worst alerts' incidents, and the errors of failing operations.

        Raises:
            StorageError: the store cannot be read.
        """
        active = [alert for alert in active if services is None or alert.service in services]
        worst = [alert.uid for alert, _ in distinct(active)[:READ]]
        alerts = [await self._incident(alert) if alert.uid in worst else AlertIncident(alert) for alert in active]
        judged = await judged_operations(view, self._limits())
        ignored = await self._ignored_rules(self._query.span(Period.WEEK).until_us)
        check = await self.deploys.current()
        return AttentionFacts(
            range=view.range,
            alerts=[alert for alert in alerts if alert.alert.state in SENT],
            now=[one for one in now if one.status in BAD and (services is None or one.name in services)],
            judged=await self._with_errors(judged, view.range),
            ignored=[line for line in ignored if services is None or line.service in services],
            deploy=await last_deploy(self._query) if any(one.judgement.failing for one in judged) else None,
            check=None if check is None else check[0],
            regressions=[]
            if check is None
            else [one for one in check[1] if services is None or one.service in services],
        )

    async def _incident(self, alert: Alert) -> AlertIncident:
        """Return the alert with its incident, which is read again after a while."""
        key, now_s = f"{alert.uid} {alert.version}", time.perf_counter()
        self._read = {uid: entry for uid, entry in self._read.items() if now_s - entry[0] < KEPT_S}
        if key not in self._read:
            self._read[key] = now_s, await self._read_incident(alert)
        known = self._read[key][1]
        return AlertIncident(alert, known.context, known.operation, known.slow_part)

    async def _read_incident(self, alert: Alert) -> AlertIncident:
        context, rule = await self._incidents().of(alert), RULES.get(alert.rule)
        if rule is None or alert.service == BOT or rule.one_error:
            return AlertIncident(alert, context)
        operation = alert.operation or await self._main_operation(alert, context, rule)
        part = None
        if rule.slowest:
            store = self._query.store
            traces = await store.traces(alert.service, operation or None, context.since_us, limit=TRACES)
            part = slow_part([trace for trace in traces if trace.duration_us >= alert.threshold * 1000])
        return AlertIncident(alert, context, operation, part)

    async def _main_operation(self, alert: Alert, context: IncidentContext, rule: Rule) -> str:
        """Return the command, component or reply with most of the service's failures or time; empty if none has it."""
        if alert.service not in BY_OPERATION and alert.service != ACKNOWLEDGEMENT:
            return ""
        store = self._query.store
        series = [record for record in await store.series() if record.service == alert.service]
        if not series:
            return ""
        groups = {record.id: group for group, record in enumerate(series)}
        totals = await store.totals(context.since_us, context.until_us, groups=groups)
        counts = (totals.sum_us if rule.slowest else totals.failures).sum(axis=0)
        main = int(counts.argmax())
        return series[main].operation if counts[main] > MAIN_SHARE * max(int(counts.sum()), 1) else ""

    async def _with_errors(self, judged: Sequence[JudgedOperation], span: Range) -> list[JudgedOperation]:
        """Return the operations with the open error of most of their failures."""
        if not judged:
            return []
        groups = await self._query.store.errors.groups(span.since_us, span.until_us, resolved=False, limit=GROUPS)
        recent = [group for group in groups if group.last_us >= span.since_us]
        found = []
        for one in judged:
            error = await self._most_frequent(recent, one, span) if one.failures else None
            found.append(dataclasses.replace(one, error=error))
        return found

    async def _most_frequent(
        self, groups: Sequence[ErrorGroup], one: JudgedOperation, span: Range
    ) -> ErrorGroup | None:
        """Return the error of the most frequent failures, perhaps of an operation inside it; None if not known."""
        if not one.service:
            failed = [group for group in groups if group.kind is ErrorKind.FAILED]
            return max(failed, key=lambda group: group.count, default=None)
        ids = await self._query.ids(one.service, one.operation or None)
        failures = await self._query.store.failure_groups(ids, span.since_us, span.until_us, limit=1)
        return group_of_failures(failures[0], groups) if failures else None

    async def _ignored_rules(self, now_us: int) -> Sequence[AlertLine]:
        """Return the rules of the last days that nobody acted on."""
        now_s = time.perf_counter()
        if self._ignored is not None and now_s - self._ignored[0] < KEPT_IGNORED_S:
            return self._ignored[1]
        span = Range(now_us - IGNORED_US, now_us, "last 7 days")
        stored = self._query.store.alerting
        alerts = await stored.alerts(tuple(AlertState), since_us=span.since_us, limit=IGNORED_ALERTS)
        changes = await stored.changes(since_us=span.since_us, limit=IGNORED_ALERTS) if alerts else []
        self._ignored = now_s, report_of(alerts, changes, span).ignored
        return self._ignored[1]


def slow_part(traces: Sequence[TraceRecord]) -> SlowPart | None:
    """Return the part that most of these interactions' time is spent in, without what it calls itself; else None."""
    own_us: Counter[tuple[str, str]] = Counter()
    for trace in traces:
        called_us: Counter[int] = Counter()
        for span in trace.spans:
            called_us[span.parent] += span.duration_us
        for span in trace.spans:
            names = (span.service, "" if is_dependency(span.service) else span.operation)
            own_us[names] += max(span.duration_us - called_us[span.id], 0)
    whole_us = sum(trace.duration_us for trace in traces)
    if not own_us or not whole_us:
        return None
    names, part_us = own_us.most_common(1)[0]
    share = min(part_us / whole_us, 1.0)
    return SlowPart(*names, share) if share >= MAIN_SHARE else None
