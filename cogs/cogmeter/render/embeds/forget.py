"""The embeds of the erasure of a user's data: the question, and what was erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogmeter.render.embeds.statistics import fit
from cogmeter.render.erasure_text import EFFECT, LIMITS, result_text
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from cogmeter_storage.model import Erased


def question_embed(user: discord.User | discord.Member) -> discord.Embed:
    """Return the question before data is erased."""
    embed = discord.Embed(title="Erase a user's data?", colour=DisplayState.DEGRADED.colour)
    embed.description = f"**{plain(user.display_name, 60)}** ({user.id}): {EFFECT}\n{LIMITS}"
    return fit(embed)


def erased_embed(erased: Erased | None) -> discord.Embed:
    """Return what was erased; None: nothing, because it was cancelled."""
    if erased is None:
        return fit(discord.Embed(title="Nothing was erased", colour=DisplayState.NEUTRAL.colour))
    embed = discord.Embed(title="The user's data is erased", colour=DisplayState.HEALTHY.colour)
    embed.description = result_text(erased)
    return fit(embed)
