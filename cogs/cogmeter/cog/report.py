"""``/perf report``: which alerts fired, who acted on them, and which thresholds would reduce noise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.review.report import report_of
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.cog.options import period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.query.query import now_us
from cogmeter.query.records import Period, Range
from cogmeter.render.embeds.report import report_embed
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from cogmeter.query.records import AlertReport
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store

MOST: Final = 10_000  # alerts and transitions in a report
PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="report", description="Report on the alerts: what fired, who acted, what was noise")
    @app_commands.describe(period="How far to look back (7 days)")
    @app_commands.choices(period=[app_commands.Choice(name=choice.label, value=choice.key) for choice in PERIODS])
    async def report(interaction: discord.Interaction, period: str = Period.WEEK.key) -> None:
        await responder.answer(interaction, lambda: _report(responder, period_of(period).range_at(now_us())))


async def _report(responder: Responder, span: Range) -> CommandAnswer:
    report = await alert_report(responder.monitor.store, responder.monitor.settings, span)
    return CommandAnswer(report_embed(report))


async def alert_report(store: Store, settings: Settings, span: Range) -> AlertReport:
    """Return the report on the alerts of a range, with advice."""
    # Alerts that fired before the range and changed in it are read as well: the report leaves them out.
    alerts = await store.alerting.alerts(tuple(AlertState), since_us=span.since_us, limit=MOST)
    changes = await store.alerting.changes(since_us=span.since_us, limit=MOST)
    advice = await Replayer(store, settings, now_us=span.until_us).advice(alerts, span)
    return await asyncio.to_thread(report_of, alerts, changes, span, advice)
