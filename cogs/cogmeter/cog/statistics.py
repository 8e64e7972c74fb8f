"""``/perf summary`` and ``/perf stats``: the statistics of all services, or of one service or command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.diagnostics.judgement import judge
from cogmeter.query.records import UnknownNameError
from cogmeter.render.embeds.statistics import stats_embed, summary_embed, unknown_embed
from cogmeter.settings import buffer_setting

if TYPE_CHECKING:
    from cogmeter.query.records import Period


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(responder)

    @group.command(name="summary", description="All commands and services: volume, success, response times, chart")
    @app_commands.describe(period="How far to look back (24 hours)")
    @app_commands.choices(period=CHOICES)
    async def summary(interaction: discord.Interaction, period: str = DEFAULT) -> None:
        await responder.answer(interaction, lambda: _summary(responder, period_of(period)))

    @group.command(name="stats", description="One command or service: percentiles, slowest runs, recent errors, chart")
    @app_commands.describe(
        service="A command such as /ask, or a service",
        operation="One operation of the service (all)",
        period="How far to look back (24 hours)",
    )
    @app_commands.choices(period=CHOICES)
    @app_commands.autocomplete(service=names.subjects, operation=names.operations)
    async def stats(
        interaction: discord.Interaction, service: str, operation: str | None = None, period: str = DEFAULT
    ) -> None:
        await responder.answer(interaction, lambda: _stats(responder, service, operation, period_of(period)))


async def _summary(responder: Responder, period: Period) -> CommandAnswer:
    monitor = responder.monitor
    summary = await monitor.query.summary(period)
    status = judge(summary.total, monitor.alerting.limits).status
    setting = buffer_setting(by_memory=monitor.recorder.buffer.by_memory)
    picture = await responder.draw(summary.timeline) if summary.total.operations else None
    return CommandAnswer(summary_embed(summary, picture, status=status, buffer_setting=setting), picture)


async def _stats(responder: Responder, service: str, operation: str | None, period: Period) -> CommandAnswer:
    monitor = responder.monitor
    try:
        stats = await monitor.query.stats(service, operation, period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    status = judge(stats.total, monitor.alerting.limits, stats.service, stats.operation or "").status
    picture = await responder.draw(stats.timeline) if stats.total.operations else None
    return CommandAnswer(stats_embed(stats, picture, status=status), picture)
