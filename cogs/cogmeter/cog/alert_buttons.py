"""Answers the buttons below an alert's message. Their custom id is enough, so they work after a restart."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import discord
from discord.ui import Button, DynamicItem

from cogmeter.alerts.lifecycle.engine import ClosedAlertError, UnknownAlertError
from cogmeter.cog.dynamic_buttons import add_buttons
from cogmeter.cog.responder import UserError
from cogmeter.notifiers.discord_channel.channel import NO_MENTIONS
from cogmeter.notifiers.discord_channel.message import (
    ACKNOWLEDGE,
    DETAILS,
    MUTES,
    TEMPLATE,
    UNMUTE,
    MessageBuilder,
    view_of,
)
from cogmeter.query.query import now_us
from cogmeter.render.links import alert_link
from cogmeter_storage.alerting import AlertState, Mute

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.responder import Responder
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert

OVER: Final = "This alert is already resolved."
UNKNOWN: Final = "There is no such alert; it may be older than the retention time."
WIDER: Final = "The alert stays muted: a wider mute is active until <t:{until}:f>. `/{group} unmute` ends it."
LISTED: Final = 25  # transitions and deliveries in the details; more do not fit

_logger = logging.getLogger("cogmeter.cog")


def add(bot: discord.Client, responder: Responder) -> None:
    """Register the buttons of all alerts, including alerts of earlier runs."""
    add_buttons(bot, AlertButton, TEMPLATE, responder)


def remove(bot: discord.Client) -> None:
    """Stop answering the buttons."""
    bot.remove_dynamic_items(AlertButton)


class AlertButton(DynamicItem[Button[Any]], template=TEMPLATE):
    """A press of a button. Nothing is raised to the host."""

    responder: ClassVar[Responder]

    def __init__(self, item: Button[Any], action: str, uid: str) -> None:
        super().__init__(item)
        self._action = action
        self._uid = uid

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button for a press, from its custom id."""
        del interaction
        assert isinstance(item, Button)
        return cls(item, match["action"], match["uid"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer the press."""
        await self.responder.press(interaction, lambda: self._run(interaction), new_message=self._action == DETAILS)

    async def _run(self, interaction: discord.Interaction[Any]) -> None:
        work = ACTIONS.get(self._action)
        if work is None:
            return
        try:
            await work(ButtonPress(self.responder, interaction, self._uid, self._action))
        except (UnknownAlertError, ClosedAlertError) as error:
            raise UserError(str(error)) from None


class ButtonPress:
    """The actions of the buttons. ``AlertButton.callback`` handles what they raise."""

    def __init__(self, responder: Responder, interaction: discord.Interaction[Any], uid: str, action: str) -> None:
        self._monitor: Monitor = responder.monitor
        self._interaction = interaction
        self._uid = uid
        self._action = action
        self._actor = interaction.user.display_name
        incidents, settings = responder.monitor.alerting.incidents, responder.monitor.settings
        self._messages = MessageBuilder(
            incidents.of,
            introduces=incidents.introduces,
            group=settings.command_group,
            link_of=partial(alert_link, settings),
        )

    async def acknowledge(self) -> None:
        """Acknowledge the alert."""
        await self._show(await self._monitor.alerting.engine.acknowledge(self._uid, self._actor, now_us()))

    async def mute(self) -> None:
        """Mute this rule and service for a while."""
        alert, now = await self._alert(), now_us()
        if not alert.state.active:
            raise ClosedAlertError(OVER)
        _, length_us = MUTES[self._action]
        reason = f"Alert {alert.id}"
        mute = Mute(alert.service, alert.rule, now, now + length_us, self._actor, reason)
        await self._monitor.alerting.engine.mute(mute, now)
        await self._show(await self._alert())

    async def unmute(self) -> None:
        """End the mutes of exactly this rule and service; the command ends wider ones."""
        alert, now = await self._alert(), now_us()
        active = await self._monitor.store.alerting.mutes(now)
        mutes = [mute for mute in active if mute.covers(alert.rule, alert.service, now)]
        narrow = [mute.id for mute in mutes if (mute.rule, mute.service) == (alert.rule, alert.service)]
        if narrow:
            await self._monitor.alerting.engine.unmute(narrow, self._actor, now)
        await self._show(await self._alert())
        wide = [mute.until_us for mute in mutes if mute.id not in narrow]
        if wide:
            group = self._monitor.settings.command_group
            raise UserError(WIDER.format(until=max(wide) // 1_000_000, group=group))

    async def details(self) -> None:
        """Show all facts about the alert to the user who pressed."""
        alert, stored = await self._alert(), self._monitor.store.alerting
        changes = await stored.changes(self._uid, limit=LISTED)
        attempts = await stored.attempts(self._uid, limit=LISTED)
        embed = await self._messages.details(alert, await self._members(), changes, attempts)
        await self._interaction.followup.send(embed=embed, ephemeral=True, allowed_mentions=NO_MENTIONS)

    async def _show(self, alert: Alert) -> None:
        """Update the message at once. The notifier edits it again later, and retries if that fails."""
        message = self._interaction.message
        chart = bool(message and message.embeds and message.embeds[0].image.url)
        content = await self._messages.build(alert, await self._members(), chart=chart)
        try:
            await self._interaction.edit_original_response(
                embed=content.embed, view=view_of(alert), allowed_mentions=NO_MENTIONS
            )
        except discord.HTTPException as error:
            _logger.debug("The notifier will update the message of alert %d: %s", alert.id, error)

    async def _alert(self) -> Alert:
        alert = await self._monitor.store.alerting.alert(self._uid)
        if alert is None:
            raise UnknownAlertError(UNKNOWN)
        return alert

    async def _members(self) -> list[Alert]:
        return await self._monitor.store.alerting.alerts(tuple(AlertState), group=self._uid)


# The action of every button.
ACTIONS: Final[dict[str, Callable[[ButtonPress], Awaitable[None]]]] = {
    ACKNOWLEDGE: ButtonPress.acknowledge,
    UNMUTE: ButtonPress.unmute,
    DETAILS: ButtonPress.details,
    **dict.fromkeys(MUTES, ButtonPress.mute),
}
