"""``/perf summary`` and ``/perf stats``: the statistics of all, or of one service or command, and the slowest."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.views import AnswerRequest, Buttons, worst_command
from cogmeter.diagnosis import status_of, worst
from cogmeter.diagnostics.judgement import judge
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.service_names import in_background
from cogmeter.render.embeds.attention import active_alert_lines, attention_lines
from cogmeter.render.embeds.statistics import of_process, slowest_embed, stats_embed, summary_embed, unknown_embed
from cogmeter.render.links import stats_link
from cogmeter.settings import buffer_setting
from cogmeter_storage.alerting import SENT

if TYPE_CHECKING:
    from cogmeter.diagnosis import Status
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Overview, ServiceStats

SLOWEST: Final = 15  # listed operations


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(responder)

    @group.command(name="summary", description="All commands and services: volume, success, response times, chart")
    @app_commands.describe(period="How far to look back (24 hours)", process="One process of the fleet (all)")
    @app_commands.choices(period=CHOICES)
    @app_commands.autocomplete(process=names.processes)
    async def summary(interaction: discord.Interaction, period: str = DEFAULT, process: str | None = None) -> None:
        request = AnswerRequest("summary", period_of(period), process=process)
        await responder.answer(interaction, lambda: _summary(responder, request))

    @group.command(name="stats", description="One command or service: percentiles, slowest runs, recent errors, chart")
    @app_commands.describe(
        service="A command such as /ask, or a service",
        operation="One operation of the service (all)",
        period="How far to look back (24 hours)",
        process="One process of the fleet (all)",
    )
    @app_commands.choices(period=CHOICES)
    @app_commands.autocomplete(service=names.subjects, operation=names.operations, process=names.processes)
    async def stats(
        interaction: discord.Interaction,
        service: str,
        operation: str | None = None,
        period: str = DEFAULT,
        process: str | None = None,
    ) -> None:
        request = AnswerRequest("stats", period_of(period), service, operation, process=process)
        await responder.answer(interaction, lambda: _stats(responder, request))

    responder.answers |= {
        "summary": partial(_summary, responder),
        "stats": partial(_stats, responder),
        "slowest": partial(_slowest, responder),
    }


async def with_worst(responder: Responder, request: AnswerRequest, overview: Overview | None = None) -> AnswerRequest:
    """Return the request with the worst command, unless an earlier answer has found it already.

    ``overview`` is that of the period, where the answer has read it already.
    """
    if request.worst is not None:
        return request
    monitor = responder.monitor
    view = await monitor.query.overview(request.period) if overview is None else overview
    worst = worst_command(await monitor.attention.concerns(view, monitor.alerting.engine.active), view.commands)
    return dataclasses.replace(request, worst=worst)


async def _summary(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor = responder.monitor
    try:
        summary = await (await monitor.query.of_process(request.process)).summary(request.period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    active = monitor.alerting.engine.active  # one reading for the whole answer
    concerns, verdict = await monitor.attention.concerns(summary, active), await responder.health.verdict(active)
    lines = attention_lines(concerns, monitor.settings.command_group)
    lines += active_alert_lines(active, concerns)
    setting = buffer_setting(by_memory=monitor.recorder.buffer.by_memory)
    picture = await responder.draw(summary.timeline) if summary.total.operations else None
    embed = summary_embed(
        summary, picture, status=verdict.status, verdict_text=verdict.text, attention=lines, buffer_setting=setting
    )
    embed = of_process(embed, request.process)
    request = dataclasses.replace(request, worst=worst_command(concerns, summary.commands))
    return CommandAnswer(embed, picture, Buttons(responder, request))


async def _stats(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor = responder.monitor
    try:
        query = await monitor.query.of_process(request.process)
        stats = await query.stats(request.service or "", request.operation, request.period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    status = _present(monitor, stats)
    picture = await responder.draw(stats.timeline) if stats.total.operations else None
    request = dataclasses.replace(request, service=stats.service, operation=stats.operation)
    buttons = Buttons(responder, await with_worst(responder, request))
    embed = stats_embed(stats, picture, status=status, link=stats_link(monitor.settings, stats))
    return CommandAnswer(of_process(embed, request.process), picture, buttons)


def _present(monitor: Monitor, stats: ServiceStats) -> Status:
    """Return the status of a service or operation: that of its range, and not better than its active alerts."""
    alerts = (
        alert
        for alert in monitor.alerting.engine.active
        if alert.service == stats.service and stats.operation in {None, alert.operation}
    )
    judged = judge(stats.total, monitor.alerting.limits, stats.service, stats.operation or "").status
    return worst([judged, *(status_of(alert.severity) for alert in alerts if alert.state in SENT)])


async def _slowest(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    """Return the slowest operations of all services but the background ones, or of one service or operation."""
    query = await responder.monitor.query.of_process(request.process)
    span = query.span(request.period)
    ids = await query.ids(request.service, request.operation)
    if ids is None:
        ids = [series.id for series in await query.store.series() if not in_background(series.service)]
    slowest = await query.store.slowest(ids, span.since_us, span.until_us, limit=SLOWEST)
    embed = of_process(slowest_embed(slowest, span, request.service, request.operation), request.process)
    return CommandAnswer(embed, buttons=Buttons(responder, await with_worst(responder, request)))
