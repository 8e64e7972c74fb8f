"""The lifeline: a thread that tells by webhook that the event loop is blocked or Discord is gone, when the loop cannot.

It stands beside the engine: a blocked loop checks no rules. What it tells is no stored alert; once the loop runs again,
the engine sees the same trouble in what was recorded, as any other, and leaves out the targets that have heard of it
from here (``sent``).
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
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter.notifiers.base import Notifier

LOOK_S: Final = 0.5
OVERSLEPT_S: Final = 2 * LOOK_S  # after a longer wait the whole process stood still, not its loop alone
AGAIN_S: Final = 5.0  # between two attempts to tell the same
JOIN_S: Final = 1.0  # a request under way may outlast it: the thread is a daemon and ends with it
REMEMBERED: Final = 100  # tellings; a loop that is blocked all the time must not fill the memory

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(slots=True)
class Outage:
    """Something that keeps the bot from speaking for itself, and since when; asked from the lifeline's thread."""

    rule: str
    limit_s: float  # from here on it is told; 0: never
    since_ns: Callable[[], int | None]  # by time.perf_counter_ns; None while all is well
    words: Callable[[float], str]  # how it is said, by the seconds that it has lasted
    echo: str = ""  # the engine's rule that will see the same
    known: Callable[[str], bool] = lambda _: False  # whether a target, by its name, has heard of it from the engine
    alert: Alert | None = None  # told, and not over yet
    hearers: Sequence[Notifier] = ()  # of that alert
    untold: list[tuple[Notifier, Notice]] = field(default_factory=list)
    tried_ns: int | None = None
    receipts: dict[tuple[str, str], str | None] = field(default_factory=dict)  # by alert and notifier


class OutOfBandAlerts:
    """Looks at each danger twice a second. Its thread has a loop of its own, on which the notifiers run."""

    def __init__(
        self,
        dangers: Sequence[Outage],
        notifiers: Sequence[Notifier],
        *,
        echo_s: float = 300.0,
        stopped: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """The ``notifiers`` are its own: nothing in them may belong to the bot's loop.

        For ``echo_s`` seconds after its end a danger may still show in what the engine measures. ``stopped`` names the
        targets that were given up and are told nothing more.
        """
        self._dangers = [danger for danger in dangers if danger.limit_s > 0]
        self._notifiers = notifiers
        self._echo_us = int(echo_s * 1e6)
        self._stopped = stopped
        self._gone: set[str] = set()  # targets that said so to the lifeline itself
        self._sent: dict[tuple[str, str], tuple[str, Alert]] = {}  # by alert and target: its echo, how it stands
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.told = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to look, if there is anything to look at and anybody to tell."""
        if self._dangers and self._notifiers:
            self._end.clear()
            self._thread = threading.Thread(target=self._run, name="cogmeter-lifeline", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            self._thread = None

    def sent(self, alert: Alert, target: str) -> bool:
        """Whether the target has heard from here of what the engine's alert is about; any thread may ask."""
        return any(
            (echo, name) == (alert.rule, target)
            and told.started_us <= alert.started_us <= (told.resolved_us or alert.started_us) + self._echo_us
            for (_, name), (echo, told) in list(self._sent.items())
        )

    def findings(self) -> list[Finding]:
        """Whether it stands, and what it has told."""
        if self._thread is None:
            return [
                Finding("lifeline", well=True, text="none: it needs a webhook, PERFORMANCE_ALERT_WEBHOOK_URL or other")
            ]
        if not self._thread.is_alive():
            return [Finding("lifeline", well=False, text="Its thread has ended", advice="Load cogmeter again")]
        said = f"{self.told} messages from outside of the loop, {self.failed} attempts failed"
        return [Finding("lifeline", well=True, text=said)]

    def _run(self) -> None:
        while not self._ended():
            for danger in self._dangers:
                try:
                    self._look(danger)
                except Exception:
                    _logger.exception("The lifeline could not look after %s", danger.rule)

    def _ended(self) -> bool:
        """Wait for the next look.

        A process that was stopped, or whose machine slept, wakes with all its threads at once: the loop is given the
        time to answer before it is said to be blocked.
        """
        began_ns = now_ns()
        ended = self._end.wait(LOOK_S)
        return self._end.wait(LOOK_S) if now_ns() - began_ns > OVERSLEPT_S * 1e9 else ended

    def _look(self, danger: Outage) -> None:
        since_ns = danger.since_ns()
        lasted_s = 0.0 if since_ns is None else (now_ns() - since_ns) / 1e9
        if danger.alert is None and lasted_s >= danger.limit_s:
            danger.alert = _alert(danger, lasted_s)
            self._tell(danger, "fired")
        elif danger.alert is not None and since_ns is None:
            danger.alert = _resolved(danger.alert)
            self._tell(danger, "resolved")
            danger.alert = None
        self._send(danger)

    def _tell(self, danger: Outage, kind: str) -> None:
        assert danger.alert is not None
        notice = Notice(_change(danger.alert, kind), danger.alert)
        if kind == "fired":
            given_up = {*self._gone, *self._stopped()}
            danger.hearers = [one for one in self._notifiers if one.name not in given_up and not danger.known(one.name)]
        danger.untold += [(notifier, notice) for notifier in danger.hearers]
        del danger.untold[:-REMEMBERED]
        danger.tried_ns = None

    def _send(self, danger: Outage) -> None:
        """Try what is untold; what fails is tried again after a while, for as long as the process lives."""
        if not danger.untold or (danger.tried_ns is not None and now_ns() - danger.tried_ns < AGAIN_S * 1e9):
            return
        danger.tried_ns = now_ns()
        waiting, danger.untold = danger.untold, []
        for notifier, notice in waiting:
            if notifier.name in self._gone:
                continue
            place = (notice.alert.uid, notifier.name)
            try:
                receipt = asyncio.run(notifier.notify(replace(notice, receipt=danger.receipts.get(place))))
            except NotifyError as error:
                self.failed += 1
                _logger.warning("The lifeline could not tell: %s", error)
                if error.gone:
                    self._gone.add(notifier.name)
                elif not error.permanent:
                    danger.untold.append((notifier, notice))
            except Exception:  # the others are to be told all the same
                self.failed += 1
                _logger.exception("The %s target failed in the lifeline", notifier.name)
            else:
                self.told += 1
                danger.receipts[place] = receipt
                self._remember(danger, place, notice.alert)
        if danger.alert is None and not danger.untold:
            danger.receipts.clear()

    def _remember(self, danger: Outage, place: tuple[str, str], alert: Alert) -> None:
        self._sent[place] = (danger.echo, alert)
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]


def _alert(danger: Outage, lasted_s: float) -> Alert:
    at_us = clock.now_us()
    started_us = at_us - int(lasted_s * 1e6)
    return Alert(
        uid=uuid.uuid4().hex,
        rule=danger.rule,
        service=BOT,
        operation="",
        state=AlertState.FIRING,
        severity=CRITICAL,
        message=danger.words(lasted_s),
        threshold=danger.limit_s * 1000,
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
    message = f"Over after {lasted_ms / 1000:.0f} s: {alert.message}"
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


def _change(alert: Alert, kind: str) -> AlertChange:
    return AlertChange(
        alert=alert.uid,
        kind=kind,
        state=alert.state,
        severity=alert.severity,
        message=alert.message,
        current=alert.current,
        threshold=alert.threshold,
        at_us=alert.changed_us,
    )
