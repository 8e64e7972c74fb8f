"""One scrape: data is collected on the loop and formatted in a thread."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter.exporters.gauge_names import GAUGE
from cogmeter.query.query import now_us
from cogmeter.query.usage import people_of_operations
from cogmeter.web.metrics.counters import Counters
from cogmeter.web.metrics.families import Family, families, people_families
from cogmeter_storage.model import DAY_US, FAILURES, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.metrics.exposition import MetricsPage
    from cogmeter_storage.model import OperationRecord

EXEMPLARS: Final = 20  # operations of each kind that become exemplars
RECENT_US: Final = 5 * MINUTE_US
PEOPLE_S: Final = 300.0  # how long counts of people are kept: reading a day of sketches takes milliseconds


class Scraper:
    """Serves the scrapes of one monitor."""

    def __init__(self, monitor: Monitor, health: Health) -> None:
        self._monitor = monitor
        self._health = health
        self._counters = Counters(lambda: monitor.store.own, parts=monitor.parts)
        self._lock = asyncio.Lock()
        self._duration_s: float | None = None
        self._people: list[Family] = []
        self._people_s: float | None = None  # when they were read

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> MetricsPage:
        """Return the metrics in the format and encoding of the request's headers.

        Raises:
            StorageError: the store cannot be read.
        """
        start_s = time.perf_counter()
        exposition = await _exposition()
        async with self._lock:  # concurrent scrapes would only slow each other
            reading = await self._counters.read()
            exemplars = await self._exemplars() if exposition.wants_exemplars(accept) else ((), ())
            all_families = families(self._monitor, await self._health.vital(), self._duration_s)
            all_families += [*await self._slow_families(), *await self._people_families()]
            scraped = exposition.Scraped(self._monitor.settings.metrics_namespace, reading, all_families, *exemplars)
            page: MetricsPage = await asyncio.to_thread(exposition.page, scraped, accept, accept_encoding)
        self._duration_s = time.perf_counter() - start_s
        return page

    async def _exemplars(self) -> tuple[Sequence[OperationRecord], Sequence[OperationRecord]]:
        """Return slow and failed operations of the last minutes as exemplars."""
        store, until_us = self._monitor.store, now_us() + 1
        ids = [series.id for series in await store.series()]
        slow = await store.slowest(ids, until_us - RECENT_US, until_us, limit=EXEMPLARS)
        failed = await store.page(None, until_us - RECENT_US, until_us, limit=EXEMPLARS, outcomes=FAILURES)
        return [*failed, *slow], failed

    async def _slow_families(self) -> list[Family]:
        """Return the metrics that need the operating system or the store."""
        percent = await asyncio.to_thread(self._monitor.overhead.percent)
        status = await self._monitor.store.status()
        return [
            Family.single("monitor_overhead_ratio", GAUGE, "CPU use of the monitor, 1 for one core", percent / 100),
            Family.single("monitor_store_size_bytes", GAUGE, "Size of the database", status.size_bytes),
            Family.single("monitor_store_operations", GAUGE, "Operations in the database", status.operations),
        ]

    async def _people_families(self) -> list[Family]:
        """Return the numbers of users and guilds of the last 24 hours, read again every few minutes."""
        at_s = time.perf_counter()
        if self._monitor.settings.usage and (self._people_s is None or at_s - self._people_s > PEOPLE_S):
            until_us = now_us()
            self._people = people_families(await people_of_operations(self._monitor.store, until_us - DAY_US, until_us))
            self._people_s = at_s
        return self._people


async def _exposition() -> Any:
    """Return the module that needs prometheus_client, imported in a thread the first time."""
    return await asyncio.to_thread(importlib.import_module, "cogmeter.web.metrics.exposition")
