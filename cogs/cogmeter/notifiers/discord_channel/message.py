"""An alert's message in a Discord channel: embed, chart and buttons, and the reference by which it is found again.

``cog/alert_buttons.py`` answers the buttons by their custom id alone, so they work after a restart without a view.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.notifiers.base import incident_context, introduces_nothing, no_link, rule_introduction
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.render.embeds.alert import alert_embed_data, details_embed_data, tag
from cogmeter.render.embeds.statistics import chart_file
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from cogmeter.notifiers.base import LinkOf, Notice
    from cogmeter.query.records import IncidentContext
    from cogmeter.render.charts.chart import Picture
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt

ACKNOWLEDGE: Final = "acknowledge"
UNMUTE: Final = "unmute"
DETAILS: Final = "details"
# Action, label, and the length of the mute.
MUTES: Final[dict[str, tuple[str, int]]] = {
    "mute-1h": ("Mute 1 h", HOUR_US),
    "mute-4h": ("Mute 4 h", 4 * HOUR_US),
    "mute-1d": ("Mute 1 d", DAY_US),
}

PREFIX: Final = "cogmeter:alert:"
TEMPLATE: Final = re.compile(rf"{PREFIX}(?P<action>[a-z0-9-]+):(?P<uid>[0-9A-Za-z_-]{{1,64}})")

_logger = logging.getLogger("cogmeter.notifiers")


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """An embed, and the chart that is sent with it."""

    embed: discord.Embed
    picture: Picture | None = None

    @property
    def drawn(self) -> bool:
        """True if a new chart is sent with it."""
        return self.picture is not None and self.picture.drawn

    def files(self) -> list[discord.File]:
        """Return the chart as a new attachment: discord.py closes what it has sent."""
        return [chart_file(self.picture.png, self.picture.chart)] if self.picture and self.drawn else []


class MessageBuilder:
    """Builds the messages of alerts. A message never waits for an incident context that cannot be read."""

    def __init__(
        self,
        context_of: Callable[[Alert], Awaitable[IncidentContext | None]],
        clock: Callable[[], int] = now_us,
        *,
        introduces: Callable[[Alert], Awaitable[bool]] = introduces_nothing,
        group: str = "perf",
        link_of: LinkOf = no_link,
    ) -> None:
        """``context_of`` returns an alert's incident context, ``link_of`` its link to the dashboard.

        ``introduces`` returns True for an alert that explains its rule, which names a command of ``group``.
        """
        self._context_of = context_of
        self._introduces = introduces
        self._group = group
        self._link_of = link_of
        self._clock = clock

    async def build(
        self,
        alert: Alert,
        members: Sequence[Alert] = (),
        *,
        picture: Picture | None = None,
        chart: bool = False,
        problem: str = "",
    ) -> AlertMessage:
        """Return the message about the alert in its present state.

        ``picture`` is a new chart; ``chart`` is True if the posted message has one already; ``problem`` is the reason
        why there is none.
        """
        data = alert_embed_data(
            alert,
            await incident_context(self._context_of, alert),
            members,
            chart=chart or (picture is not None and picture.drawn),
            chart_problem=problem if picture is None else picture.problem,
            now_us=self._clock(),
            introduction=await rule_introduction(self._introduces, alert, members, self._group),
            link=self._link_of(alert),
        )
        return AlertMessage(discord.Embed.from_dict(data), picture)

    def bare(self, alert: Alert, *, test: bool) -> AlertMessage:
        """Return the message about an alert that is not stored: without incident context and chart."""
        link = None if test else self._link_of(alert)
        data = alert_embed_data(alert, None, chart=False, now_us=self._clock(), test=test, link=link)
        return AlertMessage(discord.Embed.from_dict(data))

    async def details(
        self,
        alert: Alert,
        members: Sequence[Alert] = (),
        changes: Sequence[AlertChange] = (),
        attempts: Sequence[Attempt] = (),
    ) -> discord.Embed:
        """Return everything that is known about the alert."""
        context = await incident_context(self._context_of, alert)
        link = self._link_of(alert)
        data = details_embed_data(alert, context, members, changes, attempts, now_us=self._clock(), link=link)
        return discord.Embed.from_dict(data)


def start_drawing(chart_of: Callable[[Alert], Awaitable[Picture | None]], alert: Alert) -> asyncio.Task[Picture | None]:
    """Return a task that draws the chart and never raises."""

    async def draw() -> Picture | None:
        try:
            return await chart_of(alert)
        except Exception:
            _logger.exception("Could not draw the chart of alert %d", alert.id)
            return None

    return detached(draw(), name="cogmeter: an alert's chart")


def custom_id(action: str, uid: str) -> str:
    """Return ``cogmeter:alert:<action>:<uid>``, within Discord's 100 characters."""
    return f"{PREFIX}{action}:{uid}"


def view_of(alert: Alert) -> discord.ui.View | None:
    """Return the buttons of the alert's state; None once it is resolved.

    The view is finished: discord.py neither stores it nor waits for it to time out.
    """
    buttons = _buttons(alert)
    if not buttons:
        return None
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()
    return view


def _buttons(alert: Alert) -> list[discord.ui.Button[Any]]:
    if alert.state is AlertState.RESOLVED:
        return []
    buttons = []
    if alert.acknowledged_us is None:
        buttons.append(_button("Acknowledge", ACKNOWLEDGE, alert.uid, discord.ButtonStyle.primary))
    if alert.state is AlertState.MUTED:
        buttons.append(_button("Unmute", UNMUTE, alert.uid))
    else:
        buttons += [_button(label, action, alert.uid) for action, (label, _) in MUTES.items()]
    return [*buttons, _button("Details", DETAILS, alert.uid)]


def _button(
    label: str, action: str, uid: str, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> discord.ui.Button[Any]:
    return discord.ui.Button(label=label, style=style, custom_id=custom_id(action, uid))


class MessageGoneError(Exception):
    """The alert's message no longer exists."""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """The receipt of the channel notifier: where an alert's message is."""

    channel: int
    message: int
    posted_us: int
    thread: int | None = None
    chart: bool = False  # the chart is attached

    def to_receipt(self) -> str:
        """Return the stored form."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_receipt(cls, receipt: str | None) -> MessageRef | None:
        """Return the reference in a receipt; None if there is none, or none that can be read."""
        try:
            return None if receipt is None else cls(**json.loads(receipt))
        except (ValueError, TypeError):
            _logger.warning("The receipt of an alert's message cannot be read; searching the channel instead")
            return None


def nonce_of(notice: Notice, purpose: str) -> str:
    """Return at most 25 characters that are the same for every attempt at this change, and for no other change."""
    return f"{tag(notice.alert)}-{purpose}{notice.change.id:x}"[:25]


def is_about(message: discord.Message, alert: Alert) -> bool:
    """Return True if the message has the alert's buttons, or the alert's tag in its footer. Follow-ups have neither."""
    if not message.embeds:
        return False
    rows = [row.children for row in message.components if isinstance(row, discord.ActionRow)]
    ids = [getattr(item, "custom_id", None) or "" for row in rows for item in row]
    if any(item_id.startswith(PREFIX) and item_id.endswith(f":{alert.uid}") for item_id in ids):
        return True
    return tag(alert) in (message.embeds[0].footer.text or "")
