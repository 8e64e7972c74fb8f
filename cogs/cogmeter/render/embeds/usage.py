"""The embed of usage: commands with the people who used them, a heat map of characters, contexts and languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.query.usage import CONTEXT_TITLES
from cogmeter.render import formatting
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain, when
from cogmeter.render.palette import DisplayState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.usage import Usage, UsedOperation
    from cogmeter_storage.usage import DistinctCounts

LISTED: Final = 10  # commands
UNUSED: Final = 15
LOCALES: Final = 6
SHADES: Final = "·░▒▓█"  # of a heat map: none, and quarters of the busiest hour


def usage_embed(usage: Usage) -> discord.Embed:
    """Return who used what in a range. No user and no guild is named."""
    embed = discord.Embed(
        title=f"Usage ({formatting.clean(usage.range.label)})",
        description=_headline(usage),
        colour=DisplayState.NEUTRAL.colour,
    )
    if usage.operations:
        lines = [_line(one) for one in usage.operations[:LISTED]]
        value = several(lines, more=len(usage.operations) - len(lines))
        embed.add_field(name="Commands", value=value, inline=False)
        embed.add_field(
            name="Busiest hours (UTC)",
            value="```\n{}\n```".format("\n".join(formatting.heat_map(usage.heat, SHADES))),
            inline=False,
        )
    if usage.contexts:
        embed.add_field(
            name="Where", value=_shares({CONTEXT_TITLES.get(n, n): count for n, count in usage.contexts.items()})
        )
    if usage.locales:
        embed.add_field(name="Languages", value=_shares(usage.locales))
    if text := audience_text(usage):
        embed.add_field(name="Servers", value=text)
    if usage.unused:
        names = [plain(command.label, 60) for command in usage.unused[:UNUSED]]
        value = several(names, more=len(usage.unused) - len(names), separator=", ")
        embed.add_field(name=f"Never used ({len(usage.unused)})", value=value, inline=False)
    embed.set_footer(text="Whole hours in UTC. People above 512 are estimates within 3%; no ids are stored.")
    return fit(embed)


def people_text(people: DistinctCounts | None) -> str:
    """Return ``12 users in 3 servers``; an empty text if nobody is known."""
    if people is None or not people.users:
        return ""
    users = formatting.counted(people.users, "user")
    return f"{users} in {formatting.counted(people.guilds, 'server')}" if people.guilds else users


def audience_text(usage: Usage) -> str:
    """Return the newest numbers of servers and members, and the changes in the range; empty if nothing is known."""
    known = [step for step in usage.audience if step.guilds is not None]
    parts = []
    if known:
        last = known[-1]
        parts.append(
            f"{formatting.counted(last.guilds or 0, 'server')}, {formatting.counted(last.members or 0, 'member')}"
        )
    if usage.joined or usage.left:
        parts.append(f"joined {formatting.exact(usage.joined)}, left {formatting.exact(usage.left)}")
    return "\n".join(parts)


def _headline(usage: Usage) -> str:
    if not usage.operations:
        return "No command, component or reply was used in this period."
    runs = formatting.counted(usage.runs, "run")
    people = people_text(usage.people)
    names = formatting.counted(len(usage.operations), "command")
    return f"**{runs}** of {names}" + (f" by **{people}**" if people else "")


def _line(used: UsedOperation) -> str:
    parts = [f"**{plain(used.label, 60)}**", formatting.counted(used.operations, "run")]
    if people := people_text(used.people):
        parts.append(people)
    if used.failures:
        parts.append(f"{formatting.percent(used.error_rate)} failed")
    if used.last_us is not None:
        parts.append(when(used.last_us))
    return " · ".join(parts)


def _shares(counts: Mapping[str, int]) -> str:
    whole = sum(counts.values())
    return "\n".join(
        f"{formatting.percent(count / whole)} {plain(name, 30)}" for name, count in [*counts.items()][:LOCALES]
    )
