"""``/perf report``: how good the alerts were, and what would have been quieter."""

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

MOST: Final = 10_000  # alerts and changes that a report looks at
PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="report", description="Report on the alerts: what fired, who acted, what was noise")
    @app_commands.describe(period="How far to look back (7 days)")
    @app_commands.choices(period=[app_commands.Choice(name=one.label, value=one.key) for one in PERIODS])
    async def report(interaction: discord.Interaction, period: str = Period.WEEK.key) -> None:
        await desk.answer(interaction, lambda: _answer(desk, period_of(period).range_at(now_us())))


async def _answer(desk: Responder, span: Range) -> CommandAnswer:
    return CommandAnswer.plain(report_embed(await made(desk.monitor.store, desk.monitor.settings, span)))


async def made(store: Store, settings: Settings, span: Range) -> AlertReport:
    """The report on a range, with advice."""
    # An alert that was told before the range and changed in it is sorted out by the report.
    alerts = await store.alerting.alerts(tuple(AlertState), since_us=span.since_us, limit=MOST)
    changes = await store.alerting.changes(since_us=span.since_us, limit=MOST)
    advice = await Replayer(store, settings, now_us=span.until_us).advice(alerts, span)
    return await asyncio.to_thread(report_of, alerts, changes, span, advice)
