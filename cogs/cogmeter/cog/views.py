"""Buttons below an answer: access, paging, errors and removal. They do not outlive the cog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.cog.responder import FAILED, REFUSED, STORE_FAILED, CommandAnswer, UserError, send_text
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.responder import Responder

OPEN_S: Final = 600.0  # after the last press; Discord lets an answer be edited for 15 minutes

_logger = logging.getLogger("cogmeter.cog")


class Buttons(discord.ui.View):
    """Buttons for users with access; they are removed after a timeout or when the cog is unloaded."""

    def __init__(self, responder: Responder) -> None:
        super().__init__(timeout=OPEN_S)
        self._responder = responder
        self._answered: discord.Interaction | None = None  # the last one: its token can edit the message

    def shown(self, interaction: discord.Interaction) -> None:
        """Remember the interaction that was answered with these buttons."""
        self._answered = interaction
        self._responder.open.add(self)

    async def show(self, interaction: discord.Interaction, embed: discord.Embed, *, last: bool = False) -> None:
        """Replace the embed after the press was deferred; ``last`` removes the buttons."""
        await interaction.edit_original_response(embed=embed, view=None if last else self, allowed_mentions=NO_MENTIONS)
        self.shown(interaction)
        if last:
            self._close()

    async def end(self) -> None:
        """Remove the buttons. Never raises."""
        self._close()
        if self._answered is None:
            return
        try:
            await self._answered.edit_original_response(view=None)
        except Exception as error:  # noqa: BLE001 - the connection of a closing bot may fail in any way
            _logger.debug("Buttons could not be removed: %s", error)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Return whether the user has access; reply to a user without access."""
        if await self._responder.access.admits(interaction):
            return True
        await interaction.response.send_message(REFUSED, ephemeral=True)
        return False

    async def on_timeout(self) -> None:
        """Remove the buttons after the timeout."""
        await self.end()

    async def on_error(self, interaction: discord.Interaction, error: Exception, item: discord.ui.Item[Any]) -> None:
        """Show the error to the user; nothing is raised to the host."""
        if isinstance(error, UserError):
            text = str(error)
        elif isinstance(error, StorageError):
            _logger.warning("A press could not be answered: %s", error)
            text = STORE_FAILED
        elif isinstance(error, (discord.DiscordException, *BROKEN)):
            _logger.warning("Discord did not accept the answer to a press: %s", error)
            return
        else:
            self._responder.monitor.faults["commands"] += 1
            _logger.error("The button %s failed", item, exc_info=error)
            text = FAILED
        await send_text(interaction, text)

    def _close(self) -> None:
        self.stop()
        self._responder.open.discard(self)


class Pages(Buttons):
    """The buttons Previous and Next; ``page(number)`` returns a page's embed and whether another page follows."""

    def __init__(self, responder: Responder, page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]]) -> None:
        super().__init__(responder)
        self._page = page
        self._number = 0

    @classmethod
    async def answer(
        cls, responder: Responder, page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]]
    ) -> CommandAnswer:
        """Return the first page, with buttons if there are more."""
        embed, more = await page(0)
        return CommandAnswer(embed, buttons=cls(responder, page) if more else None)

    @discord.ui.button(label="Previous", custom_id="cogmeter:pages:previous", disabled=True)
    async def back(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """Show the previous page."""
        await self._turn(interaction, max(self._number - 1, 0))

    @discord.ui.button(label="Next", custom_id="cogmeter:pages:next")
    async def forward(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """Show the next page."""
        await self._turn(interaction, self._number + 1)

    async def _turn(self, interaction: discord.Interaction, number: int) -> None:
        await interaction.response.defer()
        embed, more = await self._page(number)
        self._number = number
        self.back.disabled = number == 0
        self.forward.disabled = not more
        await self.show(interaction, embed)
