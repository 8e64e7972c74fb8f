"""``/perf summary``: all services over a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.diagnostics.judgement import judge
from cogmeter.render.embeds.statistics import summary_embed
from cogmeter.settings import buffer_setting

if TYPE_CHECKING:
    from cogmeter.query.records import Period


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="summary", description="All services: volume, success, response times, and a chart")
    @app_commands.describe(period="How far to look back (24 hours)")
    @app_commands.choices(period=CHOICES)
    async def summary(interaction: discord.Interaction, period: str = DEFAULT) -> None:
        await desk.answer(interaction, lambda: _answer(desk, period_of(period)))


async def _answer(desk: Responder, period: Period) -> CommandAnswer:
    found = await desk.monitor.query.summary(period)
    status = judge(found.total, desk.monitor.alerting.limits).status
    setting = buffer_setting(by_memory=desk.monitor.recorder.buffer.by_memory)

    def embed(drawn: bool, trouble: str) -> discord.Embed:
        return summary_embed(found, chart=drawn, chart_trouble=trouble, status=status, buffer_setting=setting)

    return CommandAnswer(embed, found.timeline if found.total.operations else None)
