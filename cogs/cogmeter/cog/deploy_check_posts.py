"""Posts what a deploy made worse to the alert channel, once, and answers the buttons below these messages.

The custom ids of the buttons are enough to answer them, so they work after a restart. Whether a check was posted is
stored before and after: a message whose sending was interrupted is looked for in the channel.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import discord
from discord.ui import Button, DynamicItem

from cogmeter.cog.comparison import comparison_answer
from cogmeter.cog.dynamic_buttons import add_buttons
from cogmeter.cog.responder import UserError, files_of
from cogmeter.cog.views import AnswerRequest
from cogmeter.diagnostics.deploy_checks import LATE_US, STAGES
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS, AlertChannel
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.query.regressions import BEGUN, DONE, WAITING
from cogmeter.render.embeds.deploy_check import deploy_check_embed
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.notifiers.discord_channel.channel import MessageableChannel
    from cogmeter.query.regressions import DeployCheck

INTERVAL_S: Final = 60.0
SEARCHED: Final = 50  # messages of the channel that may be a post whose sending was interrupted
MUTE, DETAILS = "mute", "details"
TEMPLATE: Final = re.compile(r"cogmeter:check:(?P<action>mute|details):(?P<marker>\d{1,18}):(?P<hours>1|24)")
GONE: Final = "This check is not stored any more. Use /{group} compare."

_logger = logging.getLogger("cogmeter.cog")


class DeployCheckPosts:
    """The job that posts the results of checks. It retries, and logs an error when it changes."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._last_error = ""

    async def run(self) -> None:
        """Post what waits. Never raises for an error of Discord or the store."""
        try:
            await self._post_waiting()
        except (NotifyError, StorageError) as error:
            if str(error) != self._last_error:
                _logger.warning("A check after a deploy could not be posted: %s", error)
            self._last_error = str(error)
        else:
            self._last_error = ""

    async def _post_waiting(self) -> None:
        settings, checks = self._monitor.settings, self._monitor.attention.deploys
        log = await checks.log()
        for check in log.checks:
            if check.post not in {WAITING, BEGUN}:
                continue
            late = now_us() - check.checked_us > LATE_US[check.stage]
            if not settings.deploy_checks or settings.alert_channel_id is None or late:
                await checks.posted(check, DONE)  # not later, when it is switched on
            elif check.post == WAITING and await checks.replaced(check):
                await checks.posted(check, DONE)  # what it found does not run any more
            else:
                await self._post(check)

    async def _post(self, check: DeployCheck) -> None:
        checks = self._monitor.attention.deploys
        alert_channel = AlertChannel(self._monitor.bot, self._monitor.settings)
        channel = await alert_channel.resolve()
        loud = (await checks.log()).loud(check, now_us())
        embed = deploy_check_embed(check, loud)
        try:
            if loud and not (check.post == BEGUN and await self._was_posted(channel, embed)):
                await checks.posted(check, BEGUN)
                await channel.send(
                    embed=embed,
                    view=view_of(check),
                    silent=True,
                    allowed_mentions=NO_MENTIONS,
                    nonce=f"cogmeter-{check.marker}-{STAGES[check.stage] // 3_600_000_000}"[:25],
                )
        except (discord.DiscordException, *BROKEN) as error:
            raise alert_channel.refused(error) from error
        await checks.posted(check, DONE)

    async def _was_posted(self, channel: MessageableChannel, embed: discord.Embed) -> bool:
        own = self._monitor.bot.user
        async for message in channel.history(limit=SEARCHED):
            if message.author == own and any(_identity(posted) == _identity(embed) for posted in message.embeds):
                return True
        return False


def view_of(check: DeployCheck, *, muted: bool = False) -> discord.ui.View:
    """Return the buttons of a check's message, which are answered by their custom ids alone."""
    view = discord.ui.View(timeout=None)
    suffix = f"{check.marker}:{STAGES[check.stage] // 3_600_000_000}"
    for label, action, disabled in (("Details", DETAILS, False), ("Muted" if muted else "Mute 7 d", MUTE, muted)):
        view.add_item(
            Button[discord.ui.View](label=label, custom_id=f"cogmeter:check:{action}:{suffix}", disabled=disabled)
        )
    view.stop()  # nothing waits for it in this process
    return view


def add(bot: discord.Client, responder: Responder) -> None:
    """Register the buttons of all checks, including those of earlier runs."""
    add_buttons(bot, DeployCheckButton, TEMPLATE, responder)


def remove(bot: discord.Client) -> None:
    """Stop answering the buttons."""
    bot.remove_dynamic_items(DeployCheckButton)


class DeployCheckButton(DynamicItem[Button[Any]], template=TEMPLATE):
    """A press of a button. Nothing is raised to the host."""

    responder: ClassVar[Responder]

    def __init__(self, item: Button[Any], action: str, marker: int, stage: str) -> None:
        super().__init__(item)
        self._action = action
        self._marker = marker
        self._stage = stage

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button for a press, from its custom id."""
        del interaction
        assert isinstance(item, Button)
        return cls(item, match["action"], int(match["marker"]), f"{match['hours']} h")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer the press."""
        work = self._mute if self._action == MUTE else self._details
        await self.responder.press(interaction, lambda: work(interaction), new_message=self._action == DETAILS)

    async def _mute(self, interaction: discord.Interaction[Any]) -> None:
        check = await self.responder.monitor.attention.deploys.mute(self._marker, self._stage)
        if check is None:
            raise UserError(GONE.format(group=self.responder.monitor.settings.command_group))
        await interaction.edit_original_response(view=view_of(check, muted=True), allowed_mentions=NO_MENTIONS)

    async def _details(self, interaction: discord.Interaction[Any]) -> None:
        """Compare the worst command or service, for the user who pressed."""
        monitor = self.responder.monitor
        check = (await monitor.attention.deploys.log()).check(self._marker, self._stage)
        if check is None or not check.regressions:
            raise UserError(GONE.format(group=monitor.settings.command_group))
        worst = check.regressions[0]
        request = AnswerRequest("compare", Period.WEEK, worst.service, worst.operation or None, before=check.before)
        answer = await comparison_answer(self.responder, request)
        await interaction.followup.send(
            embed=answer.embed, files=files_of(answer), ephemeral=True, allowed_mentions=NO_MENTIONS
        )


def _identity(embed: discord.Embed) -> tuple[str | None, str | None]:
    return embed.title, embed.footer.text
