"""``/perf report`` and ``/perf digest``: which alerts fired and who acted on them, and what happened in a period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.review.what_if import alert_report
from cogmeter.cog.options import period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.scheduled_posts import digest_answer
from cogmeter.diagnostics.digest import WEEKLY
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.render.embeds.report import report_embed

if TYPE_CHECKING:
    from cogmeter.query.records import Range

PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)
DIGESTS: Final = (Period.DAY, Period.WEEK)


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""

    @group.command(name="report", description="Report on the alerts: what fired, who acted, what was noise")
    @app_commands.describe(period="How far to look back (7 days)")
    @app_commands.choices(period=[app_commands.Choice(name=choice.label, value=choice.key) for choice in PERIODS])
    async def report(interaction: discord.Interaction, period: str = Period.WEEK.key) -> None:
        await responder.answer(interaction, lambda: _report(responder, period_of(period).range_at(now_us())))

    @group.command(name="digest", description="What happened: figures, what needs attention, changes, errors, alerts")
    @app_commands.describe(period="How far to look back (as often as the digest is posted)")
    @app_commands.choices(period=[app_commands.Choice(name=choice.label, value=choice.key) for choice in DIGESTS])
    async def digest(interaction: discord.Interaction, period: str | None = None) -> None:
        usual = Period.WEEK if responder.monitor.settings.digest == WEEKLY else Period.DAY
        span = (usual if period is None else period_of(period)).range_at(now_us())
        await responder.answer(interaction, lambda: digest_answer(responder, span))


async def _report(responder: Responder, span: Range) -> CommandAnswer:
    report = await alert_report(responder.monitor.store, responder.monitor.settings, span)
    return CommandAnswer(report_embed(report))
