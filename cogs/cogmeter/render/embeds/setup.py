"""Embeds of ``/perf setup``: the steps with their state, proposed thresholds, and what is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from cogmeter.render import formatting
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.limits import DESCRIPTION
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import code, plain
from cogmeter.render.palette import DisplayState
from cogmeter.settings import env_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DONE, OPEN, FAILED = "✓", "○", "✗"


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One step, with the state that it is in."""

    title: str
    text: str  # markdown
    mark: str = DONE


def setup_embed(steps: Sequence[SetupStep], *, changed: int, note: str = "") -> discord.Embed:
    """Return the embed of all steps; ``note`` is the result of the last press, in markdown."""
    lines = [f"{step.mark} **{number}. {step.title}**: {step.text}" for number, step in enumerate(steps, 1)]
    failed = any(step.mark == FAILED for step in steps)
    embed = discord.Embed(
        title="Set up cogmeter",
        description="\n".join(lines),
        colour=(DisplayState.DEGRADED if failed else DisplayState.NEUTRAL).colour,
    )
    _add_note(embed, note)
    count = formatting.counted(changed, "setting")
    changes = f"{count} changed here; .env applies to all others" if changed else "Nothing is changed here yet"
    embed.set_footer(text=f"{changes}. Changes are in effect at once and in the audit log.")
    return fit(embed)


def proposals_embed(proposals: Sequence[str], *, group: str, note: str = "") -> discord.Embed:
    """Return the embed of the thresholds that are proposed from the bot's own operations, one sentence each."""
    lines = [f"- {plain(proposal, 300)}." for proposal in proposals]
    none = "No proposals: the documented thresholds fit what was measured so far."
    embed = discord.Embed(
        title="Thresholds from this bot's own operations",
        description=several(lines, DESCRIPTION) if lines else none,
        colour=DisplayState.NEUTRAL.colour,
    )
    _add_note(embed, note)
    embed.set_footer(text=f"Choose what to use below. /{group} thresholds shows, changes and resets every threshold.")
    return fit(embed)


def changes_embed(
    changed: Mapping[str, str], left_out: Mapping[str, str], *, thresholds: int, group: str, note: str = ""
) -> discord.Embed:
    """Return the embed of all settings that are changed in chat; ``left_out`` are those without effect, and why."""
    lines = [f"**{plain(env_name(field), 80)}**: {code(value, 100)}" for field, value in sorted(changed.items())]
    lines += [f"✗ **{plain(key, 80)}**: {plain(why, 300)}" for key, why in left_out.items()]
    embed = discord.Embed(
        title="Changed settings",
        description=several(lines, DESCRIPTION) if lines else "No setting is changed in chat.",
        colour=(DisplayState.DEGRADED if left_out else DisplayState.NEUTRAL).colour,
    )
    _add_note(embed, note)
    also = f" {formatting.counted(thresholds, 'threshold')} changed: /{group} thresholds." if thresholds else ""
    embed.set_footer(text=f"A reset returns to the value of .env, or to the default.{also}")
    return fit(embed)


def _add_note(embed: discord.Embed, note: str) -> None:
    if note:
        embed.add_field(name="Result", value=note, inline=False)
