"""Delivers what the outbox holds: a lane for each target, so that no target holds up another."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.alerts.delivery.target_worker import FAR_US, TargetWorker
from cogmeter.alerts.model import BOT, INFO, WARNING
from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import Notice
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.redaction import without_ids
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from cogmeter.notifiers.base import Notifier
    from cogmeter_storage.base import Store

STOP_S: Final = 10.0  # how long an attempt that runs at the end may take; one that is cut off counts as uncertain
TARGET_RULE: Final = "alert_target"  # of the word that another target was given up
TEST_RULE: Final = "test"

T = TypeVar("T")
_logger = logging.getLogger("cogmeter.notifiers")


class Dispatcher:
    """The outbox worker. What it could not deliver before the end is delivered after the next start."""

    def __init__(self, store: Store, notifiers: Sequence[Notifier], *, clock: Callable[[], int] = now_us) -> None:
        """Nothing runs until ``start``; ``clock`` gives the time in microseconds since 1970."""
        self.store = store  # set anew when a corrupt one is replaced
        self._sent_out_of_band: Callable[[Alert, str], bool] = lambda _alert, _target: False
        self._clock = clock
        self._lanes: dict[str, TargetWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tests: dict[str, asyncio.Task[str]] = {}  # that are being sent, by target
        self.notifiers = notifiers

    @property
    def notifiers(self) -> Sequence[Notifier]:
        """The targets, in the settings' order; set before ``start``."""
        return [lane.notifier for lane in self._lanes.values()]

    @notifiers.setter
    def notifiers(self, notifiers: Sequence[Notifier]) -> None:
        self._lanes = {one.name: TargetWorker(one, lambda: self.store, self._clock, self._gone) for one in notifiers}

    @property
    def delivered(self) -> Counter[str]:
        """How many changes each target was told of."""
        return Counter({lane.name: lane.delivered for lane in self._lanes.values() if lane.delivered})

    @property
    def failed(self) -> Counter[str]:
        """How many deliveries to each target were given up."""
        return Counter({lane.name: lane.failed for lane in self._lanes.values() if lane.failed})

    @property
    def stopped(self) -> dict[str, str]:
        """The targets that are told nothing more until the next start, and why."""
        return {lane.name: lane.stopped for lane in self._lanes.values() if lane.stopped}

    def targets(self, alert: Alert) -> tuple[str, ...]:
        """Return the targets that receive this alert; of a grouped alert, only those that take every alert."""
        return tuple(lane.name for lane in self._lanes.values() if self._tells(lane, alert))

    def _tells(self, lane: TargetWorker, alert: Alert) -> bool:
        if lane.stopped or (alert.group and not lane.notifier.single):
            return False
        return lane.knows(alert.uid) or not self._sent_out_of_band(alert, lane.name)

    def skip_alerts_sent_by(self, sent: Callable[[Alert, str], bool]) -> None:
        """Send no target an alert of which ``sent(alert, target)`` says that it was sent out of band."""
        self._sent_out_of_band = sent

    def stands(self, target: str, rule: str) -> bool:
        """Whether a target was told of an alert of this rule that is not over; any thread may ask."""
        lane = self._lanes.get(target)
        return lane is not None and lane.stands(rule)

    async def prepare(self) -> None:
        """Let every target find out whether it could deliver; what is wrong is logged and shown by ``findings``."""
        await _all([lane.prepare() for lane in self._lanes.values()])

    def start(self) -> None:
        """Deliver in the background, beginning with what the last run left."""
        for lane in self._lanes.values():
            lane.resume()
            self._run(lane.run(), name=f"cogmeter-alerts-{lane.name}")
        self._run(self._end_orphans(), name="cogmeter-alerts-orphans")

    async def stop(self) -> None:
        """Let what is being told arrive, for a bounded time; what waits is kept for the next start."""
        for lane in self._lanes.values():
            lane.halt()
        if self._tasks:
            await detached(_ended(set(self._tasks)), name="cogmeter-alerts-stop")

    def wake(self) -> None:
        """There is something new in the outbox."""
        for lane in self._lanes.values():
            lane.wake()

    async def deliver_due(self) -> None:
        """One pass over what is due, all targets at once.

        Raises:
            StorageError: the store cannot be used; nothing is lost.
        """
        await _all([lane.drain() for lane in self._lanes.values()])
        while told := [lane for lane in self._lanes.values() if lane.words and not lane.stopped]:
            await _all([lane.drain() for lane in told])

    async def test(self, actor: str, only: str | None = None) -> dict[str, str]:
        """Tell each target that ``actor`` (a display name) tries the way; "" or what went wrong, by target.

        With ``only``, tell that target alone; one that there is not is not in the answer. While a test of a target is
        being sent, no second one is: whoever asks meanwhile gets the first one's result.
        """
        words = f"Test of the alert targets by {actor}: nothing is wrong"
        notice = _notice(TEST_RULE, INFO, words, self._clock(), actor=actor, test=True)
        lanes = [lane for lane in self._lanes.values() if only in {None, lane.name}]
        said = await _all([self._test(lane, notice) for lane in lanes])
        return {lane.name: trouble for lane, trouble in zip(lanes, said, strict=True)}

    async def _test(self, lane: TargetWorker, notice: Notice) -> str:
        """Send a test, or wait for the one that is being sent."""
        running = self._tests.get(lane.name)
        if running is None:
            running = self._tests[lane.name] = detached(lane.test(notice), name=f"cogmeter-alerts-test-{lane.name}")
            running.add_done_callback(lambda _: self._tests.pop(lane.name))
        return await asyncio.shield(running)

    def findings(self) -> list[Finding]:
        """A line for each target: what it was told, and what keeps it from being told."""
        return list(self._findings())

    def _findings(self) -> Iterator[Finding]:
        for lane in self._lanes.values():
            name = f"alerts: {lane.name}"
            if lane.stopped:
                advice = "Fix it and reload the extension; until then this target receives nothing"
                yield Finding(name, well=False, text=f"stopped: {lane.stopped}", advice=advice)
            elif lane.trouble:
                yield Finding(name, well=False, text=lane.trouble, advice="See the log, and try it by a test alert")
            else:
                said = f"{lane.delivered} delivered, {lane.failed} failed"
                yield Finding(name, not lane.missed, said, "See the log, and try it by a test alert")

    def _gone(self, lane: TargetWorker) -> None:
        """Tell the others that one of them is told nothing more. Beside the outbox: the next start finds out anew."""
        words = f"The alert target {lane.name} receives no more alerts: {without_ids(lane.stopped)}"
        notice = _notice(TARGET_RULE, WARNING, words, self._clock())
        for other in self._lanes.values():
            if other is not lane and not other.stopped:
                other.words.append(notice)
                other.wake()

    async def _end_orphans(self) -> None:
        """End what waits for targets that the settings no longer switch on."""
        try:
            while found := [one for one in await self.store.alerting.due(FAR_US) if one.target not in self._lanes]:
                for delivery in found:
                    _logger.warning("An alert waited for the %s target, which is not set any more", delivery.target)
                    await self.store.alerting.end(
                        delivery.id, outcome="failed", now_us=self._clock(), error="the target is not set any more"
                    )
        except StorageError as error:
            _logger.warning("What waits for targets that are not set any more was not looked at: %s", error)

    def _run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = detached(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once, each to its end, outside of the caller's context; then the first that failed raises."""
    tasks = [detached(work, name="cogmeter-alerts") for work in works]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    """Wait for them, and end those that take too long."""
    _, late = await asyncio.wait(tasks, timeout=STOP_S)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def _notice(rule: str, severity: str, words: str, at_us: int, *, actor: str = "", test: bool = False) -> Notice:
    """Word of something that is no stored alert."""
    uid = f"{rule}-{uuid.uuid4().hex}"
    change = AlertChange(
        alert=uid,
        kind="fired",
        state=AlertState.FIRING,
        severity=severity,
        message=words,
        current=0,
        threshold=0,
        at_us=at_us,
        actor=actor,
    )
    alert = Alert(
        uid=uid,
        rule=rule,
        service=BOT,
        operation="",
        state=AlertState.FIRING,
        severity=severity,
        message=words,
        threshold=0,
        current=0,
        worst=0,
        started_us=at_us,
        seen_us=at_us,
        changed_us=at_us,
        fired_us=at_us,
    )
    return Notice(change, alert, test=test)
