"""The base class of notifiers, the notice that they deliver, and the error that they raise."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from cogmeter.alerts.model import split_counts
from cogmeter.render.rule_text import introduction
from cogmeter.schemas.base import measured
from cogmeter.times import SECOND_US, iso

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogmeter.query.records import IncidentContext
    from cogmeter.render.charts.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert, AlertChange

_logger = logging.getLogger("cogmeter.notifiers")


class NotifyError(Exception):
    """A failed delivery. Its text never contains a secret.

    With ``permanent``, another attempt at the same change is useless. With ``gone``, the whole target is unusable (404,
    401, a deleted channel): it receives nothing more until the next start. ``retry_after_s`` is the pause that the
    target requires.
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
    """One change of an alert to be delivered, and the alert in its present state."""

    change: AlertChange
    alert: Alert
    members: tuple[Alert, ...] = ()  # of a group's root alert: the alerts in the group
    receipt: str | None = None  # what this notifier returned for this alert before
    uncertain: bool = False  # this change was tried before and may have arrived: check before sending it again
    test: bool = False  # sent by /perf test-alert; there is no alert

    @property
    def event_id(self) -> str:
        """The id of the change, the same for each attempt: receivers recognise repetitions by it."""
        return f"{self.change.alert}-{self.change.id or self.change.kind}"

    @property
    def stored(self) -> bool:
        """True if the alert is stored. Tests and out-of-band alerts are not; nobody can acknowledge or mute them."""
        return bool(self.alert.id)


@dataclass(frozen=True, slots=True)
class SendRate:
    """The rate that a target accepts: ``burst`` messages at once, then ``per_s`` messages per second."""

    burst: int
    per_s: float


async def _no_context(_: Alert) -> None:
    """Return None: there is no incident context without a store."""


async def _no_chart(_: Alert) -> None:
    """Return None: there is no chart without a store."""


async def introduces_nothing(_: Alert) -> bool:
    """Return False: without a store it is not known which rules were explained."""
    return False


class LinkOf(Protocol):
    """Returns the link to the dashboard of an alert, until a time if one is passed; see ``render.links.alert_link``."""

    def __call__(self, alert: Alert, until_us: int | None = None, /) -> str | None:
        """Return the link; None without a dashboard that can be reached."""
        ...


def no_link(alert: Alert, until_us: int | None = None) -> None:
    """Return None: there is no link without settings."""
    del alert, until_us


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """All that a notifier can be built from."""

    settings: Settings
    bot: Any = None  # a discord.Client; None for a notifier that runs outside the bot's event loop
    context_of: Callable[[Alert], Awaitable[IncidentContext | None]] = _no_context
    chart_of: Callable[[Alert], Awaitable[Picture | None]] = _no_chart  # None where an alert has no chart
    introduces: Callable[[Alert], Awaitable[bool]] = introduces_nothing  # True for the first alert of its rule
    link_of: LinkOf = no_link


class Notifier(ABC):
    """A target of alerts. Each class in the table of ``table.py`` sets every fact below."""

    name: str  # deliveries, metrics and /perf doctor use it
    label: str  # the alerts page shows it next to the name
    setting: str | None  # the field of Settings that switches it on; None: always on
    edits_in_place: bool  # one message shows the present state, so that only the newest change is sent
    per_alert: bool  # also receives each alert of a group, not only the group's own alert
    out_of_band: bool  # also sends while the bot's event loop is blocked; it must need neither bot nor store
    rate: SendRate | None  # None: cogmeter sets no limit

    @classmethod
    def create(cls, context: NotifierContext) -> Self:
        """Return a notifier that the settings have switched on."""
        raise NotImplementedError

    async def prepare(self) -> None:  # noqa: B027 - most targets can only be checked by sending something
        """Check at the start, without sending anything, that the target can receive. Raise NotifyError if not."""

    async def refresh(self, notice: Notice) -> None:  # noqa: B027 - only a message that is edited in place has figures
        """Show the newest figures of an alert in its message, whose receipt the notice has, without a new message."""

    @abstractmethod
    async def notify(self, notice: Notice) -> str | None:
        """Deliver a notice. Return a receipt or None; raise NotifyError for every foreseeable failure."""


async def incident_context(
    context_of: Callable[[Alert], Awaitable[IncidentContext | None]], alert: Alert
) -> IncidentContext | None:
    """Return the alert's incident context, or None if it cannot be read: the alert is sent without it."""
    try:
        return await context_of(alert)
    except Exception:
        _logger.exception("Alert %d is sent without its incident context", alert.id)
        return None


async def rule_introduction(
    introduces: Callable[[Alert], Awaitable[bool]], alert: Alert, members: Sequence[Alert], group: str
) -> str:
    """Return what explains the alert's rule, if the alert is the first one of it; the alert is sent in any case.

    ``group`` is the name of the command group. A group of alerts explains nothing.
    """
    try:
        return introduction(alert.rule, alert.threshold, group) if not members and await introduces(alert) else ""
    except Exception:
        _logger.exception("Alert %d is sent without what explains its rule", alert.id)
        return ""


def guide_fields(notice: Notice) -> dict[str, Any]:
    """Return the change as the guide's JSON: whole milliseconds, rates as shares, the time in UTC."""
    rule, change = notice.alert.rule, notice.change
    return {
        "type": rule,
        "service": notice.alert.service,
        "message": split_counts(change.message)[0],
        "threshold": measured(rule, change.threshold, threshold=True),
        "current": measured(rule, change.current),
        "timestamp": iso(change.at_us, unit_us=SECOND_US),
        "severity": change.severity,
    }
