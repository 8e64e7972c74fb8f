"""``/perf help``: the map of all commands, made from the command tree, in groups by what the owner wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.views import Pages
from cogmeter.render.embeds.guide import CommandLine, guide_embed, guide_pages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.cog.responder import CommandAnswer, Responder

OWNERS_ONLY: Final = "owners_only"  # an extra of a command that the roles in PERFORMANCE_OPS_ROLE_IDS may not use
# The commands of each topic by the first word of their names; a command without a topic is listed under OTHERS.
TOPICS: Final[Mapping[str, Sequence[str]]] = {
    "The state now": ("health", "summary", "live", "running", "fleet", "alerts"),
    "Why": ("slow", "stats", "errors", "compare", "resources"),
    "Use and cost": ("usage", "cost", "digest", "report"),
    "Alerts": ("thresholds", "mute", "unmute", "test-alert"),
    "Data and setup": ("setup", "dashboard", "export", "forget", "doctor", "help"),
}
OTHERS: Final = "More"


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="help", description="The map of all commands: what each answers")
    async def show_guide(interaction: discord.Interaction) -> None:
        async def answer() -> CommandAnswer:
            owner = await responder.access.is_owner(interaction.user)
            return await _guide(responder, command_lines(group, owner=owner))

        await responder.answer(interaction, answer, ephemeral=True)


def command_lines(group: app_commands.Group, *, owner: bool) -> dict[str, list[CommandLine]]:
    """Return every command of the group by topic; those for the owner only if ``owner``."""
    known = {name: topic for topic, names in TOPICS.items() for name in names}
    lines: dict[str, list[CommandLine]] = {topic: [] for topic in (*TOPICS, OTHERS)}
    place = {name: number for number, name in enumerate(known)}
    commands = [command for command in group.walk_commands() if isinstance(command, app_commands.Command)]
    for command in sorted(commands, key=lambda one: (place.get(_first(one), len(place)), one.qualified_name)):
        if owner or OWNERS_ONLY not in command.extras:
            lines[known.get(_first(command), OTHERS)].append(_line(command))
    return {topic: listed for topic, listed in lines.items() if listed}


def _first(command: app_commands.Command[app_commands.Group, ..., None]) -> str:
    """Return the word after the name of the group: the name of the command, or of its inner group."""
    return command.qualified_name.split()[1]


def _line(command: app_commands.Command[app_commands.Group, ..., None]) -> CommandLine:
    options = [option.display_name if option.required else f"[{option.display_name}]" for option in command.parameters]
    return CommandLine(f"/{command.qualified_name}", " ".join(options), command.description)


async def _guide(responder: Responder, topics: Mapping[str, Sequence[CommandLine]]) -> CommandAnswer:
    pages = guide_pages(topics)

    async def page(number: int) -> tuple[discord.Embed, bool]:
        more = number + 1 < len(pages)
        return guide_embed(pages[number], page=number, more=more), more

    return await Pages.answer(responder, page)
