"""Delivers the outbox: one worker per target, so that no target delays another."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.alerts.delivery.target_worker import FAR_US, TargetWorker
from cogmeter.alerts.leadership import Term
from cogmeter.alerts.model import BOT, INFO, WARNING
from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import Notice
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.redaction import without_ids
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cogmeter.notifiers.base import Notifier
    from cogmeter_storage.base import Store

STOP_S: Final = 10.0  # wait for a running attempt at the stop; an interrupted attempt counts as uncertain
TARGET_RULE: Final = "alert_target"  # the type of the notice that another target has stopped
TEST_RULE: Final = "test"
ADVICE: Final = "See the log, and send a test with /perf test-alert"

T = TypeVar("T")
_logger = logging.getLogger("cogmeter.notifiers")


class Dispatcher:
    """Delivers stored changes to all targets. What is not delivered at the end is delivered after the next start."""

    def __init__(
        self,
        store: Store,
        notifiers: Sequence[Notifier],
        *,
        sent_out_of_band: Callable[[Alert, str], bool] = lambda _alert, _target: False,
        clock: Callable[[], int] = now_us,
        term: Term | None = None,
    ) -> None:
        """Nothing runs until ``start``; ``clock`` returns the time in microseconds since 1970.

        Alerts are sent in a ``term`` in which the process leads; None: always.

        ``sent_out_of_band(alert, target)`` is True for an alert that the target has received from outside the loop.
        """
        self.store = store  # replaced when a corrupt database is replaced
        self._sent_out_of_band = sent_out_of_band
        self._clock = clock
        self._term = Term() if term is None else term
        workers = (
            TargetWorker(notifier, lambda: self.store, clock, self._on_stopped, self._term) for notifier in notifiers
        )
        self._workers = {worker.name: worker for worker in workers}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tests: dict[str, asyncio.Task[str]] = {}  # running ones, by target

    @property
    def names(self) -> list[str]:
        """The names of the targets."""
        return list(self._workers)

    @property
    def delivered(self) -> Counter[str]:
        """The number of delivered changes, by target."""
        return Counter({worker.name: worker.delivered for worker in self._workers.values() if worker.delivered})

    @property
    def failed(self) -> Counter[str]:
        """The number of failed deliveries, by target."""
        return Counter({worker.name: worker.failed for worker in self._workers.values() if worker.failed})

    @property
    def stopped(self) -> dict[str, str]:
        """The targets that receive nothing more until the next start, and why."""
        return {worker.name: worker.stopped for worker in self._workers.values() if worker.stopped}

    def targets(self, alert: Alert) -> tuple[str, ...]:
        """Return the targets that receive this alert; of a grouped alert, only those that take every alert."""
        return tuple(worker.name for worker in self._workers.values() if self._receives(worker, alert))

    def _receives(self, worker: TargetWorker, alert: Alert) -> bool:
        if worker.stopped or (alert.group and not worker.notifier.per_alert):
            return False
        return worker.has_received(alert.uid) or not self._sent_out_of_band(alert, worker.name)

    def has_active(self, target: str, rule: str) -> bool:
        """Return True if a target received an alert of this rule that is still active. Thread-safe."""
        worker = self._workers.get(target)
        return worker is not None and worker.has_active(rule)

    async def prepare(self) -> None:
        """Check every target; errors are logged and shown by ``findings``."""
        await _all([worker.prepare() for worker in self._workers.values()])

    def start(self) -> None:
        """Deliver in the background, beginning with what the last run or leader left; a follower delivers nothing."""
        if not self._term.leads:
            return
        for worker in self._workers.values():
            worker.resume()
            self._run(worker.run(), name=f"cogmeter-alerts-{worker.name}")
        self._run(self._end_orphans(), name="cogmeter-alerts-orphans")

    async def stop(self) -> None:
        """Wait for running attempts, for a bounded time; what waits is kept for the next start."""
        for worker in self._workers.values():
            worker.halt()
        if self._tasks:
            await detached(_finish(set(self._tasks)), name="cogmeter-alerts-stop")

    def show(self, alerts: Sequence[Alert]) -> None:
        """Show the newest figures of the active alerts in their messages."""
        for worker in self._workers.values():
            worker.show(alerts)

    def wake(self) -> None:
        """Let every worker check the outbox now."""
        for worker in self._workers.values():
            worker.wake()

    async def deliver_due(self) -> None:
        """Deliver what is due once, to all targets at the same time.

        Raises:
            StorageError: the store cannot be used; nothing is lost.
        """
        await _all([worker.drain() for worker in self._workers.values()])
        while waiting := [worker for worker in self._workers.values() if worker.notices and not worker.stopped]:
            await _all([worker.drain() for worker in waiting])

    async def test(self, actor: str, only: str | None = None) -> dict[str, str]:
        """Send each target a test by ``actor`` (a display name). Return "" or the error, by target.

        With ``only``, test that target alone; a target that does not exist is not in the result. A test of a target
        that is already running is shared, not repeated.
        """
        text = f"Test of the alert targets by {actor}: nothing is wrong"
        notice = _notice(TEST_RULE, INFO, text, self._clock(), actor=actor, test=True)
        workers = [worker for worker in self._workers.values() if only in {None, worker.name}]
        errors = await _all([self._test(worker, notice) for worker in workers])
        return {worker.name: error for worker, error in zip(workers, errors, strict=True)}

    async def _test(self, worker: TargetWorker, notice: Notice) -> str:
        running = self._tests.get(worker.name)
        if running is None:
            running = detached(worker.test(notice), name=f"cogmeter-alerts-test-{worker.name}")
            self._tests[worker.name] = running
            running.add_done_callback(lambda _: self._tests.pop(worker.name))
        return await asyncio.shield(running)

    def finding(self, target: str) -> Finding:
        """Return the finding of a target: its deliveries, or what prevents them."""
        worker = self._workers[target]
        name = f"alerts: {target}"
        if worker.stopped:
            advice = "Fix it and reload the extension; until then this target receives nothing"
            return Finding(name, well=False, text=f"stopped: {worker.stopped}", advice=advice)
        if worker.problem:
            return Finding(name, well=False, text=worker.problem, advice=ADVICE)
        return Finding(name, not worker.missed, f"{worker.delivered} delivered, {worker.failed} failed", ADVICE)

    def findings(self) -> list[Finding]:
        """Return the finding of each target."""
        return [self.finding(name) for name in self._workers]

    def _on_stopped(self, stopped: TargetWorker) -> None:
        """Send the other targets a notice. It is not stored: the next start checks the target again."""
        text = f"The alert target {stopped.name} receives no more alerts: {without_ids(stopped.stopped)}"
        notice = _notice(TARGET_RULE, WARNING, text, self._clock())
        for worker in self._workers.values():
            if worker is not stopped and not worker.stopped:
                worker.notices.append(notice)
                worker.wake()

    async def _end_orphans(self) -> None:
        """Fail the deliveries to targets that the settings no longer switch on."""
        try:
            while orphans := [
                delivery for delivery in await self.store.alerting.due(FAR_US) if delivery.target not in self._workers
            ]:
                for delivery in orphans:
                    _logger.warning("Dropped an alert for the %s target, which is no longer set", delivery.target)
                    await self.store.alerting.end(
                        delivery.id, outcome="failed", now_us=self._clock(), error="the target is no longer set"
                    )
        except StorageError as error:
            _logger.warning("Deliveries to targets that are no longer set could not be dropped: %s", error)

    def _run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = detached(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all to their end at the same time, outside the caller's context; then raise the first error, if any."""
    tasks = [detached(work, name="cogmeter-alerts") for work in works]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _finish(tasks: set[asyncio.Task[None]]) -> None:
    """Wait for the tasks, and cancel those that take too long."""
    _, late = await asyncio.wait(tasks, timeout=STOP_S)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def _notice(rule: str, severity: str, text: str, at_us: int, *, actor: str = "", test: bool = False) -> Notice:
    """Return a notice about something that is not a stored alert."""
    alert = Alert(
        uid=f"{rule}-{uuid.uuid4().hex}",
        rule=rule,
        service=BOT,
        operation="",
        state=AlertState.FIRING,
        severity=severity,
        message=text,
        threshold=0,
        current=0,
        worst=0,
        started_us=at_us,
        seen_us=at_us,
        changed_us=at_us,
        fired_us=at_us,
    )
    return Notice(AlertChange.of(alert, "fired", at_us, actor=actor), alert, test=test)
