"""``/perf usage``: who uses what, when and where, and which commands nobody uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, period_of
from cogmeter.cog.responder import CommandAnswer
from cogmeter.query.records import Period
from cogmeter.query.usage import usage
from cogmeter.render.embeds.usage import usage_embed

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="usage", description="Who uses what: commands by runs, people and servers, and unused ones")
    @app_commands.describe(period="How far to look back (7 days)")
    @app_commands.choices(period=CHOICES)
    async def show_usage(interaction: discord.Interaction, period: str = Period.WEEK.key) -> None:
        await responder.answer(interaction, lambda: _usage(responder, period_of(period)))


async def _usage(responder: Responder, period: Period) -> CommandAnswer:
    query = responder.monitor.query
    return CommandAnswer(usage_embed(await usage(query, query.span(period))))
