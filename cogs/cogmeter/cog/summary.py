"""``/perf summary``: all services over a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.desk import Answer, Desk
from cogmeter.cog.periods import CHOICES, DEFAULT, period_of
from cogmeter.render.embeds import summary_embed
from cogmeter.settings import buffer_setting

if TYPE_CHECKING:
    from cogmeter.records import Period


def add(group: app_commands.Group, desk: Desk) -> None:
    """Add the command to the group."""

    @group.command(name="summary", description="All services: volume, success, response times, and a chart")
    @app_commands.describe(period="How far to look back (24 hours)")
    @app_commands.choices(period=CHOICES)
    async def summary(interaction: discord.Interaction, period: str = DEFAULT) -> None:
        await desk.answer(interaction, lambda: _answer(desk, period_of(period)))


async def _answer(desk: Desk, period: Period) -> Answer:
    found = await desk.monitor.query.summary(period)
    threshold = desk.monitor.settings.alert_threshold_error_rate
    setting = buffer_setting(by_memory=desk.monitor.recorder.buffer.by_memory)

    def embed(drawn: bool, trouble: str) -> discord.Embed:
        return summary_embed(
            found, chart=drawn, chart_trouble=trouble, error_rate_threshold=threshold, buffer_setting=setting
        )

    return Answer(embed, found.timeline if found.total.operations else None)
