"""``/perf alerts``: which alerts stand, and which there were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.autocomplete import Autocomplete, known_service
from cogmeter.cog.views import Pages
from cogmeter.query.query import now_us
from cogmeter.render.embeds.alert_lists import alert_list_embed
from cogmeter.schemas.alerts import STATES

if TYPE_CHECKING:
    from cogmeter.cog.responder import CommandAnswer, Responder

PAGE: Final = 8


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the command to the group."""
    names = Autocomplete(desk)

    @group.command(name="alerts", description="List active and past alerts")
    @app_commands.describe(state="Which alerts (active)", service="Only of this service (all)")
    @app_commands.choices(state=[app_commands.Choice(name=name.capitalize(), value=name) for name in STATES])
    @app_commands.autocomplete(service=names.services)
    async def alerts(interaction: discord.Interaction, state: str = "active", service: str | None = None) -> None:
        await desk.answer(
            interaction, lambda: _answer(desk, state, service), check=lambda: known_service(desk, service or "")
        )


async def _answer(desk: Responder, state: str, service: str | None) -> CommandAnswer:
    async def page(number: int) -> tuple[discord.Embed, bool]:
        alerting = desk.monitor.store.alerting
        # One more than is shown tells whether there is another page.
        found = await alerting.alerts(STATES[state], service=service, limit=PAGE + 1, offset=number * PAGE)
        shown, more = found[:PAGE], len(found) > PAGE
        return alert_list_embed(shown, state=state, service=service, page=number, more=more, now_us=now_us()), more

    return await Pages.answer(desk, page)
