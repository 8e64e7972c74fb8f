"""The embed of resources: the newest value of each with its growth per day, and what grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState
from cogmeter.render.resource_text import growth_text, rate_text, value_text
from cogmeter.times import utc

if TYPE_CHECKING:
    from cogmeter.alerts.model import GrownObjects
    from cogmeter.query.resources import ResourceLine, ResourceUse
    from cogmeter.render.charts.chart import Picture

OBJECTS: Final = 5  # of what grew
NOTHING: Final = "No resources were sampled in this period. They are sampled while PERFORMANCE_WATCH_RESOURCES is on."


def resources_embed(use: ResourceUse, grown: GrownObjects | None, picture: Picture | None = None) -> discord.Embed:
    """Return the resources of the bot's process; ``grown`` are the live objects that grew."""
    growing = use.growing
    colour = DisplayState.DEGRADED.colour if growing else DisplayState.NEUTRAL.colour
    embed = discord.Embed(
        title=f"Resources ({formatting.clean(use.range.label)})", colour=colour, timestamp=utc(use.range.until_us)
    )
    growth = ", ".join(f"{line.resource.title} {growth_text(line)}" for line in growing)
    lines = [f"**Growing:** {growth}"] if growing else [] if use.lines else [NOTHING]
    lines += [_line(line) for line in use.lines]
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        lines.append(f"{NO_CHART} {plain(picture.problem, 300)}")
    embed.description = "\n".join(lines)
    if grown is not None and grown.names:
        minutes = formatting.duration(grown.span_s * 1e6)
        names = [f"- {plain(name, 150)}" for name in grown.names[:OBJECTS]]
        listed = several(names, more=len(grown.names) - len(names))
        embed.add_field(name=f"Objects that grew in the last {minutes}", value=listed, inline=False)
    rates = rate_text(None if use.rate_us is None else use.rate_us / 1e6)
    network = f"network is that of the machine{f', {rates}' if rates else ''}"
    embed.set_footer(text=f"Growth per day over the longest run; {network}")
    return fit(embed)


def _line(line: ResourceLine) -> str:
    parts = [f"**{line.resource.title}** {value_text(line, line.latest)}", f"highest {value_text(line, line.peak)}"]
    if line.growth_per_day is not None:
        parts.append(growth_text(line))
    return " · ".join(parts)
