"""Answers the buttons below an alert's message by their custom id alone: they outlive restarts, no view is kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import aiohttp
import discord
from discord.ui import Button, DynamicItem

from cogmeter.alerts.lifecycle.engine import ClosedAlertError, UnknownAlertError
from cogmeter.cog.responder import FAILED, STORE_FAILED, UserError
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
from cogmeter.recording.background import own_work
from cogmeter.render import formatting
from cogmeter_storage.alerting import AlertState, Mute
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from discord.ext import commands

    from cogmeter.cog.responder import Responder
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert

REFUSED: Final = "This is for the bot's owner and team, and for the roles in PERFORMANCE_OPS_ROLE_IDS."
OVER: Final = "This alert is over."
UNKNOWN: Final = "This alert is not kept any more."
WIDER: Final = "It stays muted: a mute of more than this alert holds until <t:{until}:f>. `/{group} unmute` ends it."
LISTED: Final = 25  # changes and attempts in the details; more do not fit
NOBODY: Final = discord.AllowedMentions.none()

_logger = logging.getLogger("cogmeter.cog")


def add(bot: commands.Bot, desk: Responder) -> None:
    """Answer the buttons of all alerts, those of former runs too."""

    # discord.py makes an item of the class for each press; a class of its own knows its bot's desk.
    class BoundPress(AlertButton, template=TEMPLATE):
        pass

    BoundPress.desk = desk
    bot.add_dynamic_items(BoundPress)


def remove(bot: commands.Bot) -> None:
    """Answer them no more."""
    bot.remove_dynamic_items(AlertButton)


class AlertButton(DynamicItem[Button[Any]], template=TEMPLATE):
    """One press of one button. Nothing is ever raised to the host."""

    desk: ClassVar[Responder]

    def __init__(self, item: Button[Any], action: str, uid: str) -> None:
        super().__init__(item)
        self._action = action
        self._uid = uid

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The press that a custom id stands for."""
        del interaction
        assert isinstance(item, Button)
        return cls(item, match["action"], match["uid"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer it: first of all Discord, so that nobody waits; then ask the gate, and do it."""
        working = own_work.set(True)
        try:
            self._leave_out(interaction)
            asked = self._action == DETAILS
            await interaction.response.defer(ephemeral=asked, thinking=asked)
            if not await self.desk.gate.admits(interaction):
                raise UserError(REFUSED)
            work = ACTIONS.get(self._action)
            if work is not None:
                await work(ButtonPress(self.desk, interaction, self._uid, self._action))
        except (UserError, UnknownAlertError, ClosedAlertError) as refusal:
            await _say(interaction, str(refusal))
        except StorageError as error:
            _logger.warning("A press could not be answered: %s", error)
            await _say(interaction, STORE_FAILED)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            _logger.warning("Discord did not take the answer to a press: %s", error)
        except Exception:
            self.desk.monitor.faults["presses"] += 1
            _logger.exception("The button %s failed", self._action)
            await _say(interaction, FAILED)
        finally:
            own_work.reset(working)

    def _leave_out(self, interaction: discord.Interaction[Any]) -> None:
        """It is not the host's performance: also where components are not watched, but their answers are."""
        receipt = self.desk.monitor.watcher.receipts.get(interaction.id)
        if receipt is not None:
            receipt.own = True


class ButtonPress:
    """What the buttons do. Each may raise what ``AlertButton.callback`` puts into words."""

    def __init__(self, desk: Responder, interaction: discord.Interaction[Any], uid: str, action: str) -> None:
        self._monitor: Monitor = desk.monitor
        self._interaction = interaction
        self._uid = uid
        self._action = action
        self._actor = interaction.user.display_name
        self._messages = MessageBuilder(desk.monitor.alerting.incidents.of)

    async def acknowledge(self) -> None:
        """Take the alert up."""
        await self._show(await self._monitor.alerting.engine.acknowledge(self._uid, self._actor, now_us()))

    async def mute(self) -> None:
        """Hear nothing of this rule and service for a while."""
        alert, now = await self._alert(), now_us()
        if not alert.state.active:
            raise ClosedAlertError(OVER)
        _, length_us = MUTES[self._action]
        reason = f"Alert {alert.id}"
        mute = Mute(alert.service, alert.rule, now, now + length_us, self._actor, reason)
        await self._monitor.alerting.engine.mute(mute, now)
        await self._show(await self._alert())

    async def unmute(self) -> None:
        """End the mutes of this rule and service; one that covers more is left to the command."""
        alert, now = await self._alert(), now_us()
        mutes = [one for one in await self._monitor.store.alerting.mutes(now) if _covers(one, alert, now)]
        narrow = [one.id for one in mutes if (one.rule, one.service) == (alert.rule, alert.service)]
        if narrow:
            await self._monitor.alerting.engine.unmute(narrow, self._actor, now)
        await self._show(await self._alert())
        wide = [one.until_us for one in mutes if one.id not in narrow]
        if wide:
            group = self._monitor.settings.command_group
            raise UserError(WIDER.format(until=max(wide) // 1_000_000, group=group))

    async def details(self) -> None:
        """All that is known of the alert, for who asked alone."""
        alert, kept = await self._alert(), self._monitor.store.alerting
        changes = await kept.changes(self._uid, limit=LISTED)
        attempts = await kept.attempts(self._uid, limit=LISTED)
        embed = await self._messages.details(alert, await self._members(), changes, attempts)
        await self._interaction.followup.send(embed=embed, ephemeral=True, allowed_mentions=NOBODY)

    async def _show(self, alert: Alert) -> None:
        """The message as it is now, at once; the notifier's own edit follows, and is the one that is made sure of."""
        message = self._interaction.message
        chart = bool(message and message.embeds and message.embeds[0].image.url)
        message_now = await self._messages.build(alert, await self._members(), chart=chart)
        try:
            await self._interaction.edit_original_response(
                embed=message_now.embed, view=view_of(alert), allowed_mentions=NOBODY
            )
        except discord.HTTPException as error:
            _logger.debug("The message of alert %d is left to its notifier: %s", alert.id, error)

    async def _alert(self) -> Alert:
        alert = await self._monitor.store.alerting.alert(self._uid)
        if alert is None:
            raise UnknownAlertError(UNKNOWN)
        return alert

    async def _members(self) -> list[Alert]:
        return await self._monitor.store.alerting.alerts(tuple(AlertState), group=self._uid)


# Every button: what a press of it does.
ACTIONS: Final[dict[str, Callable[[ButtonPress], Awaitable[None]]]] = {
    ACKNOWLEDGE: ButtonPress.acknowledge,
    UNMUTE: ButtonPress.unmute,
    DETAILS: ButtonPress.details,
    **dict.fromkeys(MUTES, ButtonPress.mute),
}


def _covers(mute: Mute, alert: Alert, now: int) -> bool:
    return mute.covers(alert.rule, alert.service, now)


async def _say(interaction: discord.Interaction[Any], words: str) -> None:
    """To who pressed, and to nobody else."""
    words = formatting.cut(words, 2_000)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(words, ephemeral=True, allowed_mentions=NOBODY)
        else:
            await interaction.response.send_message(words, ephemeral=True, allowed_mentions=NOBODY)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        _logger.warning("Discord did not take the answer to a press: %s", error)
