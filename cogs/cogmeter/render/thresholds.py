"""Thresholds as embeds: what holds and where it comes from, and what another value would have told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import text
from cogmeter.render.alerts import several
from cogmeter.render.embeds import fit
from cogmeter.render.escape import plain, when
from cogmeter.render.limits import DESCRIPTION
from cogmeter.render.measures import measured
from cogmeter.render.outlook import said
from cogmeter.render.palette import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.records import Holding, Outlook

# A field's words behind a rule's name.
_FIELDS: Final = {
    "threshold": "",
    "recovery": "recovers at",
    "for": "told after",
    "recovery_delay": "resolved after",
    "min_operations": "from",
    "severity": "severity",
    "statistic": "statistic",
}

_WITHIN: Final = {"disconnects": " in 10 min", "rate_limits": " in 10 min", "cost": " a day"}


def thresholds_embed(
    rules: Sequence[Holding], others: Sequence[Holding], *, service: str | None, common: str
) -> discord.Embed:
    """Every rule with what holds for it; below it what was said of its other fields, of services and operations.

    ``common`` says what holds for all rules alike.
    """
    of = "" if service is None else f" for {plain(service, 100)}"
    lines = [f"**{plain(one.rule, 60)}**: {value_of(one)} ({_origin(one)})" for one in rules]
    if others:
        lines += ["", *(f"**{plain(one.key, 150)}**: {value_of(one)} ({_origin(one)})" for one in others)]
    embed = discord.Embed(title=f"Thresholds{of}", description=several(lines, DESCRIPTION), colour=State.NEUTRAL.colour)
    embed.set_footer(text=common)
    return fit(embed)


def preview_embed(key: str, before: Holding, after: Holding, outlook: Outlook | None, why_not: str) -> discord.Embed:
    """A change that waits to be applied, and what it would have told; ``why_not`` where nothing can be said of that."""
    lines = [f"**{plain(key, 150)}**: {value_of(before)} → **{value_of(after)}**", ""]
    lines.append(plain(why_not, 300) if outlook is None else said(outlook, strong="**"))
    embed = discord.Embed(title="Change this threshold?", description="\n".join(lines), colour=State.NEUTRAL.colour)
    if outlook is not None and outlook.left_out:
        embed.set_footer(
            text=f"The {outlook.subjects} busiest were looked at; {outlook.left_out} quieter ones were not."
        )
    return fit(embed)


def changed_embed(key: str, before: Holding, after: Holding, actor: str) -> discord.Embed:
    """A change that holds from now on."""
    return fit(
        discord.Embed(
            title="Threshold changed",
            description=f"**{plain(key, 150)}**: {value_of(before)} → **{value_of(after)}** ({_origin(after)})\n"
            f"By {plain(actor, 60)}. It holds at once, and until it is changed or reset.",
            colour=State.HEALTHY.colour,
        )
    )


def unchanged_embed(words: str) -> discord.Embed:
    """Nothing was changed, and why."""
    return fit(discord.Embed(title="Nothing changed", description=words, colour=State.NEUTRAL.colour))


def value_of(one: Holding) -> str:
    """A limit's value in people's form; a threshold of 0 is ``off``."""
    words = _FIELDS.get(one.field, one.field)
    if isinstance(one.value, str):
        value = one.value or "by how far it is beyond"
    elif one.field in {"threshold", "recovery"}:
        value = _limit(one.rule, one.value) if one.value else "off"
    elif one.field == "min_operations":
        value = f"{text.exact(int(one.value))} operations"
    else:
        value = "no delay" if not one.value else text.duration(one.value * 1e6)
    return f"{words} {value}".strip()


def _limit(rule: str, value: float) -> str:
    """A threshold in its rule's unit; that of the burn rate is the success rate that is promised."""
    if rule == "burn_rate":
        return f"{text.percent(value)} success"
    return measured(rule, value) + _WITHIN.get(rule, "")


def _origin(one: Holding) -> str:
    if one.origin != "changed":
        return one.origin
    by = f" by {plain(one.changed_by, 40)}" if one.changed_by else ""
    return f"changed{by} {when(one.changed_us)}" if one.changed_us is not None else f"changed{by}"
