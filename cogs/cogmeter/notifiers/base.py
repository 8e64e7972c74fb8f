"""What a notifier is, and how one says that it could not deliver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cogmeter.schemas.numbers import measured
from cogmeter.times import SECOND_US, iso

if TYPE_CHECKING:
    from cogmeter_storage.alerting import Alert, AlertChange


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
    uncertain: bool = False  # this very change was tried before, and may have arrived: look before telling it again
    test: bool = False  # no alert at all: somebody tries the way

    @property
    def event_id(self) -> str:
        """Unique everywhere, and the same for each attempt at this change: what receivers know a repetition by."""
        return f"{self.change.alert}-{self.change.id or self.change.kind}"

    @property
    def stored(self) -> bool:
        """Whether there is such an alert; a test, and word about another target, cannot be acknowledged or muted."""
        return bool(self.alert.id)


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


def guide_fields(notice: Notice) -> dict[str, Any]:
    """The change as the guide's JSON: response times in whole milliseconds, rates as shares, the time in UTC."""
    rule, change = notice.alert.rule, notice.change
    return {
        "type": rule,
        "service": notice.alert.service,
        "message": change.message,
        "threshold": measured(rule, change.threshold, threshold=True),
        "current": measured(rule, change.current),
        "timestamp": iso(change.at_us, unit_us=SECOND_US),
        "severity": change.severity,
    }
