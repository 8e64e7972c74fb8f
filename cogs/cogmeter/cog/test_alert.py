"""``/perf test-alert``: tries every target of alerts, marked as a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord  # noqa: TC002 - discord.py evaluates the annotations of a command

from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.render.embeds.alert_lists import trial_embed

if TYPE_CHECKING:
    from discord import app_commands


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="test-alert", description="Send a test alert to every notification target")
    async def test_alert(interaction: discord.Interaction) -> None:
        await desk.answer(interaction, lambda: _answer(desk, interaction.user.display_name))


async def _answer(desk: Responder, actor: str) -> CommandAnswer:
    return CommandAnswer.plain(trial_embed(await desk.monitor.alerting.delivery.test(actor)))
