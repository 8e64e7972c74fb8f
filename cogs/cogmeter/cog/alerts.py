"""``/perf alerts`` and ``/perf test-alert``: active and past alerts, and a test of every notification target."""

from __future__ import annotations

from typing import Final

import discord
from discord import app_commands

from cogmeter.alerts.model import by_urgency
from cogmeter.cog.options import Autocomplete, require_service
from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.cog.statistics import with_worst
from cogmeter.cog.views import AnswerRequest, Pages
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.render.embeds.alert_lists import alert_list_embed, test_alert_embed
from cogmeter.schemas.alerts import STATES
from cogmeter_storage.alerting import AlertState

PAGE: Final = 8


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(responder)

    @group.command(name="alerts", description="List active and past alerts")
    @app_commands.describe(state="Which alerts (active)", service="Only of this service (all)")
    @app_commands.choices(state=[app_commands.Choice(name=name.capitalize(), value=name) for name in STATES])
    @app_commands.autocomplete(service=names.services)
    async def alerts(interaction: discord.Interaction, state: str = "active", service: str | None = None) -> None:
        await responder.answer_checked(
            interaction,
            lambda: require_service(responder, service or ""),
            lambda _: _alerts(responder, AnswerRequest("alerts", Period.DAY, service), state),
        )

    @group.command(name="test-alert", description="Send a test alert to every notification target")
    async def test_alert(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _test_alert(responder, interaction.user.display_name))


async def _alerts(responder: Responder, request: AnswerRequest, state: str) -> CommandAnswer:
    service = request.service

    async def page(number: int) -> tuple[discord.Embed, bool]:
        alerting = responder.monitor.store.alerting
        first = number * PAGE
        if AlertState.RESOLVED in STATES[state]:
            # One alert more than is shown: it exists only if another page follows.
            alerts = await alerting.alerts(STATES[state], service=service, limit=PAGE + 1, offset=first)
        else:
            alerts = by_urgency(await alerting.alerts(STATES[state], service=service))[first : first + PAGE + 1]
        visible, more = alerts[:PAGE], len(alerts) > PAGE
        return alert_list_embed(visible, state=state, service=service, page=number, more=more, now_us=now_us()), more

    return await Pages.answer(responder, page, await with_worst(responder, request))


async def _test_alert(responder: Responder, actor: str) -> CommandAnswer:
    return CommandAnswer(test_alert_embed(await responder.monitor.alerting.delivery.test(actor)))
