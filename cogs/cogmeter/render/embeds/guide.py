"""The embeds of ``/perf help``: commands by topic, in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render.embeds.alert_lists import number_page
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE_LETTERS: Final = 1_500  # of a page: what a phone shows on two or three screens


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command of the map."""

    name: str  # "/perf thresholds set"
    options: str  # "key [value]": optional ones in brackets
    description: str


def guide_pages(topics: Mapping[str, Sequence[CommandLine]]) -> list[str]:
    """Return the texts of all pages; a topic continues on the next page if it does not fit."""
    pages = [""]
    for topic, commands in topics.items():
        for number, command in enumerate(commands):
            heading = f"**{plain(topic, 60)}**\n"
            text = _text(command)
            if pages[-1] and len(pages[-1]) + len(heading) + len(text) > PAGE_LETTERS:
                pages.append("")
            begins = number == 0 or not pages[-1]
            gap = "\n" if begins and pages[-1] else ""
            pages[-1] += f"{gap}{heading if begins else ''}{text}\n"
    return pages


def guide_embed(text: str, *, page: int, more: bool) -> discord.Embed:
    """Return a page, counted from 0, of the map; ``more``: another page follows."""
    embed = discord.Embed(title="Commands", description=text or "No commands.", colour=DisplayState.NEUTRAL.colour)
    number_page(embed, page, more=more)
    return fit(embed)


def _text(command: CommandLine) -> str:
    options = f" {plain(command.options, 120)}" if command.options else ""
    return f"{code(command.name, 80)}{options}\n{below(plain(command.description, 100))}"
