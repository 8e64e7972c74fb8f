"""``/perf fleet``: every process that shares the database, the silent and the unhealthy first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.responder import CommandAnswer
from cogmeter.diagnostics.process_health import fleet_health
from cogmeter.render.embeds.fleet import fleet_embed

if TYPE_CHECKING:
    from discord import app_commands

    from cogmeter.cog.responder import Responder


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(
        name="fleet", description="Every process of the bot: alive or silent, health, speed, loop lag, version"
    )
    async def show_fleet(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _fleet(responder))


async def _fleet(responder: Responder) -> CommandAnswer:
    monitor = responder.monitor
    return CommandAnswer(fleet_embed(await fleet_health(monitor.query, monitor.alerting.limits)))
