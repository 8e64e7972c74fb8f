"""Thresholds as embeds: what holds and where it comes from, and what another value would have told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.limits import DESCRIPTION
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain, when
from cogmeter.render.palette import DisplayState
from cogmeter.render.rule_text import limit_text, what_if_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import EffectiveLimit, WhatIf


def thresholds_embed(
    rules: Sequence[EffectiveLimit], others: Sequence[EffectiveLimit], *, service: str | None, common: str
) -> discord.Embed:
    """Every rule with what holds for it; below it what was said of its other fields, of services and operations.

    ``common`` says what holds for all rules alike.
    """
    of = "" if service is None else f" for {plain(service, 100)}"
    lines = [f"**{plain(one.rule, 60)}**: {limit_text(one)} ({_origin(one)})" for one in rules]
    if others:
        lines += ["", *(f"**{plain(one.key, 150)}**: {limit_text(one)} ({_origin(one)})" for one in others)]
    embed = discord.Embed(
        title=f"Thresholds{of}", description=several(lines, DESCRIPTION), colour=DisplayState.NEUTRAL.colour
    )
    embed.set_footer(text=common)
    return fit(embed)


def preview_embed(
    key: str, before: EffectiveLimit, after: EffectiveLimit, outlook: WhatIf | None, why_not: str
) -> discord.Embed:
    """A change that waits to be applied, and what it would have told; ``why_not`` where nothing can be said of that."""
    lines = [f"**{plain(key, 150)}**: {limit_text(before)} → **{limit_text(after)}**", ""]
    lines.append(plain(why_not, 300) if outlook is None else what_if_text(outlook, strong="**"))
    embed = discord.Embed(
        title="Change this threshold?", description="\n".join(lines), colour=DisplayState.NEUTRAL.colour
    )
    if outlook is not None and outlook.left_out:
        embed.set_footer(
            text=f"The {outlook.subjects} busiest were looked at; {outlook.left_out} quieter ones were not."
        )
    return fit(embed)


def changed_embed(key: str, before: EffectiveLimit, after: EffectiveLimit, actor: str, *, reset: bool) -> discord.Embed:
    """A change that holds from now on; after a ``reset`` it is said where the value comes from again."""
    origin, until = (f" ({_origin(after)})", "") if reset else ("", ", and until it is changed or reset")
    return fit(
        discord.Embed(
            title="Threshold reset" if reset else "Threshold changed",
            description=f"**{plain(key, 150)}**: {limit_text(before)} → **{limit_text(after)}**{origin}\n"
            f"By {plain(actor, 60)}. It holds at once{until}.",
            colour=DisplayState.HEALTHY.colour,
        )
    )


def unchanged_embed(words: str) -> discord.Embed:
    """Nothing was changed, and why."""
    return fit(discord.Embed(title="Nothing changed", description=words, colour=DisplayState.NEUTRAL.colour))


def _origin(one: EffectiveLimit) -> str:
    if one.origin != "changed":
        return one.origin
    by = f" by {plain(one.changed_by, 40)}" if one.changed_by else ""
    return f"changed{by} {when(one.changed_us)}" if one.changed_us is not None else f"changed{by}"
