"""The worker of one target: attempts its due deliveries in order and stores each result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.delivery.attempts import AttemptLog, AttemptResult, TokenBucket, delay_us
from cogmeter.notifiers.base import Notice, NotifyError
from cogmeter_storage.alerting import AlertChange, AlertState
from cogmeter_storage.base import StorageError
from cogmeter_storage.lease import LostLeadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cogmeter.alerts.leadership import Term
    from cogmeter.notifiers.base import Notifier
    from cogmeter_storage.alerting import Alert, Delivery
    from cogmeter_storage.base import Store

GIVE_UP_US: Final = 24 * 3_600_000_000  # an older alert is not useful any more
ATTEMPTS: Final = 10  # before a delivery counts as too old: it may have waited while the bot was off
FAULTS: Final = 3  # attempts that end in an unexpected exception
ANSWER_S: Final = 120.0  # time limit of one attempt; discord.py itself waits for rate limits
FAR_US: Final = 2**62  # later than anything is due
IDLE_S: Final = 60.0  # the longest wait: the clock may be set while the worker waits
SHORTEST_PAUSE_S: Final = 0.2  # a delivery whose result the store refuses stays due
PAUSE_S: Final = 1.0  # doubled with each failure of the store
LONGEST_PAUSE_S: Final = 60.0
REFRESHED: Final = "refreshed"  # the kind of a change that is not stored
REFRESH_US: Final = 50_000_000  # a message shows new figures no more often than this, with every second check
REFRESH_OLD_US: Final = 600_000_000  # and one of an older alert: Discord limits the edits of messages after an hour
OLD_US: Final = 3_600_000_000

_logger = logging.getLogger("cogmeter.notifiers")


class TargetWorker:
    """Delivers to one notifier. Targets never wait for each other."""

    def __init__(
        self,
        notifier: Notifier,
        store: Callable[[], Store],
        clock: Callable[[], int],
        on_stopped: Callable[[TargetWorker], None],
        term: Term,
    ) -> None:
        """``store`` returns the present store. ``on_stopped`` is called once if the target becomes unusable."""
        self.notifier = notifier
        self.delivered = 0
        self.failed = 0  # deliveries that are no longer attempted
        self.missed = 0  # of these, since the last success
        self.problem = ""  # the last attempt's error; empty after a success
        self.stopped = ""  # why the target receives nothing more
        self.notices: deque[Notice] = deque()  # sent once, without the outbox
        self._active_rules: dict[str, str] = {}  # rules of the active alerts that it received, by uid
        self._shown: dict[str, tuple[str, int]] = {}  # the message of each active alert that the target shows, and when
        self._outdated: dict[str, Alert] = {}  # active alerts with newer figures, by uid
        self._store = store
        self._clock = clock
        self._on_stopped = on_stopped
        self._term = term
        self._bucket = TokenBucket(notifier.rate)
        self._woken = asyncio.Event()
        self._halted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._log = AttemptLog(store, clock)

    @property
    def name(self) -> str:
        """The target's name."""
        return self.notifier.name

    def has_received(self, uid: str) -> bool:
        """Return True if it received this alert since the start, and not its resolution."""
        return uid in self._active_rules

    def has_active(self, rule: str) -> bool:
        """Return True if it received an alert of this rule since the start that is still active. Thread-safe."""
        return rule in list(self._active_rules.values())

    def show(self, alerts: Iterable[Alert]) -> None:
        """Show the newest figures of these active alerts, where a message is edited in place; not too often."""
        now_us = self._clock()
        active = {alert.uid: alert for alert in alerts if alert.fired_us is not None and not alert.group}
        self._shown = {uid: shown for uid, shown in self._shown.items() if uid in active}
        for uid, alert in active.items() if self.notifier.edits_in_place else ():
            message, at_us = self._shown.get(uid, ("", 0))
            pause_us = REFRESH_US if now_us - alert.started_us < OLD_US else REFRESH_OLD_US
            if message != alert.message and now_us - at_us >= pause_us:
                self._outdated[uid] = alert
        if self._outdated:
            self.wake()

    def wake(self) -> None:
        """Check the outbox now."""
        self._woken.set()

    def resume(self) -> None:
        """Allow attempts again; call it before ``run``."""
        self._halted.clear()

    def halt(self) -> None:
        """Begin no further attempt."""
        self._halted.set()
        self._woken.set()

    async def run(self) -> None:
        """Deliver until it is halted. While the store fails, pause for longer and longer."""
        failures = 0
        while not self._halted.is_set():
            self._woken.clear()
            try:
                at_us = await self.drain()
            except Exception as error:  # noqa: BLE001 - a bug must not end the worker; it is logged there
                failures += 1
                self._log_failure(error, failures)
                await _wait(self._halted, min(PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S))
            else:
                failures = 0
                wait_s = IDLE_S if at_us is None else (at_us - self._clock()) / 1e6
                await _wait(self._woken, min(max(wait_s, SHORTEST_PAUSE_S), IDLE_S))
        with contextlib.suppress(StorageError):
            await self._log.retry()

    async def drain(self) -> int | None:
        """Deliver what is due, as fast as the target allows. Return when to check again; None: when woken.

        Raises:
            StorageError: the store cannot be used now. Nothing is lost; call it again.
        """
        async with self._lock:
            await self._log.retry()
            while self.notices and not self.stopped:
                await self._send_unstored(self.notices.popleft())
            while self._may_send:
                now_us = self._clock()
                due = await self._log.due(self.name, now_us, limit=1)
                if not due or self._bucket.ready_us(now_us) > now_us:
                    break
                await self._deliver(due[0], now_us)
            if self.stopped:
                await self._fail_all()
                return None
            await self._refresh()
            return await self._next_us()

    @property
    def _may_send(self) -> bool:
        return self._term.leads and not self._halted.is_set() and not self.stopped

    async def _refresh(self) -> None:
        """Edit the messages whose figures have changed. A failure is not repeated: the next check has newer ones."""
        store, now_us = self._store(), self._clock()
        while self._outdated and self._may_send and self._bucket.ready_us(now_us) <= now_us:
            uid, alert = self._outdated.popitem()
            if self._shown.get(uid, ("", 0))[0] == alert.message:  # a change was delivered in the meantime
                continue
            self._shown[uid] = alert.message, now_us
            receipt = await store.alerting.receipt(uid, self.name)
            if receipt is None:
                continue
            self._bucket.take(now_us)
            members = await store.alerting.alerts(tuple(AlertState), group=uid)
            notice = Notice(AlertChange.of(alert, REFRESHED, now_us), alert, tuple(members), receipt=receipt)
            try:
                await asyncio.wait_for(self.notifier.refresh(notice), ANSWER_S)
            except Exception as error:  # noqa: BLE001 - a message with older figures is no reason to stop
                _logger.debug("The %s target could not show the figures of alert %d: %s", self.name, alert.id, error)

    async def prepare(self) -> None:
        """Let the notifier check its target, and remember its error. A stopped target is not checked."""
        if self.stopped:  # Discord requires that a webhook that is gone is never used again
            return
        try:
            await self.notifier.prepare()
        except NotifyError as error:
            if error.gone:
                self._stop_target(error)
            else:
                self.problem = str(error)
                _logger.warning("The %s target cannot receive alerts now: %s", self.name, error)
        except Exception:
            self.problem = "the check of this target failed; see the log"
            _logger.exception("The check of the %s target failed", self.name)
        else:
            self.problem = ""

    async def test(self, notice: Notice) -> str:
        """Send a notice without the outbox. Return an empty text or the error."""
        if self.stopped:
            return f"Stopped: {self.stopped}"
        try:
            await self._notify(notice)
        except NotifyError as error:
            return str(error)
        except Exception as error:
            _logger.exception("The %s target failed on a test", self.name)
            return f"An internal error of cogmeter ({type(error).__name__}); see the log"
        self.problem, self.missed = "", 0
        return ""

    async def _deliver(self, delivery: Delivery, now_us: int) -> None:
        store = self._store()
        if self.notifier.edits_in_place and _is_pointless(delivery):
            await self._log.save(store, delivery, AttemptResult("superseded"))
            return
        notice = await self._notice(store, delivery)
        try:
            await store.alerting.begin(delivery.id, now_us=now_us, token=self._term.token)
        except LostLeadError:
            self._term.end()
            return
        if not self._term.leads:  # paused in between: the next leader finds out whether it has arrived
            return
        self._bucket.take(now_us)
        result = await self._attempt(delivery, notice)
        self._remember(delivery.alert, result)
        await self._log.save(store, delivery, result)

    def _remember(self, alert: Alert, result: AttemptResult) -> None:
        """Remember the alert that the target received; forget it with its resolution, delivered or not."""
        if alert.state is AlertState.RESOLVED:
            self._active_rules.pop(alert.uid, None)
            self._outdated.pop(alert.uid, None)
        elif result.outcome == "sent":
            self._active_rules[alert.uid] = alert.rule
            self._shown[alert.uid] = alert.message, self._clock()

    async def _attempt(self, delivery: Delivery, notice: Notice) -> AttemptResult:
        try:
            receipt = await self._notify(notice)
        except NotifyError as error:
            return self._not_delivered(delivery, error)
        except Exception as error:
            _logger.exception("The %s target failed on %s", self.name, _described(delivery))
            text = f"an internal error of cogmeter ({type(error).__name__}); see the log"
            return self._not_delivered(delivery, NotifyError(text, permanent=delivery.attempts + 1 >= FAULTS))
        self.delivered += 1
        self.problem, self.missed = "", 0
        return AttemptResult("sent", receipt=receipt)

    async def _notify(self, notice: Notice) -> str | None:
        """Send it within a bounded time. An attempt that is cut off may have arrived; the next one checks that."""
        try:
            return await asyncio.wait_for(self.notifier.notify(notice), ANSWER_S)
        except TimeoutError:
            raise NotifyError(f"no answer within {ANSWER_S:g} s", permanent=False) from None

    def _not_delivered(self, delivery: Delivery, error: NotifyError) -> AttemptResult:
        """Return the result of a failed attempt: ``retry`` or ``failed``."""
        attempts, now_us = delivery.attempts + 1, self._clock()
        self.problem = str(error)
        if error.gone:
            self._stop_target(error)
        pause_us = delay_us(attempts, retry_after_s=error.retry_after_s)
        late = now_us + pause_us - delivery.change.at_us >= GIVE_UP_US and attempts >= ATTEMPTS
        if not error.permanent and not error.gone and not late:
            if error.retry_after_s is not None:
                self._bucket.close(now_us + pause_us)
            level = logging.WARNING if attempts == 1 else logging.DEBUG
            text = "The %s target did not accept %s, retrying in %.0f s: %s"
            _logger.log(level, text, self.name, _described(delivery), pause_us / 1e6, error)
            return AttemptResult("retry", str(error), due_us=now_us + pause_us)
        self.failed += 1
        self.missed += 1
        text = "The %s target did not receive %s, %d attempts: %s"
        _logger.error(text, self.name, _described(delivery), attempts, error)
        return AttemptResult("failed", str(error))

    async def _send_unstored(self, notice: Notice) -> None:
        error = await self.test(notice)
        if error:
            _logger.warning('The %s target did not receive "%s": %s', self.name, notice.change.message, error)

    async def _notice(self, store: Store, delivery: Delivery) -> Notice:
        members = []
        if not delivery.alert.group:
            members = await store.alerting.alerts(tuple(AlertState), group=delivery.alert.uid)
        return Notice(
            delivery.change, delivery.alert, tuple(members), receipt=delivery.receipt, uncertain=delivery.attempts > 0
        )

    def _stop_target(self, error: NotifyError) -> None:
        if not self.stopped:
            self.stopped = str(error)
            _logger.error("The %s target receives no more alerts until the next start: %s", self.name, error)
            self._on_stopped(self)

    async def _fail_all(self) -> None:
        """Fail all deliveries of a stopped target. The end of one makes the next one of its alert due."""
        store = self._store()
        while due := await self._log.due(self.name, FAR_US, limit=100):
            for delivery in due:
                self.failed += 1
                await self._log.save(store, delivery, AttemptResult("failed", self.stopped))

    async def _next_us(self) -> int | None:
        due_us = await self._store().alerting.next_due_us(self.name)
        return None if due_us is None else max(due_us, self._bucket.ready_us(self._clock()))

    def _log_failure(self, error: Exception, failures: int) -> None:
        text = "The alerts for the %s target wait: %s"
        if not isinstance(error, StorageError):
            _logger.error(text, self.name, "an internal error of cogmeter", exc_info=error)
        else:
            _logger.log(logging.WARNING if failures == 1 else logging.DEBUG, text, self.name, error)


async def _wait(event: asyncio.Event, at_most_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), at_most_s)


def _is_pointless(delivery: Delivery) -> bool:
    """Return True if a later change shows the same in a message that is edited in place.

    A delivery that was tried may have arrived, so its message has to be found before it can be edited. An escalation is
    kept because it pings.
    """
    pings = delivery.change.kind == "escalated" and delivery.alert.state is AlertState.FIRING
    return delivery.superseded and not delivery.attempts and not pings


def _described(delivery: Delivery) -> str:
    """Return ``fired of error_rate@knowledge-graph``, for the log."""
    alert = delivery.alert
    return f"{delivery.change.kind} of {alert.rule}@{alert.service}{'/' if alert.operation else ''}{alert.operation}"
