"""Buttons below an answer: who may press them, and how they end. They live as long as the cog at most."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.cog.responder import FAILED, REFUSED, STORE_FAILED, CommandAnswer, UserError
from cogmeter.notifiers.discord_channel.channel import BROKEN
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.responder import Responder

OPEN_S: Final = 600.0  # after the last press; Discord lets an answer be edited for 15 minutes

_logger = logging.getLogger("cogmeter.cog")


class Buttons(discord.ui.View):
    """Pressed by those whom the gate admits; taken away when their time is over or the cog is unloaded."""

    def __init__(self, desk: Responder) -> None:
        super().__init__(timeout=OPEN_S)
        self._desk = desk
        self._answered: discord.Interaction | None = None  # the last one, by which the message can be edited

    def shown(self, interaction: discord.Interaction) -> None:
        """The message with these buttons was sent, or edited, as the answer to this interaction."""
        self._answered = interaction
        self._desk.open.add(self)

    async def show(self, interaction: discord.Interaction, embed: discord.Embed, *, last: bool = False) -> None:
        """Put another embed in the message's place; ``last`` takes the buttons away. The press was deferred before."""
        await interaction.edit_original_response(
            embed=embed, view=None if last else self, allowed_mentions=discord.AllowedMentions.none()
        )
        self.shown(interaction)
        if last:
            self._close()

    async def end(self) -> None:
        """Take the buttons away. Never raises."""
        self._close()
        if self._answered is None:
            return
        try:
            await self._answered.edit_original_response(view=None)
        except Exception as error:  # noqa: BLE001 - a bot that closes has let go of its connection, in whatever way
            _logger.debug("Buttons could not be taken away: %s", error)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Ask the gate."""
        if await self._desk.gate.admits(interaction):
            return True
        await interaction.response.send_message(REFUSED, ephemeral=True)
        return False

    async def on_timeout(self) -> None:
        """Nobody pressed for a while."""
        await self.end()

    async def on_error(self, interaction: discord.Interaction, error: Exception, item: discord.ui.Item[Any]) -> None:
        """Say what is wrong; nothing is raised to the host."""
        if isinstance(error, UserError):
            words = str(error)
        elif isinstance(error, StorageError):
            _logger.warning("A press could not be answered: %s", error)
            words = STORE_FAILED
        elif isinstance(error, (discord.DiscordException, *BROKEN)):
            _logger.warning("Discord did not take the answer to a press: %s", error)
            return
        else:
            self._desk.monitor.faults["commands"] += 1
            _logger.error("The button %s failed", item, exc_info=error)
            words = FAILED
        send = interaction.followup.send if interaction.response.is_done() else interaction.response.send_message
        try:
            await send(words, ephemeral=True, allowed_mentions=discord.AllowedMentions.none())
        except (discord.DiscordException, *BROKEN) as trouble:
            _logger.warning("Discord did not take an apology: %s", trouble)

    def _close(self) -> None:
        self.stop()
        self._desk.open.discard(self)


class Pages(Buttons):
    """Previous and Next below a list; ``page`` gives the embed of a page, counted from 0, and whether one follows."""

    def __init__(self, desk: Responder, page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]]) -> None:
        super().__init__(desk)
        self._page = page
        self._number = 0

    @classmethod
    async def answer(
        cls, desk: Responder, page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]]
    ) -> CommandAnswer:
        """The first page, with buttons if there are more."""
        embed, more = await page(0)
        return CommandAnswer.plain(embed, cls(desk, page) if more else None)

    @discord.ui.button(label="Previous", custom_id="cogmeter:pages:previous", disabled=True)
    async def back(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """One page back."""
        await self._turn(interaction, max(self._number - 1, 0))

    @discord.ui.button(label="Next", custom_id="cogmeter:pages:next")
    async def forward(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """One page on."""
        await self._turn(interaction, self._number + 1)

    async def _turn(self, interaction: discord.Interaction, number: int) -> None:
        await interaction.response.defer()
        embed, more = await self._page(number)
        self._place(number, more=more)
        await self.show(interaction, embed)

    def _place(self, number: int, *, more: bool) -> None:
        self._number = number
        self.back.disabled = number == 0
        self.forward.disabled = not more
