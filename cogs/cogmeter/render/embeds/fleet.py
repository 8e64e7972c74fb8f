"""The embed of the fleet: every process that shares the database, the silent and the unhealthy first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.diagnosis import BAD
from cogmeter.query.fleet import ONE_PROCESS, ProcessState
from cogmeter.render import formatting
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.state import ICONS
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, plain
from cogmeter.render.palette import DisplayState, state_of
from cogmeter.times import utc

if TYPE_CHECKING:
    from cogmeter.query.fleet import FleetHealth, ProcessHealth

LISTED: Final = 25
_LINES: Final = 3_500  # characters of the list


def fleet_embed(health: FleetHealth) -> discord.Embed:
    """Return the judged processes of the database; how to have several if only one can write it."""
    if not health.processes:
        return fit(discord.Embed(title="Fleet", description=ONE_PROCESS, colour=DisplayState.NEUTRAL.colour))
    look = state_of(health.status)
    embed = discord.Embed(title=f"Fleet: {look.word}", colour=look.colour, timestamp=utc(health.range.until_us))
    listed = ["\n".join(_lines(one)) for one in health.processes[:LISTED]]
    rest = len(health.processes) - len(listed)
    embed.description = f"**{plain(health.text, 400)}**\n\n{several(listed, _LINES, more=rest)}"
    embed.set_footer(text=f"Operations of the {health.range.label}")
    return fit(embed)


def figures_text(one: ProcessHealth) -> str:
    """Return its figures: ``25/min · 0.4% failed · p95 120 ms · loop lag 3 ms``; unknown ones are left out."""
    figures, lag_us = one.process.figures, one.process.lag_us
    parts = ["no operations"]
    if figures is not None:
        parts = [formatting.rate(figures.per_minute), f"{formatting.percent(figures.error_rate)} failed"]
        parts.append(f"p95 {formatting.duration(figures.p95_us)}")
    if lag_us is not None:
        parts.append(f"loop lag {formatting.duration(lag_us)}")
    return " · ".join(parts)


def _lines(one: ProcessHealth) -> list[str]:
    process = one.process
    head = f"{ICONS.get(one.check.status, '')} **{plain(process.name, 60)}** {one.sign_of_life}".lstrip()
    if process.version:
        head += f" · {plain(f'version {process.version}', 40)}"
    if process.state is not ProcessState.ALIVE:
        return [head]
    reason = f"; {plain(one.check.reason, 120)}" if one.check.status in BAD else ""
    return [head, below(f"{figures_text(one)}{reason}")]
