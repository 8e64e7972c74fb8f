"""``/perf cost``: tokens and money by command, reply, model, server or user."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, period_of
from cogmeter.cog.views import AnswerRequest, Pages
from cogmeter.query.costs import GROUPINGS, TITLES, cost_report
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.render.embeds.cost import PAGE, cost_embed
from cogmeter.watch.people_names import names_of

if TYPE_CHECKING:
    from cogmeter.cog.responder import CommandAnswer, Responder
    from cogmeter.query.costs import CostGrouping

BY: Final = [app_commands.Choice(name=TITLES[by], value=by) for by in GROUPINGS]
MENU_ROW: Final = 2


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="cost", description="Tokens and money of language models: by command, model, server or user")
    @app_commands.describe(period="How far to look back (30 days)", by="What to group by (command)")
    @app_commands.choices(period=CHOICES, by=BY)
    async def show_cost(
        interaction: discord.Interaction, period: str = Period.MONTH.key, by: str = GROUPINGS[0]
    ) -> None:
        request = AnswerRequest("cost", period_of(period), grouping=by)
        await responder.answer(interaction, lambda: _cost(responder, request))

    responder.answers["cost"] = partial(_cost, responder)


async def _cost(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    monitor, by = responder.monitor, cast("CostGrouping", request.grouping)
    await monitor.alerting.keep_costs()  # what was counted in the last seconds
    now = now_us()
    report = await cost_report(monitor.store, request.period.range_at(now), by, now_us=now)
    hashes = [name for name, _ in report.groups]
    names = await names_of(monitor.bot, monitor.watcher.tracker.people, request.grouping, hashes, fetched=True)
    picture = await monitor.chart_builder.costs(report, names) if report.total.operations else None

    async def page(number: int) -> tuple[discord.Embed, bool]:
        embed = cost_embed(report, picture, names=names, page=number)
        return embed, (number + 1) * PAGE < len(report.groups)

    answer = await Pages.answer(responder, page, request)
    if answer.buttons is not None:
        answer.buttons.add_item(GroupingMenu(request))
    return dataclasses.replace(answer, picture=picture)


class GroupingMenu(discord.ui.Select[Pages]):
    """A menu that shows the same costs by something else."""

    def __init__(self, request: AnswerRequest) -> None:
        super().__init__(
            custom_id="cogmeter:cost:by",
            row=MENU_ROW,
            options=[
                discord.SelectOption(label=f"By {TITLES[by]}", value=by, default=by == request.grouping)
                for by in GROUPINGS
            ],
        )
        self._request = request

    async def callback(self, interaction: discord.Interaction) -> None:
        """Show the costs by the chosen grouping."""
        assert self.view is not None
        await self.view.follow(interaction, dataclasses.replace(self._request, grouping=self.values[0]))
