"""``/perf slow``: the slowest commands and replies with their parts and what to do, and where the time goes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of
from cogmeter.cog.responder import CommandAnswer, files_of
from cogmeter.cog.statistics import with_worst
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.notifiers.discord_channel.channel import NO_MENTIONS
from cogmeter.query.records import UnknownNameError
from cogmeter.query.slow import slow_runs
from cogmeter.render.embeds.slow import nothing_slow_embed, slow_run_embed, time_profile_embed
from cogmeter.render.embeds.statistics import unknown_embed

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder
    from cogmeter.query.slow import SlowReport


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""
    names = Autocomplete(responder)

    @group.command(name="slow", description="Why it is slow: the slowest runs with their parts, and what to do")
    @app_commands.describe(
        service="A command such as /ask, or a service (all)", period="How far to look back (24 hours)"
    )
    @app_commands.choices(period=CHOICES)
    @app_commands.autocomplete(service=names.subjects)
    async def slow(interaction: discord.Interaction, service: str | None = None, period: str = DEFAULT) -> None:
        request = AnswerRequest("slow", period_of(period), service)
        await responder.answer(interaction, lambda: _slow(responder, request))

    responder.answers["slow"] = partial(_slow, responder)


async def _slow(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    query = responder.monitor.query
    overview = await query.overview(request.period)
    try:
        report = await slow_runs(query, request.period, request.service, request.operation, overview=overview)
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    browser = SlowBrowser(responder, await with_worst(responder, request, overview), report)
    return await browser.answer()


class SlowBrowser(Buttons):
    """The pages of a report: where the time goes, if it is about one command, then one page for each run."""

    def __init__(self, responder: Responder, request: AnswerRequest, report: SlowReport) -> None:
        super().__init__(responder, request)
        self._report = report
        self._page = 0
        self._profiles = 0 if report.profile is None else 1  # pages before the runs
        self._pages = self._profiles + len(report.runs)
        if self._pages < 2:
            self.remove_item(self.back)
            self.remove_item(self.forward)

    async def answer(self) -> CommandAnswer:
        """Return the present page with its chart."""
        charts, report, pages = self._responder.monitor.chart_builder, self._report, self._pages
        if not pages:
            return CommandAnswer(nothing_slow_embed(report), buttons=self)
        number = self._page - self._profiles
        if number < 0:
            picture = await charts.time_profile(report)
            embed = time_profile_embed(report, picture, page=self._page, pages=pages)
        else:
            picture = await charts.waterfall(report.runs[number])
            embed = slow_run_embed(report, number, picture, page=self._page, pages=pages)
        return CommandAnswer(embed, picture, self)

    @discord.ui.button(label="Previous", custom_id="cogmeter:slow:previous", disabled=True)
    async def back(self, interaction: discord.Interaction, _: discord.ui.Button[SlowBrowser]) -> None:
        """Show the previous page."""
        await self._turn(interaction, self._page - 1)

    @discord.ui.button(label="Next", custom_id="cogmeter:slow:next")
    async def forward(self, interaction: discord.Interaction, _: discord.ui.Button[SlowBrowser]) -> None:
        """Show the next page."""
        await self._turn(interaction, self._page + 1)

    async def _turn(self, interaction: discord.Interaction, page: int) -> None:
        await interaction.response.defer()
        self._page = min(max(page, 0), self._pages - 1)
        self.back.disabled, self.forward.disabled = self._page == 0, self._page == self._pages - 1
        answer = await self.answer()
        await interaction.edit_original_response(
            embed=answer.embed, attachments=files_of(answer), view=self, allowed_mentions=NO_MENTIONS
        )
        self.shown(interaction)
