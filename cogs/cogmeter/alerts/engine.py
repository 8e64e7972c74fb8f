"""The engine: checks the rules, holds the cooldown, stores each alert event, and then hands it to the notifiers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from cogmeter.alerts.rules import Thresholds, breaches
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import AlertEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.alerts.rules import Breach
    from cogmeter.alerts.window import Window
    from cogmeter_storage.base import Store

_logger = logging.getLogger("cogmeter.alerts")


class AlertEngine:
    """One alert event for each breach, at most one of a kind for a service in the cooldown."""

    def __init__(
        self,
        window: Window,
        thresholds: Thresholds,
        *,
        cooldown_s: float,
        store: Store,
        deliver: Callable[[AlertEvent], Awaitable[None]],
    ) -> None:
        self.thresholds = thresholds
        self.store = store  # set anew when a corrupt one is replaced
        self.checks = 0
        self._window = window
        self._cooldown_us = int(cooldown_s * 1e6)
        self._deliver = deliver
        self._last_us: dict[tuple[str, str], int] = {}

    async def restore(self, now_us: int) -> None:
        """Take up the cooldowns that were running when the bot went down."""
        for event in await self.store.alerts(now_us - self._cooldown_us, limit=1_000):
            at_us = self._last_us.get((event.rule, event.service), 0)
            self._last_us[event.rule, event.service] = max(at_us, event.at_us)

    async def watch(self, atoms: list[Any]) -> None:
        """Count a batch of the buffer's atoms."""
        await self._window.add(atoms, time.perf_counter())

    async def check(self) -> list[AlertEvent]:
        """Hold the window against the rules once; returns the events that were raised."""
        self.checks += 1
        now_us = time.time_ns() // 1000
        found = list(breaches(self._window.totals(time.perf_counter()), self.thresholds))
        _logger.debug("Check %d: %d breaches", self.checks, len(found))
        raised = [await self._raise(breach, now_us) for breach in found if self._due(breach, now_us)]
        return [event for event in raised if event is not None]

    def _due(self, breach: Breach, now_us: int) -> bool:
        last_us = self._last_us.get((breach.rule, breach.service))
        due = last_us is None or not 0 <= now_us - last_us < self._cooldown_us
        _logger.debug("%s: %s: %s", breach.service, breach.message, "alerting" if due else "in its cooldown")
        return due

    async def _raise(self, breach: Breach, now_us: int) -> AlertEvent | None:
        event = AlertEvent(
            rule=breach.rule,
            service=breach.service,
            severity=breach.severity,
            message=breach.message,
            threshold=breach.threshold,
            current=breach.current,
            at_us=now_us,
        )
        try:
            stored = await self.store.add_alert(event)
        except StorageError as error:
            # Not stored is not delivered: the breach is still there at the next check, and is tried again.
            _logger.error("Could not store the alert %r, trying again at the next check: %s", breach.message, error)  # noqa: TRY400 - the text says it all
            return None
        self._last_us[breach.rule, breach.service] = now_us
        await self._deliver(stored)
        return stored
