"""``/perf doctor``: the health of the monitor itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.diagnostics.doctor import examine
from cogmeter.query.records import Period
from cogmeter.render.embeds.statistics import doctor_embed

if TYPE_CHECKING:
    from discord import app_commands


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="doctor", description="The monitor's own health: hooks, buffer, database, jobs, permissions")
    async def doctor(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _doctor(responder, AnswerRequest("doctor", Period.DAY)))

    responder.answers["doctor"] = partial(_doctor, responder)


async def _doctor(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    servers = responder.servers
    findings = [*await examine(responder.monitor), *(servers.findings() if servers is not None else ())]
    verdict = await responder.health.verdict()
    embed = doctor_embed(sorted(findings, key=lambda finding: finding.well), verdict, every=request.every)
    return CommandAnswer(embed, buttons=Buttons(responder, request))
