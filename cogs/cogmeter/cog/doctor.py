"""``/perf doctor``: how the monitor itself is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.diagnostics.doctor import examine
from cogmeter.render.embeds.statistics import doctor_embed

if TYPE_CHECKING:
    from discord import app_commands


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="doctor", description="The monitor's own health: hooks, buffer, database, jobs, permissions")
    async def doctor(interaction: discord.Interaction) -> None:
        await desk.answer(interaction, lambda: _answer(desk))


async def _answer(desk: Responder) -> CommandAnswer:
    found = [*await examine(desk.monitor), *(desk.servers.findings() if desk.servers is not None else ())]
    embed = doctor_embed(sorted(found, key=lambda one: one.well))
    return CommandAnswer(lambda _drawn, _trouble: embed)
