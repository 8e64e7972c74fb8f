"""Alerting as a whole: measurement, thresholds, lifecycle and delivery of one monitor."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.incident_context import IncidentReader
from cogmeter.alerts.leadership import Term, elapsed_s
from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.lifecycle.tracker import subject_of
from cogmeter.alerts.out_of_band import OutOfBandLog
from cogmeter.alerts.thresholds.keys import THRESHOLD
from cogmeter.alerts.thresholds.learning import Calibrator
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.startup import StartupGuard
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from cogmeter.alerts.thresholds.keys import OverrideKey
    from cogmeter.notifiers.base import Notifier
    from cogmeter.recording.budgets import Budgets
    from cogmeter.recording.waiting import Running
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Revision
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

MOVED_BY: Final = "cogmeter"  # the actor in a new database's audit log; who changed a threshold is in the old one

REFRESH_S: Final = 15.0  # between two readings of the alerts by a process that does not lead

_logger = logging.getLogger("cogmeter.alerts")


class Alerting:
    """Connects limits, evaluator, engine and dispatcher of one monitor."""

    def __init__(
        self,
        settings: Settings,
        names: list[tuple[str, str]],
        store: Store,
        *,
        notifiers_of: Callable[[IncidentReader], Sequence[Notifier]],
        url_of: Callable[[OperationRecord], str | None],
        running: Callable[[float], Awaitable[Sequence[Running]]] | None = None,
        parts: StartupGuard | None = None,
        budgets: Budgets | None = None,
        learn: Callable[[Iterable[tuple[str, str]]], object] | None = None,
        term: Term | None = None,
    ) -> None:
        """``names`` is the recorder's growing list of (service, operation), by series number.

        ``notifiers_of`` returns the notifiers, which may read incident contexts. ``url_of`` returns the link to an
        operation's message in Discord, if it is remembered. ``running`` is that of ``Evaluator``. ``parts`` receives
        failures at the start. ``budgets`` are the recorder's. ``learn`` adds names to ``names``. In a ``term`` in which
        the process does not lead (None: it leads), nothing is checked and nothing is sent.
        """
        self._parts = StartupGuard(Counter()) if parts is None else parts
        self._store = store
        self.term = Term() if term is None else term
        self._revision: Revision | None = None  # the changes of others that are in effect
        self._followed_s = 0.0
        self._overrides: Mapping[str, str] = {}
        self._outdated = False  # the store has other overrides, which could not be read
        self._catching_up: asyncio.Task[None] | None = None
        self._checking = asyncio.Lock()
        self.limits = Limits(settings)
        self.calibrator = Calibrator(self.limits)
        self.evaluator = Evaluator(
            names, self.limits, window_s=settings.alert_window, running=running, budgets=budgets, learn=learn
        )
        self.incidents = IncidentReader(store, window_s=settings.alert_window, url_of=url_of)
        self.out_of_band_log = OutOfBandLog(overlap_s=settings.alert_window + settings.alert_check_interval)
        self.delivery = Dispatcher(
            store, notifiers_of(self.incidents), sent_out_of_band=self.out_of_band_log.covers, term=self.term
        )
        self.engine = AlertEngine(
            store,
            self.limits.of,
            Policy(
                cooldown_s=settings.alert_cooldown,
                group_from=settings.alert_group_from,
                reminder_s=settings.alert_reminder_interval,
                escalate_after_s=settings.alert_escalate_after,
            ),
            targets=self.delivery.targets,
            wake=self.delivery.wake,
            term=self.term,
        )

    async def start(self) -> None:
        """Continue where the last run ended, and deliver what it left. A part that fails starts empty."""
        with self._parts.guard("changed thresholds", "the configured ones apply"):
            try:
                await self._read_overrides()
            except StorageError:
                self._outdated = True
                raise
        with self._parts.guard("calibrated thresholds", "they are learned again"):
            await self.calibrator.restore(self._store)
        await self.evaluator.restore(self._store, now_us(), self._parts)
        await self.engine.restore(now_us(), self._parts)
        with self._parts.guard("alert delivery", "no alert is sent"):
            self.delivery.start()
        self._catching_up = detached(self._catch_up(), name="cogmeter-costs")
        _logger.debug("Alerting to %s", self.delivery.names)

    async def stop(self) -> None:
        """Finish running deliveries, and store the learned baselines."""
        await self.engine.rest()
        await self.delivery.stop()
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.wait([self._catching_up])
        try:
            await self.keep()
            if self.term.leads:
                await self.calibrator.keep(self._store)
        except StorageError as error:
            _logger.warning("Could not store the learned baselines; the next start uses older ones: %s", error)

    async def check(self) -> None:
        """Evaluate every rule once, and step the alerts."""
        async with self._checking:
            if self._outdated:
                await self.apply_overrides()
            if not self.engine.restored:
                await self.engine.restore(now_us(), self._parts)
            if not self.term.leads:
                await self.evaluator.follow(now_us())
                await self.evaluator.share(now_us())
                return
            readings = await self.evaluator.evaluate(now_us())
            not_judged = self.evaluator.not_judged(map(subject_of, self.engine.active), readings)
            await self.engine.step(readings, now_us(), not_judged)
            self.delivery.show(self.engine.active)

    async def follow(self) -> bool:
        """Put what other processes have changed into effect; return True if people have changed anything.

        Raises:
            StorageError: the store cannot be read; the next call reads it.
        """
        async with self._checking:
            stored = await self._store.alerting.revision()
            before, now_s = self._revision, elapsed_s()
            changed = before is None or stored.audit != before.audit
            # A follower shows the figures of alerts, which are stored without a change.
            stale = not self.term.leads and now_s - self._followed_s >= REFRESH_S
            if changed:
                await self._read_overrides()
            if stored != before or stale:
                await self.engine.follow(now_us())
                self._followed_s = now_s
            await self.calibrator.follow(self._store)
            self._revision = stored
        return changed

    async def finish_check(self) -> None:
        """Wait for the running check: a successor must not begin before it has stored its changes."""
        async with self._checking:
            return

    async def stepped(self, step_us: int) -> None:
        """Follow a step of the clock: alerts, mutes, deliveries and windows continue as if it had not been set.

        Raises:
            StorageError: mutes and deliveries keep their times in the store.
        """
        self.evaluator.stepped(step_us)
        await self.engine.stepped(step_us, now_us())
        self.delivery.wake()

    async def apply_overrides(self) -> None:
        """Apply the stored overrides of thresholds, now or as soon as the store can read them."""
        try:
            await self._read_overrides()
        except StorageError as error:
            if not self._outdated:
                _logger.warning("Could not read the changed thresholds: %s. cogmeter retries at the next check", error)
            self._outdated = True

    async def _read_overrides(self) -> None:
        overrides, known = await self._store.alerting.overrides(), self.limits.left_out
        self._overrides, self._outdated = overrides, False
        self.limits.override(overrides)
        for key, why in self.limits.left_out.items():
            if key not in known:
                _logger.warning("A changed threshold has no effect in this version: %s", why)

    async def _catch_up(self) -> None:
        with self._parts.guard("spending before the start", "costs of earlier days are missing"):
            await self.evaluator.spending.catch_up(self._store.own)
        with self._parts.guard("first calibration", "thresholds are learned later"):
            try:
                await self.calibrate()
            except StorageError as error:
                _logger.debug("Thresholds are learned at the next run of the job", exc_info=error)

    async def calibrate(self) -> None:
        """Learn the thresholds that no person has set, where enough has happened since the last time."""
        if self.term.leads:
            await self.calibrator.learn(self._store, now_us())

    async def learn_again(self, keys: Iterable[OverrideKey]) -> None:
        """Forget the calibrated thresholds of these keys, and learn them from the last three days."""
        subjects = [key.subject for key in keys if key.field == THRESHOLD]
        await self.calibrator.learn_again(self._store, subjects, now_us())

    async def keep_costs(self) -> None:
        """Store the costs that wait, so that answers have them and a crash loses none."""
        await self.evaluator.keep_costs(self._store)

    async def keep(self) -> None:
        """Store the costs, and the learned baselines for the next start or leader."""
        await self.evaluator.keep(self._store, learned=self.term.leads)

    async def move(self, store: Store) -> None:
        """Continue with another store: an empty one, the same one opened again, or a restored backup.

        Active alerts, mutes and learned baselines are copied. Overrides are copied into an empty store; a store that
        has its own keeps them. Waiting deliveries are lost with the old store; the alert's next change is sent.
        """
        self._store = self.delivery.store = self.incidents.store = self.evaluator.store = store
        try:
            await self.engine.move(store, now_us())
            if await store.series():
                await self.apply_overrides()
            else:
                self.evaluator.learn_errors_again()
                await store.alerting.override(self._overrides, now_us=now_us(), actor=MOVED_BY)
            await self.calibrator.move(store)
            await self.evaluator.keep(store)
        except StorageError as error:
            _logger.error("Not all alerts, mutes and thresholds were copied into the new database: %s", error)  # noqa: TRY400 - the text says it all
