"""Alerts from a thread of their own: the event loop is blocked, or the connection to Discord is lost.

A blocked loop evaluates no rules, so this thread posts to webhooks by itself. Its alerts are not stored. When the loop
runs again, the engine finds the same problem in the recorded operations; ``OutOfBandLog`` keeps it from sending that to
the targets that have received it from here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT, CRITICAL
from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import Notice, NotifyError
from cogmeter.recording.operation import now_ns
from cogmeter.render import formatting
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter.notifiers.base import Notifier

CHECK_S: Final = 0.5
OVERSLEPT_S: Final = 2 * CHECK_S  # after a longer wait the whole process was stopped, not its loop alone
RETRY_S: Final = 5.0
JOIN_S: Final = 1.0  # a running request may outlast it: the thread is a daemon
REMEMBERED: Final = 100  # sent alerts; a loop that is blocked again and again must not fill the memory

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(slots=True)
class Outage:
    """A condition in which the bot cannot send alerts. Its callables run in the out-of-band thread."""

    rule: str
    limit_s: float  # an alert is sent after this; 0: never
    since_ns: Callable[[], int | None]  # by time.perf_counter_ns; None while there is no outage
    message: Callable[[float], str]  # the alert's text, by the duration in seconds
    engine_rule: str = ""  # the engine's rule that will find the same problem
    known: Callable[[str], bool] = lambda _: False  # True if the engine has sent it to a target, by its name
    alert: Alert | None = None  # sent, and not resolved yet
    receivers: Sequence[Notifier] = ()  # of that alert
    unsent: list[tuple[Notifier, Notice]] = field(default_factory=list)
    tried_ns: int | None = None
    receipts: dict[tuple[str, str], str | None] = field(default_factory=dict)  # by alert and target


class OutOfBandLog:
    """The alerts that targets have received out of band; shared by that thread and the event loop."""

    def __init__(self, *, overlap_s: float = 300.0) -> None:
        """An outage shows in what the engine measures until ``overlap_s`` seconds after its end."""
        self._overlap_us = int(overlap_s * 1e6)
        self._sent: dict[tuple[str, str], tuple[str, Alert]] = {}  # by alert and target: the engine's rule, the alert

    def add(self, engine_rule: str, alert: Alert, target: str) -> None:
        """Remember that a target received an alert, or its resolution."""
        self._sent[alert.uid, target] = (engine_rule, alert)
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def covers(self, alert: Alert, target: str) -> bool:
        """Return True if the target received the problem behind the engine's alert out of band. Thread-safe."""
        return any(
            (rule, name) == (alert.rule, target)
            and sent.started_us <= alert.started_us <= (sent.resolved_us or alert.started_us) + self._overlap_us
            for (_, name), (rule, sent) in list(self._sent.items())
        )


