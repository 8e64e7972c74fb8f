"""``/perf running``: the operations that run now, longest first, with the line that each waits in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.views import Pages
from cogmeter.query.query import now_us
from cogmeter.render.embeds.running import running_embed
from cogmeter.schemas.operations import running_page

if TYPE_CHECKING:
    from discord import app_commands

    from cogmeter.cog.responder import CommandAnswer, Responder

PAGE: Final = 8


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="running", description="What runs now, longest first, with the line that each waits in")
    async def running(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _running(responder))


async def _running(responder: Responder) -> CommandAnswer:
    async def page(number: int) -> tuple[discord.Embed, bool]:
        reader = await responder.monitor.running()
        operations, following = await running_page(reader, now_us(), limit=PAGE, offset=number * PAGE)
        more = following is not None
        return running_embed(operations, total=len(reader), page=number, more=more), more

    return await Pages.answer(responder, page)
