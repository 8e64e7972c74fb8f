"""``/perf resources``: CPU, memory, event-loop lag, GC, network and open files, with their growth per day."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, period_of
from cogmeter.cog.responder import CommandAnswer
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.query.resources import resources
from cogmeter.render.charts.resources import ResourcesChart
from cogmeter.render.embeds.resources import resources_embed

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="resources", description="CPU, memory, event loop, GC, network, files: use and growth per day")
    @app_commands.describe(period="How far to look back (24 hours)")
    @app_commands.choices(period=CHOICES)
    async def show_resources(interaction: discord.Interaction, period: str = DEFAULT) -> None:
        request = AnswerRequest("resources", period_of(period))
        await responder.answer(interaction, lambda: _resources(responder, request))

    responder.answers["resources"] = partial(_resources, responder)


async def _resources(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor = responder.monitor
    use = await resources(monitor.query, monitor.query.span(request.period))
    picture = await monitor.chart_builder.draw(ResourcesChart.of(use)) if use.lines else None
    embed = resources_embed(use, monitor.watcher.grown, picture)
    return CommandAnswer(embed, picture, Buttons(responder, request))
