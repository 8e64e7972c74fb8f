"""Answers a command: asks the gate, defers, lets the family do its work, draws the chart, and turns faults to words.

Nothing is raised to the host's command tree: its error handler would answer a second time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from cogmeter.notifiers.channel import picture_file
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.gate import Gate
    from cogmeter.render.chart import Chart
    from cogmeter.runtime import Monitor

REFUSED = "These figures are for the bot's owner and team, and for the roles in PERFORMANCE_OPS_ROLE_IDS."
STORE_FAILED = "The database does not answer: {error}"
FAILED = "Something went wrong in cogmeter; the log says what. Recording goes on."

_logger = logging.getLogger("cogmeter.cog")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a family answers; ``embed`` is built once it is known whether there is a chart."""

    embed: Callable[[bool], discord.Embed]
    chart: Chart | None = None


class Desk:
    """What every command family answers through."""

    def __init__(self, monitor: Monitor, gate: Gate) -> None:
        self.monitor = monitor
        self.gate = gate

    async def answer(self, interaction: discord.Interaction, work: Callable[[], Awaitable[Answer]]) -> None:
        """Run ``work`` for a user that the gate admits, and send what it answers."""
        try:
            if not await self.gate.admits(interaction):
                await interaction.response.send_message(REFUSED, ephemeral=True)
                return
            await interaction.response.defer(thinking=True)
            await self._send(interaction, await work())
        except StorageError as error:
            _logger.warning("A command could not be answered: %s", error)
            await self._apologise(interaction, STORE_FAILED.format(error=error))
        except discord.HTTPException as error:
            _logger.warning("Discord did not take an answer: %s", error)
        except Exception:
            self.monitor.faults["commands"] += 1
            _logger.exception("A command failed")
            await self._apologise(interaction, FAILED)

    async def _send(self, interaction: discord.Interaction, answer: Answer) -> None:
        picture = None if answer.chart is None else await self.monitor.picture(answer.chart)
        await interaction.followup.send(
            embed=answer.embed(picture is not None),
            files=[] if picture is None else [picture_file(picture)],
            allowed_mentions=discord.AllowedMentions.none(),
        )

    async def _apologise(self, interaction: discord.Interaction, text: str) -> None:
        try:
            if interaction.response.is_done():
                await interaction.followup.send(text, ephemeral=True)
            else:
                await interaction.response.send_message(text, ephemeral=True)
        except discord.HTTPException as error:
            _logger.warning("Discord did not take an apology: %s", error)
