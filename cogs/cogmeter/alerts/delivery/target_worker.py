"""The way to one target: takes what waits for it from the outbox, in order, and notes how each attempt ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.delivery.attempt_log import AttemptLog, AttemptResult
from cogmeter.alerts.delivery.backoff import SendRate, TokenBucket, delay_us
from cogmeter.notifiers.base import Notice, NotifyError
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.base import Notifier
    from cogmeter_storage.alerting import Alert, Delivery
    from cogmeter_storage.base import Store

PACES: Final = {  # the log needs none, and discord.py keeps to Discord's limits in the channel
    "discord_webhook": SendRate(burst=5, per_s=1.0),
    "webhook": SendRate(burst=5, per_s=1.0),
}
GIVE_UP_US: Final = 24 * 3_600_000_000  # nobody is helped by an alert of yesterday
ATTEMPTS: Final = 10  # before it counts as too old: it may have waited for the bot itself
FAULTS: Final = 3  # attempts that end in a fault of ours
ANSWER_S: Final = 120.0  # for one attempt: discord.py waits by itself where Discord limits the rate
FAR_US: Final = 2**62  # later than anything is due
IDLE_S: Final = 60.0  # how long the clock is trusted to be the one that the outbox was written by
SHORTEST_PAUSE_S: Final = 0.2  # what is due and not given out waits for another that is being told
PAUSE_S: Final = 1.0  # doubled with each failure of the store
LONGEST_PAUSE_S: Final = 60.0

_logger = logging.getLogger("cogmeter.notifiers")


class TargetWorker:
    """Delivers to one notifier. It holds up nobody else, and nobody else holds it up."""

    def __init__(
        self,
        notifier: Notifier,
        store: Callable[[], Store],
        clock: Callable[[], int],
        gone: Callable[[TargetWorker], None],
    ) -> None:
        """``store`` gives the present store, ``gone`` is told once when the target is given up."""
        self.notifier = notifier
        self.delivered = 0
        self.failed = 0  # deliveries that were given up
        self.missed = 0  # of these, since it was last told of anything
        self.trouble = ""  # of the last attempt, while it is not over
        self.stopped = ""  # why the target is told nothing more
        self.words: deque[Notice] = deque()  # to be told once, beside the outbox
        self._standing: dict[str, str] = {}  # rules of the alerts that it was told of and that are not over, by uid
        self._store = store
        self._clock = clock
        self._gone = gone
        self._bucket = TokenBucket(PACES.get(notifier.name))
        self._woken = asyncio.Event()
        self._halted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._endings = AttemptLog(store, clock)

    @property
    def name(self) -> str:
        """The target's name."""
        return self.notifier.name

    def knows(self, uid: str) -> bool:
        """Whether it was told, since the start, of this alert, and not of its end."""
        return uid in self._standing

    def stands(self, rule: str) -> bool:
        """Whether it was told, since the start, of an alert of this rule that is not over; any thread may ask."""
        return rule in list(self._standing.values())

    def wake(self) -> None:
        """Look at the outbox now."""
        self._woken.set()

    def resume(self) -> None:
        """Attempts may begin again; to be called before ``run``."""
        self._halted.clear()

    def halt(self) -> None:
        """Begin no other attempt."""
        self._halted.set()
        self._woken.set()

    async def run(self) -> None:
        """Deliver until it is halted. A store that fails is left alone for growing pauses, whatever comes in."""
        failures = 0
        while not self._halted.is_set():
            self._woken.clear()
            try:
                at_us = await self.drain()
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the lane; it is logged there
                failures += 1
                self._held_up(error, failures)
                await _wait(self._halted, min(PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S))
            else:
                failures = 0
                wait_s = IDLE_S if at_us is None else (at_us - self._clock()) / 1e6
                await _wait(self._woken, min(max(wait_s, SHORTEST_PAUSE_S), IDLE_S))
        with contextlib.suppress(StorageError):
            await self._endings.settle()

    async def drain(self) -> int | None:
        """Deliver what is due and what the target's pace allows; returns when to look again, None: when woken.

        Raises:
            StorageError: the store cannot be used now; nothing is lost, call it again.
        """
        async with self._lock:
            await self._endings.settle()
            while self.words and not self.stopped:
                await self._tell(self.words.popleft())
            while not self._halted.is_set() and not self.stopped:
                now_us = self._clock()
                found = await self._endings.due(self.name, now_us, limit=1)
                if not found or self._bucket.ready_us(now_us) > now_us:
                    break
                await self._deliver(found[0], now_us)
            if self.stopped:
                await self._give_up_all()
                return None
            return await self._next_us()

    async def prepare(self) -> None:
        """Ask the notifier whether it can deliver, and remember what it says; one that was given up is left alone."""
        if self.stopped:  # Discord wants a webhook that is gone never to be asked again
            return
        try:
            await self.notifier.prepare()
        except NotifyError as error:
            if error.gone:
                self._give_up_target(error)
            else:
                self.trouble = str(error)
                _logger.warning("The %s target cannot be told of alerts now: %s", self.name, error)
        except Exception:
            self.trouble = "it could not be looked at; see the log"
            _logger.exception("The %s target could not be looked at", self.name)
        else:
            self.trouble = ""

    async def test(self, notice: Notice) -> str:
        """Tell it, beside the outbox; empty, or what went wrong."""
        if self.stopped:
            return f"Stopped: {self.stopped}"
        try:
            await self._notify(notice)
        except NotifyError as error:
            return str(error)
        except Exception as error:
            _logger.exception("The %s target failed on a test", self.name)
            return f"A fault of cogmeter's ({type(error).__name__}); see the log"
        self.trouble, self.missed = "", 0
        return ""

    async def _deliver(self, delivery: Delivery, now_us: int) -> None:
        store = self._store()
        if self.notifier.living and _pointless(delivery):
            await self._endings.note(store, delivery, AttemptResult("superseded"))
            return
        notice = await self._notice(store, delivery)
        await store.alerting.begin(delivery.id, now_us=now_us)
        self._bucket.take(now_us)
        end = await self._attempt(delivery, notice)
        self._remember(delivery.alert, end)
        await self._endings.note(store, delivery, end)

    def _remember(self, alert: Alert, end: AttemptResult) -> None:
        """Of which alerts it was told; one whose end was told, or given up, stands no more."""
        if alert.state is AlertState.RESOLVED:
            self._standing.pop(alert.uid, None)
        elif end.outcome == "sent":
            self._standing[alert.uid] = alert.rule

    async def _attempt(self, delivery: Delivery, notice: Notice) -> AttemptResult:
        """Try once; how it ended."""
        try:
            receipt = await self._notify(notice)
        except NotifyError as error:
            return self._not_delivered(delivery, error)
        except Exception as error:
            _logger.exception("The %s target failed on %s", self.name, _what(delivery))
            said = f"a fault of cogmeter's ({type(error).__name__}); see the log"
            return self._not_delivered(delivery, NotifyError(said, permanent=delivery.attempts + 1 >= FAULTS))
        self.delivered += 1
        self.trouble, self.missed = "", 0
        return AttemptResult("sent", receipt=receipt)

    async def _notify(self, notice: Notice) -> str | None:
        """Tell it within a bounded time; one that is cut off may have arrived, and is looked for the next time."""
        try:
            return await asyncio.wait_for(self.notifier.notify(notice), ANSWER_S)
        except TimeoutError:
            raise NotifyError(f"no answer within {ANSWER_S:g} s", permanent=False) from None

    def _not_delivered(self, delivery: Delivery, error: NotifyError) -> AttemptResult:
        """Whether a failed attempt is tried again, or given up."""
        attempts, now_us = delivery.attempts + 1, self._clock()
        self.trouble = str(error)
        if error.gone:
            self._give_up_target(error)
        pause_us = delay_us(attempts, wish_s=error.retry_after_s)
        late = now_us + pause_us - delivery.change.at_us >= GIVE_UP_US and attempts >= ATTEMPTS
        if not error.permanent and not error.gone and not late:
            if error.retry_after_s is not None:
                self._bucket.close(now_us + pause_us)
            level = logging.WARNING if attempts == 1 else logging.DEBUG
            text = "The %s target did not take %s, trying again in %.0f s: %s"
            _logger.log(level, text, self.name, _what(delivery), pause_us / 1e6, error)
            return AttemptResult("retry", str(error), due_us=now_us + pause_us)
        self.failed += 1
        self.missed += 1
        text = "The %s target was not told of %s, in %d attempts: %s"
        _logger.error(text, self.name, _what(delivery), attempts, error)
        return AttemptResult("failed", str(error))

    async def _tell(self, notice: Notice) -> None:
        trouble = await self.test(notice)
        if trouble:
            _logger.warning("The %s target was not told that %s: %s", self.name, notice.change.message, trouble)

    async def _notice(self, store: Store, delivery: Delivery) -> Notice:
        members = []
        if not delivery.alert.group:
            members = await store.alerting.alerts(tuple(AlertState), group=delivery.alert.uid)
        return Notice(
            delivery.change, delivery.alert, tuple(members), receipt=delivery.receipt, uncertain=delivery.attempts > 0
        )

    def _give_up_target(self, error: NotifyError) -> None:
        if not self.stopped:
            self.stopped = str(error)
            _logger.error("The %s target is told of no more alerts until the next start: %s", self.name, error)
            self._gone(self)

    async def _give_up_all(self) -> None:
        """End what waits for a target that is gone. An earlier delivery's end brings the next one of its alert up."""
        store = self._store()
        while found := await self._endings.due(self.name, FAR_US, limit=100):
            for delivery in found:
                self.failed += 1
                await self._endings.note(store, delivery, AttemptResult("failed", self.stopped))

    async def _next_us(self) -> int | None:
        due_us = await self._store().alerting.next_due_us(self.name)
        return None if due_us is None else max(due_us, self._bucket.ready_us(self._clock()))

    def _held_up(self, error: Exception, times: int) -> None:
        text = "The alerts for the %s target wait: %s"
        if not isinstance(error, StorageError):
            _logger.error(text, self.name, "a fault of cogmeter's", exc_info=error)
        else:
            _logger.log(logging.WARNING if times == 1 else logging.DEBUG, text, self.name, error)


async def _wait(event: asyncio.Event, at_most_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), at_most_s)


def _pointless(delivery: Delivery) -> bool:
    """Whether a later change tells all of it: of one place that shows an alert's present state.

    One that was tried may have arrived, and has to be found again before it can be brought up to date. A ping is part
    of no state.
    """
    pings = delivery.change.kind == "escalated" and delivery.alert.state is AlertState.FIRING
    return delivery.superseded and not delivery.attempts and not pings


def _what(delivery: Delivery) -> str:
    """``fired of error_rate@knowledge-graph`` for the log; the text of the change is told by the log's own notifier."""
    alert = delivery.alert
    return f"{delivery.change.kind} of {alert.rule}@{alert.service}{'/' if alert.operation else ''}{alert.operation}"
