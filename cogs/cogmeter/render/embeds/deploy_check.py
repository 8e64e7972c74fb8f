"""The embed of a check after a deploy: what became worse, the most certain first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.comparison_text import found_text, subject_text
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.regressions import DeployCheck, Regression

LISTED: Final = 10


def deploy_check_embed(check: DeployCheck, regressions: Sequence[Regression]) -> discord.Embed:
    """Return the embed of what a check found; ``regressions`` are those that are not muted."""
    lines = [
        f"**{plain(subject_text(one.service, one.operation or None), 80)}**: {found_text(one.change)};"
        f" {formatting.exact(one.operations[0])} and {formatting.exact(one.operations[1])} operations"
        for one in regressions[:LISTED]
    ]
    if len(regressions) > LISTED:
        lines.append(f"and {len(regressions) - LISTED} more")
    embed = discord.Embed(
        title=f"Worse since {plain(check.name, 150)}",
        description="\n".join(lines),
        colour=DisplayState.DEGRADED.colour,
    )
    checked = f"{formatting.exact(check.subjects)} commands and services compared"
    embed.set_footer(text=f"{check.stage} after the deploy · {checked} · marker {check.marker}")
    embed.timestamp = utc(check.at_us)
    return fit(embed)
