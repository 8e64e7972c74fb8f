"""The embeds of an export: of a file that is attached, and of one that is too large for Discord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.exporters.base import Exporter
    from cogmeter.query.records import Range

LISTED: Final = 10  # services
COMMAND: Final = 1_500  # characters of a command line


def export_embed(writer: Exporter, span: Range, services: Sequence[str], size: int) -> discord.Embed:
    """Return the embed of an attached export of ``size`` bytes; without ``services``, of all."""
    embed = discord.Embed(title=f"Export ({formatting.clean(span.label)})", colour=DisplayState.HEALTHY.colour)
    names = ", ".join(plain(name, 60) for name in services[:LISTED]) or "all services"
    more = f" and {len(services) - LISTED} more" if len(services) > LISTED else ""
    embed.description = f"**{formatting.size(size)}** of {writer.label}: {names}{more}"
    embed.set_footer(text="It contains keyed hashes of users, no ids. Only you see this message.")
    return fit(embed)


def too_large_embed(writer: Exporter, span: Range, limit: int, command: str) -> discord.Embed:
    """Return the embed of an export that exceeds the upload limit, with the command line's way."""
    embed = discord.Embed(title=f"Export ({formatting.clean(span.label)})", colour=DisplayState.DEGRADED.colour)
    shown = formatting.cut(formatting.clean(command), COMMAND).replace("```", "'''")
    embed.description = (
        f"This export is larger than {formatting.size(limit)}, the upload limit here, even compressed. Choose a shorter"
        f" period or fewer services, or run this on the machine of the bot:\n```sh\n{shown}\n```"
    )
    if writer.name == "json":
        embed.description += "\nThe formats csv and ndjson are smaller."
    return fit(embed)
