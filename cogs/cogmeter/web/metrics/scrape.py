"""One scrape: what is gathered on the loop, and what is worked out in a thread."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter.diagnostics import health_of
from cogmeter.query.query import now_us
from cogmeter.web.metrics.counters import Counters
from cogmeter.web.metrics.family import GAUGE, Family
from cogmeter.web.metrics.runtime_gauges import families
from cogmeter_storage.model import FAILURES, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.metrics.exposition import MetricsPage
    from cogmeter_storage.model import OperationRecord

EXAMPLES: Final = 20  # of each kind, of the last minutes
RECENT_US: Final = 5 * MINUTE_US


class Scraper:
    """Answers the scrapes of one monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._ledger = Counters(lambda: monitor.store, parts=monitor.parts)
        self._lock = asyncio.Lock()
        self._took_s: float | None = None

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> MetricsPage:
        """The answer to one scrape, in the format and encoding that its headers ask for.

        Raises:
            StorageError: the store cannot be read.
        """
        began_s = time.perf_counter()
        exposition = await _exposition()
        async with self._lock:  # two at once would only slow each other
            reading = await self._ledger.read()
            examples = await self._examples() if exposition.wants_exemplars(accept) else ((), ())
            told = families(self._monitor, await health_of(self._monitor).vital(), self._took_s)
            told += await self._slow_ones()
            scraped = exposition.Scraped(self._monitor.settings.metrics_namespace, reading, told, *examples)
            page: MetricsPage = await asyncio.to_thread(exposition.page, scraped, accept, accept_encoding)
        self._took_s = time.perf_counter() - began_s
        return page

    async def _examples(self) -> tuple[Sequence[OperationRecord], Sequence[OperationRecord]]:
        """Slow and failed operations of the last minutes that exemplars lead to."""
        store, until_us = self._monitor.store, now_us() + 1
        ids = [one.id for one in await store.series()]
        slow = await store.slowest(ids, until_us - RECENT_US, until_us, limit=EXAMPLES)
        failed = await store.page(None, until_us - RECENT_US, until_us, limit=EXAMPLES, outcomes=FAILURES)
        return [*failed, *slow], failed

    async def _slow_ones(self) -> list[Family]:
        """What is asked of the system or the store."""
        percent = await asyncio.to_thread(self._monitor.overhead.percent)
        status = await self._monitor.store.status()
        return [
            Family.one("monitor_overhead_ratio", GAUGE, "Share of one core that the monitor uses", percent / 100),
            Family.one("monitor_store_size_bytes", GAUGE, "Size of the database", status.size_bytes),
            Family.one("monitor_store_operations", GAUGE, "Operations that the database keeps", status.operations),
        ]


async def _exposition() -> Any:
    """The module that needs prometheus_client, imported in a thread the first time."""
    return await asyncio.to_thread(importlib.import_module, "cogmeter.web.metrics.exposition")


def scraper_of(monitor: Monitor) -> Scraper:
    """The scraper of this monitor, the same at every call."""
    if Scraper not in monitor.beside:
        monitor.beside[Scraper] = Scraper(monitor)
    scraper: Scraper = monitor.beside[Scraper]
    return scraper
