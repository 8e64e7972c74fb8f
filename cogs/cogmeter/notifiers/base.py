"""What a notifier is, and how one says that it could not deliver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cogmeter_storage.alerting import Alert, AlertChange
    from cogmeter_storage.model import AlertEvent


class NotifyError(Exception):
    """An alert was not delivered.

    ``permanent`` tells whether trying this change again is useless, ``gone`` whether the target as a whole is (a 404 or
    401, a channel that is not there): it is told nothing more until the next start. ``retry_after_s`` is the target's
    own wish. The text never holds a secret.
    """

    def __init__(
        self, message: str, *, permanent: bool, gone: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.gone = gone
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notifier tells: one change of an alert, and the alert as it is now."""

    change: AlertChange
    alert: Alert
    members: tuple[Alert, ...] = ()  # of a group's root: the alerts that it speaks for
    receipt: str | None = None  # what this notifier returned for this alert before
    uncertain: bool = False  # an attempt at this very change was begun and its end is not known: it may have arrived
    test: bool = False  # no alert at all: somebody tries the way


class Notifier(Protocol):
    """Delivers changes of alerts somewhere."""

    name: str
    living: bool  # shows an alert's present state in one place: of several changes that wait only the newest is told
    single: bool  # told of each alert, also of those that a group speaks for

    async def prepare(self) -> None:
        """Look once, at start, whether it can deliver; raises NotifyError like ``notify``. Tells nobody."""
        ...

    async def notify(self, notice: Notice) -> str | None:
        """Deliver it and return a receipt (or None), or raise NotifyError, and nothing else that can be foreseen."""
        ...


def guide_fields(event: AlertEvent) -> dict[str, Any]:
    """The event as the guide's JSON: response times in whole milliseconds, rates as shares, the time in UTC."""
    digits = {"error_rate": 3, "response_time": 0, "throughput": 1}.get(event.rule, 3)
    return {
        "type": event.rule,
        "service": event.service,
        "message": event.message,
        "threshold": _number(event.threshold, digits + 1),
        "current": _number(event.current, digits),
        "timestamp": datetime.fromtimestamp(event.at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "severity": event.severity,
    }


def _number(value: float, digits: int) -> float | int:
    """Rounded; whole numbers without a decimal point, as JSON readers expect of counts and milliseconds."""
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded
