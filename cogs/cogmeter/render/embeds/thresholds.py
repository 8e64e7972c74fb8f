"""Embeds of thresholds in effect with their origin, of previews, and of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.alerts.thresholds.keys import THRESHOLD, OverrideKey
from cogmeter.recording.service_names import label
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.limits import DESCRIPTION
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain, when
from cogmeter.render.palette import DisplayState
from cogmeter.render.rule_text import compared_text, limit_text, meaning, origin_text, rule_title, what_if_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import EffectiveLimit, WhatIf


PAGE: Final = 8  # limits


def thresholds_embed(
    limits: Sequence[EffectiveLimit], *, service: str | None, common: str, page: int
) -> tuple[discord.Embed, bool]:
    """Return a page, counted from 0, of the limits in effect with their meanings, and whether another one follows.

    ``common`` describes the settings that all rules share.
    """
    of = "" if service is None else f" for {plain(service, 100)}"
    lines: list[str] = []
    for limit in limits[page * PAGE : (page + 1) * PAGE]:
        lines.append(_line(limit))
        if limit.field == THRESHOLD:
            lines.append(below(f"{plain(meaning(limit.rule), 200)}."))
    embed = discord.Embed(
        title=f"Thresholds{of}", description=several(lines, DESCRIPTION), colour=DisplayState.NEUTRAL.colour
    )
    pages = -(-len(limits) // PAGE)
    embed.set_footer(text=f"Page {page + 1} of {pages}. {common}")
    return fit(embed), page + 1 < pages


def preview_embed(
    key: str, before: EffectiveLimit, after: EffectiveLimit, what_if: WhatIf | None, why_not: str
) -> discord.Embed:
    """Return the embed of a requested change with its preview; ``why_not`` is the reason if there is none."""
    lines = [f"**{plain(key, 150)}**: {limit_text(before)} → **{limit_text(after)}**", ""]
    lines.append(plain(why_not, 300) if what_if is None else what_if_text(what_if, strong="**"))
    embed = discord.Embed(
        title="Change this threshold?", description="\n".join(lines), colour=DisplayState.NEUTRAL.colour
    )
    if what_if is not None and what_if.left_out:
        embed.set_footer(
            text=f"The preview covers the {what_if.subjects} busiest subjects, not {what_if.left_out} quieter ones."
        )
    return fit(embed)


def changed_embed(key: str, before: EffectiveLimit, after: EffectiveLimit, actor: str, *, reset: bool) -> discord.Embed:
    """Return the embed of a change that was made; after a ``reset`` it names the origin of the value."""
    origin, until = (f" ({_origin(after)})", "") if reset else ("", " until it is changed or reset")
    return fit(
        discord.Embed(
            title="Threshold reset" if reset else "Threshold changed",
            description=f"**{plain(key, 150)}**: {limit_text(before)} → **{limit_text(after)}**{origin}\n"
            f"By {plain(actor, 60)}. In effect now{until}.",
            colour=DisplayState.HEALTHY.colour,
        )
    )


def learned_embed(limits: Sequence[EffectiveLimit], actor: str) -> discord.Embed:
    """Return the embed of calibrated thresholds that were learned again."""
    lines = [f"Learned again from the last 3 days, by {plain(actor, 60)}. In effect now."]
    lines += [_line(limit) for limit in limits]
    return fit(
        discord.Embed(
            title="Thresholds learned again",
            description=several(lines, DESCRIPTION),
            colour=DisplayState.HEALTHY.colour,
        )
    )


def unchanged_embed(reason: str) -> discord.Embed:
    """Return the embed of a request that changed nothing."""
    return fit(discord.Embed(title="Nothing changed", description=reason, colour=DisplayState.NEUTRAL.colour))


def _line(limit: EffectiveLimit) -> str:
    """Return a limit with its name, key, comparison and origin."""
    words, value = compared_text(limit)
    about = OverrideKey.parse(limit.key).subject
    place = label(about.service, about.operation) if about.operation else about.service
    name = f"{rule_title(limit.rule)} of {place}" if place else rule_title(limit.rule)
    text = f"{words} **{value}**" if words else f"**{value}**"
    return f"**{plain(name, 150)}** ({code(limit.key, 150)}): {text} ({_origin(limit)})"


def _origin(limit: EffectiveLimit) -> str:
    if limit.origin != "changed":
        return origin_text(limit)
    by = f" by {plain(limit.changed_by, 40)}" if limit.changed_by else ""
    return f"changed{by} {when(limit.changed_us)}" if limit.changed_us is not None else f"changed{by}"
