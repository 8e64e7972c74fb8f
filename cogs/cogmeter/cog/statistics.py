"""``/perf summary`` and ``/perf stats``: the statistics of all, or of one service or command, and the slowest."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.diagnosis import EVERY, Status, all_findings_text
from cogmeter.diagnostics.judgement import exceeded, judge, problem_order
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import in_background
from cogmeter.render.embeds.attention import active_alert_lines, attention_lines, findings_embed
from cogmeter.render.embeds.statistics import of_process, slowest_embed, stats_embed, summary_embed, unknown_embed
from cogmeter.render.links import stats_link
from cogmeter.settings import buffer_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import Overview, RankedOperation

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
        "findings": partial(_findings, responder),
        "stats": partial(_stats, responder),
        "slowest": partial(_slowest, responder),
    }


async def with_worst(responder: Responder, request: AnswerRequest, overview: Overview | None = None) -> AnswerRequest:
    """Return the request with the worst command, unless an earlier answer has found it already.

    ``overview`` is that of the period, where the answer has read it already.
    """
    if request.worst is not None:
        return request
    view = await responder.monitor.query.overview(request.period) if overview is None else overview
    return dataclasses.replace(request, worst=await _worst_command(responder, view.commands))


async def _worst_command(responder: Responder, commands: Sequence[RankedOperation]) -> tuple[str, str] | None:
    """Return the worst command by ``problem_order``, as the overview of the dashboard orders them."""
    limits = responder.monitor.alerting.limits
    orders = {}
    now = await responder.health.operations({(command.service, command.operation) for command in commands})
    async for command in paced(commands):
        name = (command.service, command.operation)
        judged = judge(command.figures, limits, *name)
        orders[name] = problem_order(now[name].check.status, judged.status, command.figures)
    return max(orders, key=lambda name: orders[name], default=None)


async def _summary(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor = responder.monitor
    try:
        summary = await (await monitor.query.of_process(request.process)).summary(request.period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    active = monitor.alerting.engine.active  # one reading for the whole answer
    concerns = await monitor.attention.concerns(summary, active, now=await responder.health.foreground())
    verdict = await responder.health.verdict(active)
    lines = attention_lines(concerns, monitor.settings.command_group)
    lines += active_alert_lines(active, concerns)
    setting = buffer_setting(by_memory=monitor.recorder.buffer.by_memory)
    picture = await responder.draw(summary.timeline) if summary.total.operations else None
    embed = summary_embed(
        summary, picture, status=verdict.status, verdict_text=verdict.text, attention=lines, buffer_setting=setting
    )
    embed = of_process(embed, request.process)
    request = dataclasses.replace(
        request,
        worst=await _worst_command(responder, summary.commands),
        findings=all_findings_text(concerns) if concerns.left_out else "",
    )
    return CommandAnswer(embed, picture, Buttons(responder, request))


async def _findings(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    """Return everything that needs attention, of which the summary lists the worst."""
    monitor = responder.monitor
    try:
        overview = await (await monitor.query.of_process(request.process)).overview(request.period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    active = monitor.alerting.engine.active
    now = await responder.health.foreground()
    concerns = await monitor.attention.concerns(overview, active, now=now, most=EVERY)
    verdict = await responder.health.verdict(active)
    embed = findings_embed(concerns, overview.range, status=verdict.status, group=monitor.settings.command_group)
    return CommandAnswer(of_process(embed, request.process), buttons=Buttons(responder, request))


async def _stats(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor = responder.monitor
    try:
        query = await monitor.query.of_process(request.process)
        stats = await query.stats(request.service or "", request.operation, request.period)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    now = await responder.health.of(stats.service, stats.operation)
    status, reason = (Status.UNKNOWN, "") if now is None else (now.check.status, now.check.reason)
    past = exceeded(stats.total, monitor.alerting.limits, stats.service, stats.operation or "")
    picture = await responder.draw(stats.timeline) if stats.total.operations else None
    request = dataclasses.replace(request, service=stats.service, operation=stats.operation)
    buttons = Buttons(responder, await with_worst(responder, request))
    link = stats_link(monitor.settings, stats)
    embed = stats_embed(stats, picture, status=status, reason=reason, exceeded=past, link=link)
    return CommandAnswer(of_process(embed, request.process), picture, buttons)


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
