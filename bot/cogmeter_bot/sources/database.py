"""A database as a source, opened read-only while its bot may write it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from cogmeter.alerts.incident_context import IncidentReader
from cogmeter.alerts.thresholds.learning import stored_limits
from cogmeter.diagnosis import MOST, Status
from cogmeter.diagnostics.attention_reader import Attention
from cogmeter.diagnostics.bot_state import judge_state
from cogmeter.diagnostics.judgement import settings_of_bot, stored_health
from cogmeter.diagnostics.process_health import fleet_findings, fleet_health
from cogmeter.exporters.base import Export
from cogmeter.exporters.table import exporter
from cogmeter.query.comparison_periods import UnknownPeriodError
from cogmeter.query.query import Query, now_us
from cogmeter.query.records import Range, UnknownNameError
from cogmeter.recording.service_names import labels
from cogmeter.render.rule_text import worded, worded_alerts
from cogmeter.schemas.alerts import alert_page
from cogmeter.schemas.base import TimeRange
from cogmeter.schemas.comparison import comparison
from cogmeter.schemas.costs import costs_answer
from cogmeter.schemas.errors import error_group_detail, error_group_page, errors
from cogmeter.schemas.fleet import FleetAnswer
from cogmeter.schemas.operations import OperationAnswer, OperationPage, operation_page, slowest
from cogmeter.schemas.resources import ResourcesAnswer
from cogmeter.schemas.selection import selection_answer
from cogmeter.schemas.slow import slow_answer
from cogmeter.schemas.state import BotStateAnswer
from cogmeter.schemas.statistics import dashboard, series, service_stats
from cogmeter.schemas.usage import usage_answer
from cogmeter.settings import merged
from cogmeter_bot.errors import NoDataError, NotLiveError, RequestError
from cogmeter_bot.sources.base import ExportStream
from cogmeter_bot.sources.counting_store import CountingStore
from cogmeter_bot.sources.diagnosis import (
    Diagnosis,
    alert_window,
    alerts_finding,
    components_of,
    past_lines,
    service_findings,
    services_now,
    stored_findings,
    with_health_now,
)
from cogmeter_bot.sources.freshness import Freshness, max_age_s
from cogmeter_bot.sources.stored_state import JudgedNow, judged_now, stored_facts
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.errors import UnknownErrorGroupError
from cogmeter_storage.factory import database_file, shown_url
from cogmeter_storage.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.costs import CostGrouping
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.comparison import ComparisonAnswer
    from cogmeter.schemas.costs import Costs
    from cogmeter.schemas.errors import ErrorGroupDetail, ErrorGroupPage, Errors
    from cogmeter.schemas.operations import RunningPage, Slowest
    from cogmeter.schemas.selection import SelectionAnswer
    from cogmeter.schemas.slow import SlowAnswer
    from cogmeter.schemas.statistics import Dashboard, Series, ServiceAnswer
    from cogmeter.schemas.usage import UsageAnswer
    from cogmeter.settings import Settings
    from cogmeter_storage import Store


HINTS: Final = {  # by parameter of an unknown name
    "service": "`cogmeter summary --top 1000` lists the commands and services.",
    "process": "`cogmeter fleet` lists the processes.",
    "operation": "`cogmeter stats SERVICE --json` lists the operations of a service.",
}


class DatabaseSource:
    """The database of PERFORMANCE_DATABASE_URL, or another file."""

    def __init__(self, whole: Query, query: Query, settings: Settings, url: str) -> None:
        """Use ``open`` instead; ``query`` reads one process of ``whole``, or is the same."""
        self._path = database_file(url)
        self.name = str(self._path or shown_url(url))
        self._settings = settings
        self._whole = whole
        self._query = query
        self._store = query.store

    @classmethod
    async def open(cls, settings: Settings, url: str, process: str | None = None) -> DatabaseSource:
        """Open the database, to read the operations of one process or of all.

        Raises:
            NoDataError: it cannot be opened.
            RequestError: no such process has written it.
        """
        with _source_errors():
            store = await open_store(url, read_only=True)
            try:
                whole = Query(store)
                return cls(whole, await whole.of_process(process), settings, url)
            except BaseException:
                await store.close()
                raise

    async def dashboard(
        self, time_range: Range, services: Collection[str] | None, *, findings: int = MOST
    ) -> Dashboard:
        """Implement Source.dashboard."""
        await self._require_data()
        with _source_errors():
            limits = await self.limits()
            now, _ = await services_now(self._query, alert_window(limits, now_us()), limits)
            alerts = await self._store.alerting.alerts(ACTIVE)
            incidents = IncidentReader(self._store, window_s=limits.settings.alert_window)
            attention = Attention(self._query, incidents=lambda: incidents, limits=lambda: limits)
            concerns = partial(attention.concerns, now=now, most=findings)
            answer = await dashboard(self._query, time_range, services=services, alerts=alerts, attention=concerns)
            return worded_alerts(answer)

    async def service(self, service: str, operation: str | None, time_range: Range) -> ServiceAnswer:
        """Implement Source.service."""
        await self._require_data()
        with _source_errors():
            answer = await service_stats(self._query, service, operation, time_range)
            return await with_health_now(answer, self._query, await self.limits())

    async def comparison(
        self, service: str | None, operation: str | None, *, before: str | None, after: str | None
    ) -> ComparisonAnswer:
        """Implement Source.comparison."""
        await self._require_data()
        with _source_errors():
            return await comparison(self._query, service, operation, before=before, after=after)

    async def series(self, service: str | None, time_range: Range, *, trim: bool = False) -> Series:
        """Implement Source.series."""
        with _source_errors():
            return await series(self._query, service, None, time_range, trim=trim)

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """Implement Source.alerts."""
        with _source_errors():
            alerts, _ = await alert_page(self._store.alerting, state, limit=limit)
            return [*map(worded, alerts)]

    async def errors(self, time_range: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """Implement Source.errors."""
        await self._require_data()
        with _source_errors():
            return await errors(self._query, time_range, service=service, operation=operation, limit=limit)

    async def error_groups(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> ErrorGroupPage:
        """Implement Source.error_groups."""
        await self._require_data()
        with _source_errors():
            page, _ = await error_group_page(
                self._query, time_range, services=services, operation=operation, resolved=False, limit=limit
            )
            return page

    async def error_group(self, number: int) -> ErrorGroupDetail:
        """Implement Source.error_group."""
        with _source_errors():
            detail = await error_group_detail(self._query, number)
        if detail is None:
            raise RequestError(str(UnknownErrorGroupError(number)))
        return detail

    async def failures(self, time_range: Range, service: str | None, *, limit: int) -> OperationPage:
        """Implement Source.failures."""
        await self._require_data()
        with _source_errors():
            operations, _ = await operation_page(
                self._query,
                time_range,
                service=service,
                operation=None,
                outcomes=FAILURES,
                slower_than_us=0,
                before_id=None,
                limit=limit,
            )
        answers = [OperationAnswer.of(operation) for operation in operations]
        return OperationPage(time_range=TimeRange.of(time_range), operations=answers, next=None)

    async def slowest(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """Implement Source.slowest."""
        await self._require_data()
        with _source_errors():
            return await slowest(self._query, time_range, services=services, operation=operation, limit=limit)

    async def slow(self, time_range: Range, service: str | None, operation: str | None = None) -> SlowAnswer:
        """Implement Source.slow."""
        await self._require_data()
        with _source_errors():
            return await slow_answer(self._query, time_range, service=service, operation=operation)

    async def selection(self, time_range: Range, service: str | None) -> SelectionAnswer:
        """Implement Source.selection."""
        await self._require_data()
        with _source_errors():
            markers = await self._store.markers(time_range.since_us, time_range.until_us)
            return worded_alerts(await selection_answer(self._query, time_range, service=service, markers=markers))

    async def running(self, *, limit: int) -> RunningPage:  # noqa: ARG002 - there is nothing to limit
        """Raise NotLiveError; see Source."""
        raise NotLiveError(
            f"{self.name} does not show what runs now: only the running bot knows. "
            "Read its API: --url http://127.0.0.1:3000, or set COGMETER_URL."
        )

    async def usage(self, time_range: Range) -> UsageAnswer:
        """Implement Source.usage."""
        await self._require_data()
        with _source_errors():
            return await usage_answer(self._query, time_range)

    async def resources(self, time_range: Range) -> ResourcesAnswer:
        """Implement Source.resources; only the running bot knows which objects grew."""
        await self._require_data()
        with _source_errors():
            return await ResourcesAnswer.read(self._query, time_range, None)

    async def fleet(self) -> FleetAnswer:
        """Implement Source.fleet."""
        with _source_errors():
            return FleetAnswer.of(await fleet_health(self._whole, await self.limits()))

    async def costs(self, time_range: Range, by: CostGrouping, service: str | None, *, limit: int) -> Costs:
        """Implement Source.costs."""
        await self._require_data()
        if service is not None:
            await self.require_services([service])
        with _source_errors():
            return await costs_answer(self._query.store, time_range, by, now_us=now_us(), service=service, limit=limit)

    async def service_names(self) -> list[str]:
        """Implement Source.service_names."""
        with _source_errors():
            return list(await self._query.names(other=False))

    async def subjects(self) -> list[str]:
        """Implement Source.subjects."""
        with _source_errors():
            names = await self._query.names(other=False)
        return [*labels(names), *names]

    async def require_services(self, services: Collection[str]) -> None:
        """Implement Source.require_services."""
        with _source_errors():
            await self._query.require_services(services)

    async def diagnosis(self, time_range: Range, services: Collection[str] | None) -> Diagnosis:
        """Implement Source.diagnosis."""
        with _source_errors():
            limits = await self.limits()
            view = await dashboard(self._query, time_range, services=services)
            now = await self._judged_now(limits)
            names = await self._query.names()
            processes = fleet_findings(await fleet_health(self._whole, limits))
        alerts = [alert for alert in now.alerts if services is None or alert.service in services]
        checks, window_s = now.services, limits.settings.alert_window
        findings = [
            *now.findings,
            *processes,
            *stored_findings(now.stored or now.health.components, current=bool(now.stored)),
            alerts_finding(alerts),
            *service_findings(names, checks, window_s),
        ]
        failing = {check.name for check in checks if check.status in {Status.DEGRADED, Status.UNHEALTHY}}
        past = past_lines(view, limits, time_range, failing, await self.alerts("history", limit=200))
        return Diagnosis.of(self.name, findings, services, now.verdict, past)

    async def state(self) -> BotStateAnswer:
        """Implement Source.state."""
        await self._require_data()
        with _source_errors():
            limits = await self.limits()
            now = await self._judged_now(limits)
            components = components_of(now.findings, now.stored)
            age_s = max_age_s(limits.settings.sample_interval)
            facts = await stored_facts(
                self._query, now.verdict, components, now.services, window=now.window, age_s=age_s
            )
        return BotStateAnswer.of(judge_state(facts, at_us=now.window.until_us))

    async def _judged_now(self, limits: Limits) -> JudgedNow:
        return await judged_now(self._query, limits, name=self.name, path=self._path)

    async def stopped(self) -> str:
        """Implement Source.stopped."""
        age_s = max_age_s((await self.limits()).settings.sample_interval)
        with _source_errors():
            return (await Freshness.read(self._store, age_s, now_us=now_us())).stopped_text()

    async def limits(self) -> Limits:
        """Implement Source.limits."""
        with _source_errors():
            return await stored_limits(self._store, await self._in_effect())

    async def export(self, kind: str, time_range: Range, services: Collection[str] | None) -> ExportStream:
        """Implement Source.export."""
        await self._require_data()
        counting = CountingStore(self._store)
        with _source_errors():
            if services is not None:
                await self._query.require_services(services)
            recorded = await self._store.series()
            ids = [series.id for series in recorded if services is None or series.service in services]
            totals = await self._store.totals(time_range.since_us, time_range.until_us, groups=dict.fromkeys(ids, 0))
            settings = await self._in_effect()
        export = Export(
            since_us=time_range.since_us,
            until_us=time_range.until_us,
            at_us=now_us(),
            services=services,
            namespace=settings.metrics_namespace,
        )
        writer = exporter(kind)
        expected = int(totals.counts.sum()) if writer.streams else None
        chunks = writer.write(cast("Store", counting), export)
        return ExportStream(_with_source_errors(chunks), expected, lambda: counting.operations)

    async def close(self) -> None:
        """Implement Source.close."""
        await self._whole.store.close()

    async def _in_effect(self) -> Settings:
        """Return the settings of the bot that writes the database, with the changes that were made in chat."""
        settings = settings_of_bot(self._settings, await stored_health(self._store))
        return merged(settings, await self._store.alerting.overrides()).settings

    async def _require_data(self) -> None:
        """Check that the database is not empty.

        Raises:
            NoDataError: nothing has been recorded yet.
        """
        with _source_errors():
            recorded = await self._store.series()
        if not recorded:
            raise NoDataError(
                f"Nothing has been recorded in {self.name} yet. Start the bot, or use another --database."
            )


async def _with_source_errors(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with _source_errors():
        async for chunk in chunks:
            yield chunk


@contextmanager
def _source_errors() -> Iterator[None]:
    """Raise a SourceError for each error of the query or the store."""
    try:
        yield
    except UnknownNameError as error:
        hint = "" if error.near else f" {HINTS[error.parameter]}"
        raise RequestError(f"{error}{hint}") from error
    except UnknownPeriodError as error:
        raise RequestError(f"--{error.parameter}: {error}") from error
    except StorageError as error:
        raise NoDataError(str(error)) from error
