"""Answers a command: asks the gate, defers, lets the family do its work, draws the chart, and turns faults to words.

Nothing is raised to the host's command tree: its error handler would answer a second time.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from cogmeter.alerts.model import Subject
from cogmeter.notifiers.discord_channel.channel import BROKEN
from cogmeter.render.embeds.statistics import chart_file
from cogmeter.render.formatting import cut
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.access_policy import AccessPolicy
    from cogmeter.cog.views import Buttons
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Timeline
    from cogmeter.render.charts.chart import Picture
    from cogmeter.web.server.servers import Servers

REFUSED = "These figures are for the bot's owner and team, and for the roles in PERFORMANCE_OPS_ROLE_IDS."
STORE_FAILED = "The database does not answer; the bot's log says why. Recording goes on."
FAILED = "Something went wrong in cogmeter; the log says what. Recording goes on."

CONTENT = 2_000  # Discord's limit of a message's text
CLOSING_S = 3.0  # how long an unload waits until dead buttons are taken away

_logger = logging.getLogger("cogmeter.cog")


class UserError(Exception):
    """What was asked cannot be done; its text says so to who asked, and only there."""


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What a family answers; ``embed`` is built once it is known what became of the chart, if there is to be one.

    Its two arguments are those of the embeds: whether the chart is sent along, and why not.
    """

    embed: Callable[[bool, str], discord.Embed]
    timeline: Timeline | None = None
    buttons: Buttons | None = None

    @classmethod
    def plain(cls, embed: discord.Embed, buttons: Buttons | None = None) -> CommandAnswer:
        """An answer without a chart."""
        return cls(lambda _drawn, _trouble: embed, buttons=buttons)


class Responder:
    """What every command family answers through."""

    def __init__(self, monitor: Monitor, gate: AccessPolicy, servers: Servers | None = None) -> None:
        self.monitor = monitor
        self.servers = servers
        self.gate = gate
        self.open: set[Buttons] = set()  # buttons that may still be pressed

    async def answer(
        self,
        interaction: discord.Interaction,
        work: Callable[[], Awaitable[CommandAnswer]],
        *,
        check: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Run ``work`` for a user that the gate admits, and send what it answers.

        ``check`` looks at what was asked before anything is shown in the channel: its Refusal is seen by who asked
        alone. It must be quick; what takes longer is ``work``'s.
        """
        try:
            if not await self.gate.admits(interaction):
                await interaction.response.send_message(REFUSED, ephemeral=True)
                return
            if check is not None:
                await check()
            await interaction.response.defer(thinking=True)
            await self._send(interaction, await work())
        except UserError as refusal:
            await self._apologise(interaction, str(refusal))
        except StorageError as error:
            _logger.warning("A command could not be answered: %s", error)
            await self._apologise(interaction, STORE_FAILED)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Discord did not take an answer: %s", error)
        except Exception:
            self.monitor.faults["commands"] += 1
            _logger.exception("A command failed")
            await self._apologise(interaction, FAILED)

    async def close(self) -> None:
        """Take away the buttons that are still there, as far as Discord answers in time."""
        ending = [asyncio.create_task(buttons.end(), name="cogmeter-buttons") for buttons in list(self.open)]
        if ending:
            _, late = await asyncio.wait(ending, timeout=CLOSING_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _send(self, interaction: discord.Interaction, answer: CommandAnswer) -> None:
        picture = None if answer.timeline is None else await self._picture(answer.timeline)
        drawn, trouble = (picture.drawn, picture.trouble) if picture else (False, "")
        await interaction.followup.send(
            embed=answer.embed(drawn, trouble),
            files=[chart_file(picture.png, picture.chart)] if picture and drawn else [],
            view=answer.buttons or discord.utils.MISSING,
            allowed_mentions=discord.AllowedMentions.none(),
        )
        if answer.buttons is not None:
            answer.buttons.shown(interaction)

    async def _picture(self, timeline: Timeline) -> Picture:
        limits, subject = self.monitor.alerting.limits, Subject("response_time", timeline.service or "")
        threshold, statistic = limits.of(subject).threshold, limits.statistic_of(subject)
        return await self.monitor.chart_builder.timeline(timeline, response_time_ms=threshold, statistic=statistic)

    async def _apologise(self, interaction: discord.Interaction, text: str) -> None:
        """Say it to who asked alone; after the defer to the whole channel, so that no text tells of our insides."""
        text, nobody = cut(text, CONTENT), discord.AllowedMentions.none()
        try:
            if interaction.response.is_done():
                await interaction.followup.send(text, allowed_mentions=nobody)  # Discord would show it to all anyway
            else:
                await interaction.response.send_message(text, ephemeral=True, allowed_mentions=nobody)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Discord did not take an apology: %s", error)
