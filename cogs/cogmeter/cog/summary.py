"""``/perf summary``: all services over a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.desk import Answer, Desk
from cogmeter.cog.periods import CHOICES, DEFAULT, period_of
from cogmeter.render.chart import Chart
from cogmeter.render.embeds import empty_embed, summary_embed

if TYPE_CHECKING:
    from cogmeter.query import Period


def add(group: app_commands.Group, desk: Desk) -> None:
    """Add the command to the group."""

    @group.command(name="summary", description="All services: volume, success, response times, and a chart")
    @app_commands.describe(period="How far to look back (24 hours)")
    @app_commands.choices(period=CHOICES)
    async def summary(interaction: discord.Interaction, period: str = DEFAULT) -> None:
        await desk.answer(interaction, lambda: _answer(desk, period_of(period)))


async def _answer(desk: Desk, period: Period) -> Answer:
    found = await desk.monitor.query.summary(period)
    settings = desk.monitor.settings
    if not found.total.operations:
        return Answer(lambda _: empty_embed(found.range))
    chart = Chart(found.timeline, latency_threshold_us=settings.alert_threshold_response_time * 1000 or None)
    return Answer(
        lambda drawn: summary_embed(found, chart=drawn, error_rate_threshold=settings.alert_threshold_error_rate), chart
    )
