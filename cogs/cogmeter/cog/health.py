"""``/perf health``: every service, loop, shard, limit and dependency in one picture of the bot's state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.query.records import Period
from cogmeter.render.charts.state import StateChart
from cogmeter.render.embeds.state import state_embed

if TYPE_CHECKING:
    from discord import app_commands


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="health", description="The whole bot in one picture: services, loops, shards, limits")
    async def health(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _health(responder, AnswerRequest("health", Period.DAY)))

    responder.answers["health"] = partial(_health, responder)


async def _health(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    state = await responder.health.state()
    picture = await responder.monitor.chart_builder.draw(StateChart(state))
    return CommandAnswer(state_embed(state, picture), picture, Buttons(responder, request))
