"""The embeds of the erasure of a user's data: the question, and what was erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogmeter.render.embeds.statistics import fit
from cogmeter.render.erasure_text import erased_text
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from cogmeter_storage.model import Erased


def question_embed(user: discord.User | discord.Member) -> discord.Embed:
    """Return the question before data is erased."""
    embed = discord.Embed(title="Erase a user's data?", colour=DisplayState.DEGRADED.colour)
    embed.description = (
        f"**{plain(user.display_name, 60)}** ({user.id}): the keyed hash is removed from operations, traces and errors,"
        " and the id and the display name from all stored texts. Operations stay, without a user. It cannot be undone."
        "\nExports and backups are not changed. Nobody can be removed from the distinct counts of `usage`: they contain"
        " no ids."
    )
    return fit(embed)


def erased_embed(erased: Erased | None) -> discord.Embed:
    """Return what was erased; None: nothing, because it was cancelled."""
    if erased is None:
        return fit(discord.Embed(title="Nothing was erased", colour=DisplayState.NEUTRAL.colour))
    embed = discord.Embed(title="The user's data is erased", colour=DisplayState.HEALTHY.colour)
    embed.description = f"Removed from {erased_text(erased)}." if erased.rows else "Nothing was stored about this user."
    return fit(embed)
