"""A database as a source: opened read-only, beside the bot that writes it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.exporters.base import Export
from cogmeter.exporters.table import exporter
from cogmeter.query.query import Query, now_us
from cogmeter.query.records import UnknownNameError
from cogmeter.schemas.alerts import page as alert_page
from cogmeter.schemas.dashboard import dashboard
from cogmeter.schemas.errors import errors
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.operations import OperationAnswer, OperationPage, page
from cogmeter.schemas.series import series
from cogmeter.schemas.service import service_stats
from cogmeter.schemas.slowest import slowest
from cogmeter_bot.sources.base import Exporting, NoDataError, RequestError
from cogmeter_bot.sources.diagnosis import Diagnosis, named, of_database
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.factory import sqlite_path
from cogmeter_storage.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.errors import Errors
    from cogmeter.schemas.series import Series
    from cogmeter.schemas.service import ServiceAnswer
    from cogmeter.schemas.slowest import Slowest
    from cogmeter.settings import Settings
    from cogmeter_storage import Store
    from cogmeter_storage.model import OperationRecord


# Where the names are, by what was asked for.
LISTED: Final = {
    "service": "`cogmeter summary --top 1000` lists the services.",
    "operation": "`cogmeter stats SERVICE --json` lists the operations of a service.",
}


class DatabaseSource:
    """Answers from the database of PERFORMANCE_DATABASE_URL, or from another file."""

    def __init__(self, store: Store, settings: Settings, url: str) -> None:
        """Made by ``open``."""
        self.name = str(sqlite_path(url))
        self._path = sqlite_path(url)
        self._store = store
        self._settings = settings
        self._query = Query(store)

    @classmethod
    async def open(cls, settings: Settings, url: str) -> DatabaseSource:
        """Open it.

        Raises:
            NoDataError: it cannot be opened.
        """
        with _in_our_words():
            return cls(await open_store(url, read_only=True), settings, url)

    async def dashboard(self, span: Range, services: Collection[str] | None) -> Dashboard:
        """See Source."""
        await self._something()
        with _in_our_words():
            alerts = await self._store.alerting.alerts(ACTIVE)
            return await dashboard(self._query, span, services=services, alerts=alerts)

    async def service(self, service: str, operation: str | None, span: Range) -> ServiceAnswer:
        """See Source."""
        await self._something()
        with _in_our_words():
            return await service_stats(self._query, service, operation, span)

    async def series(self, service: str | None, span: Range, *, trim: bool = False) -> Series:
        """See Source."""
        with _in_our_words():
            return await series(self._query, service, None, span, trim=trim)

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """See Source."""
        with _in_our_words():
            found, _ = await alert_page(self._store.alerting, state, limit=limit)
            return found

    async def errors(self, span: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """See Source."""
        await self._something()
        with _in_our_words():
            return await errors(self._query, span, service=service, operation=operation, limit=limit)

    async def failures(self, span: Range, service: str | None, *, limit: int) -> OperationPage:
        """See Source."""
        await self._something()
        with _in_our_words():
            found, _ = await page(
                self._query,
                span,
                service=service,
                operation=None,
                outcomes=FAILURES,
                slower_than_us=0,
                before_id=None,
                limit=limit,
            )
        operations = [OperationAnswer.of(one) for one in found]
        return OperationPage(time_range=TimeRange.of(span), operations=operations, next=None)

    async def slowest(
        self, span: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """See Source."""
        await self._something()
        with _in_our_words():
            return await slowest(self._query, span, services=services, operation=operation, limit=limit)

    async def names(self) -> list[str]:
        """See Source."""
        with _in_our_words():
            return list(await self._query.names())

    async def known(self, services: Collection[str]) -> None:
        """See Source."""
        with _in_our_words():
            await self._query.known(services)

    async def diagnosis(self, span: Range, services: Collection[str] | None) -> Diagnosis:
        """See Source."""
        with _in_our_words():
            standing = await self._store.alerting.alerts(ACTIVE)
            view = await dashboard(self._query, span, services=services, alerts=standing)
            limits = await self.limits()
            found = await of_database(self._store, self._path, view, self._settings, limits, now_us=now_us())
        return Diagnosis.of(self.name, named(found, services))

    async def limits(self) -> Limits:
        """See Source."""
        with _in_our_words():
            return Limits(self._settings, await self._store.alerting.overrides())

    async def export(self, kind: str, span: Range, services: Collection[str] | None) -> Exporting:
        """See Source."""
        await self._something()
        counted = _Counted(self._store)
        with _in_our_words():
            if services is not None:
                await self._query.known(services)
            wanted = [one.id for one in await self._store.series() if services is None or one.service in services]
            totals = await self._store.totals(span.since_us, span.until_us, groups=dict.fromkeys(wanted, 0))
        export = Export(
            since_us=span.since_us,
            until_us=span.until_us,
            at_us=now_us(),
            services=services,
            namespace=self._settings.metrics_namespace,
        )
        writer = exporter(kind)
        pieces = writer.write(cast("Store", counted), export)
        return Exporting(
            _told(pieces), int(totals.counts.sum()) if writer.streams else None, lambda: counted.operations
        )

    async def close(self) -> None:
        """See Source."""
        await self._store.close()

    async def _something(self) -> None:
        """Refuse to answer for a database in which there is nothing at all.

        Raises:
            NoDataError: nothing has been recorded yet.
        """
        with _in_our_words():
            recorded = await self._store.series()
        if not recorded:
            raise NoDataError(
                f"Nothing has been recorded in {self.name} yet; start the bot, or name another --database."
            )


class _Counted:
    """A store that counts the operations which are streamed out of it."""

    def __init__(self, store: Store) -> None:
        self.operations = 0
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[OperationRecord]]:
        """See Store.stream."""
        async for chunk in self._store.stream(series, since_us, until_us, rows=rows):
            self.operations += len(chunk)
            yield chunk


async def _told(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with _in_our_words():
        async for piece in pieces:
            yield piece


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except UnknownNameError as error:
        hint = "" if error.near else f" {LISTED[error.kind]}"
        raise RequestError(f"{error}{hint}") from error
    except StorageError as error:
        raise NoDataError(str(error)) from error