class OutOfBandAlerts:
    """Checks each outage twice a second. Its thread has an event loop of its own, in which the notifiers run."""

    def __init__(
        self,
        outages: Sequence[Outage],
        notifiers: Sequence[Notifier],
        log: OutOfBandLog,
        *,
        stopped: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """The ``notifiers`` belong to this thread: nothing in them may use the bot's loop.

        ``stopped`` returns the targets that receive nothing more.
        """
        self._outages = [outage for outage in outages if outage.limit_s > 0]
        self._notifiers = notifiers
        self._log = log
        self._stopped = stopped
        self._gone: set[str] = set()  # targets that turned out to be unusable here
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0
        self.failed = 0

    def start(self) -> None:
        """Start the thread, if there is an outage to check and a notifier to use."""
        if self._outages and self._notifiers:
            self._end.clear()
            thread = threading.Thread(target=self._run, name="cogmeter-out-of-band", daemon=True)
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            self._thread = None

    def findings(self) -> list[Finding]:
        """Return a finding: the thread's state and the alerts that it sent."""
        name = "out-of-band alerts"
        if self._thread is None:
            text = "off: they need a webhook. Set PERFORMANCE_ALERT_WEBHOOK_URL or PERFORMANCE_ALERT_DISCORD_WEBHOOK"
            return [Finding(name, well=True, text=text)]
        if not self._thread.is_alive():
            return [Finding(name, well=False, text="the thread has ended", advice="Reload the extension")]
        return [
            Finding(
                name,
                well=True,
                text=f"{formatting.exact(self.sent)} sent, {formatting.counted(self.failed, 'attempt')} failed",
            )
        ]

    def _run(self) -> None:
        while not self._ended():
            for outage in self._outages:
                try:
                    self._check(outage)
                except Exception:
                    _logger.exception("The out-of-band check of %s failed", outage.rule)

    def _ended(self) -> bool:
        """Wait for the next check.

        A process that was stopped, or whose machine slept, wakes all its threads at once: the loop gets time to respond
        before it counts as blocked.
        """
        began_ns = now_ns()
        ended = self._end.wait(CHECK_S)
        return self._end.wait(CHECK_S) if now_ns() - began_ns > OVERSLEPT_S * 1e9 else ended

    def _check(self, outage: Outage) -> None:
        since_ns = outage.since_ns()
        lasted_s = 0.0 if since_ns is None else (now_ns() - since_ns) / 1e9
        if outage.alert is None and lasted_s >= outage.limit_s:
            outage.alert = _alert(outage, lasted_s)
            self._queue(outage, outage.alert, "fired")
        elif outage.alert is not None and since_ns is None:
            self._queue(outage, _resolved(outage.alert), "resolved")
            outage.alert = None
        self._send(outage)

    def _queue(self, outage: Outage, alert: Alert, kind: str) -> None:
        notice = Notice(AlertChange.of(alert, kind, alert.changed_us), alert)
        if kind == "fired":
            unusable = {*self._gone, *self._stopped()}
            outage.receivers = [
                notifier
                for notifier in self._notifiers
                if notifier.name not in unusable and not outage.known(notifier.name)
            ]
        outage.unsent += [(notifier, notice) for notifier in outage.receivers]
        del outage.unsent[:-REMEMBERED]
        outage.tried_ns = None

    def _send(self, outage: Outage) -> None:
        """Send what is queued. What fails is retried after a while, for as long as the process runs."""
        if not outage.unsent or (outage.tried_ns is not None and now_ns() - outage.tried_ns < RETRY_S * 1e9):
            return
        outage.tried_ns = now_ns()
        waiting, outage.unsent = outage.unsent, []
        for notifier, notice in waiting:
            if notifier.name in self._gone:
                continue
            key = (notice.alert.uid, notifier.name)
            try:
                receipt = asyncio.run(notifier.notify(replace(notice, receipt=outage.receipts.get(key))))
            except NotifyError as error:
                self.failed += 1
                _logger.warning("The %s target did not receive an out-of-band alert: %s", notifier.name, error)
                if error.gone:
                    self._gone.add(notifier.name)
                elif not error.permanent:
                    outage.unsent.append((notifier, notice))
            except Exception:  # a bug in one target must not stop the others
                self.failed += 1
                _logger.exception("The %s target failed on an out-of-band alert", notifier.name)
            else:
                self.sent += 1
                outage.receipts[key] = receipt
                self._log.add(outage.engine_rule, notice.alert, notifier.name)
        if outage.alert is None and not outage.unsent:
            outage.receipts.clear()


def _alert(outage: Outage, lasted_s: float) -> Alert:
    at_us = clock.now_us()
    started_us = at_us - int(lasted_s * 1e6)
    return Alert(
        uid=uuid.uuid4().hex,
        rule=outage.rule,
        service=BOT,
        operation="",
        state=AlertState.FIRING,
        severity=CRITICAL,
        message=outage.message(lasted_s),
        threshold=outage.limit_s * 1000,
        current=lasted_s * 1000,
        worst=lasted_s * 1000,
        started_us=started_us,
        seen_us=at_us,
        changed_us=at_us,
        fired_us=at_us,
        version=1,
    )


def _resolved(alert: Alert) -> Alert:
    at_us = clock.now_us()
    lasted_ms = (at_us - alert.started_us) / 1000
    message = f"Resolved after {lasted_ms / 1000:.0f} s: {alert.message}"
    return replace(
        alert,
        state=AlertState.RESOLVED,
        message=message,
        current=0.0,
        worst=lasted_ms,
        seen_us=at_us,
        changed_us=at_us,
        resolved_us=at_us,
        version=2,
    )
