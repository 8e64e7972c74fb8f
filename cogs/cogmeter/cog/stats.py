"""``/perf stats``: one service, or one operation of it, over a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.autocomplete import Autocomplete
from cogmeter.cog.options import CHOICES, DEFAULT, period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.diagnostics.judgement import judge
from cogmeter.query.records import UnknownNameError
from cogmeter.render.embeds.statistics import stats_embed, unknown_embed

if TYPE_CHECKING:
    from cogmeter.query.records import Period


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""
    names = Autocomplete(desk)

    @group.command(name="stats", description="One service: percentiles, slowest operations, recent errors, and a chart")
    @app_commands.describe(
        service="Which service", operation="One of its operations (all)", period="How far to look back (24 hours)"
    )
    @app_commands.choices(period=CHOICES)
    @app_commands.autocomplete(service=names.services, operation=names.operations)
    async def stats(
        interaction: discord.Interaction, service: str, operation: str | None = None, period: str = DEFAULT
    ) -> None:
        await desk.answer(interaction, lambda: _answer(desk, service, operation, period_of(period)))


async def _answer(desk: Responder, service: str, operation: str | None, period: Period) -> CommandAnswer:
    try:
        found = await desk.monitor.query.stats(service, operation, period)
    except UnknownNameError as error:
        unknown = unknown_embed(error)
        return CommandAnswer(lambda _drawn, _trouble: unknown)
    status = judge(found.total, desk.monitor.alerting.limits, service, operation or "").status

    def embed(drawn: bool, trouble: str) -> discord.Embed:
        return stats_embed(found, chart=drawn, chart_trouble=trouble, status=status)

    return CommandAnswer(embed, found.timeline if found.total.operations else None)
