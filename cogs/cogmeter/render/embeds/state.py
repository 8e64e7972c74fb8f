"""The embed of the bot's state: the verdict, the problems, and a count of each area; its picture shows every part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.diagnosis import Status
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.charts.state import counts_text
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import state_of
from cogmeter.times import utc

if TYPE_CHECKING:
    from cogmeter.diagnosis import BotState
    from cogmeter.render.charts.chart import Picture

LISTED: Final = 10  # problems
_LINES: Final = 2_500  # characters of the list of problems
ICONS: Final = {Status.UNHEALTHY: "\N{OCTAGONAL SIGN}", Status.DEGRADED: "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}"}


def state_embed(state: BotState, picture: Picture | None = None) -> discord.Embed:
    """Return the state of the bot, problems first."""
    look = state_of(state.verdict.status)
    embed = discord.Embed(title=f"Bot health: {look.word}", colour=look.colour, timestamp=utc(state.at_us))
    lines = [plain(state.verdict.text, 300) or "Nothing to judge yet."]
    problems = state.problems
    listed = [
        f"{ICONS[item.status]} **{plain(item.name, 80)}** ({plain(area, 40)}): {plain(item.text, 160)}"
        for area, item in problems[:LISTED]
    ]
    if problems:
        lines.append(several(listed, _LINES, more=len(problems) - len(listed)))
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        lines.append(f"{NO_CHART} {plain(picture.problem, 300)}")
    embed.description = "\n".join(lines)
    for area in state.areas:
        embed.add_field(name=area.name, value=counts_text(area) or "none")
    embed.set_footer(text="Services are judged over the alert window; loops over 24 hours")
    return fit(embed)
