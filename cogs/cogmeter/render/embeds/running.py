"""The embed of the operations that run now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogmeter.render import formatting
from cogmeter.render.embeds.alert_lists import number_page
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.schemas.operations import RunningAnswer


def running_embed(operations: Sequence[RunningAnswer], *, total: int, page: int, more: bool) -> discord.Embed:
    """Return a page, counted from 0, of the running operations; ``more``: another page follows."""
    count = formatting.counted(total, "operation")
    embed = discord.Embed(title=f"Running now: {count}" if total else "Running now", colour=DisplayState.NEUTRAL.colour)
    lines = [line for operation in operations for line in _lines(operation)]
    embed.description = "\n".join(lines) or "Nothing runs now."
    number_page(embed, page, more=more)
    return fit(embed)


def _lines(operation: RunningAnswer) -> list[str]:
    age = formatting.duration(operation.age * 1000)
    head = f"**{age}** {plain(operation.service, 60)} / {plain(operation.operation, 80)}"
    return [head, below(code(operation.line, 200) if operation.line else "no line: it does not wait in a task")]
