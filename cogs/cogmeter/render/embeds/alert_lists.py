"""Lists of alerts and mutes as embeds: one line says what and how bad, the next where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.embeds.alert import length_us, subject
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain, when
from cogmeter.render.palette import DisplayState, Look, look_of
from cogmeter.render.rule_text import measured, rule_title
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter_storage.alerting import Alert, AuditEntry, Mute

PENDING_ICON: Final = "\N{HOURGLASS WITH FLOWING SAND}"
# What is said when a list is empty, by the list's name.
EMPTY: Final = {
    "active": "Nothing is wrong right now: no rule is in breach.",
    "history": "No alert has fired, or all of them are older than the retention time.",
    "firing": "No alert waits for anybody.",
    "acknowledged": "Nobody is working on an alert right now.",
    "muted": "No alert is muted.",
    "resolved": "No alert has been resolved yet, or all of them were forgotten.",
}
_RANK: Final = (Look.CRITICAL, Look.WARNING, Look.INFO)


def alert_list_embed(
    alerts: Sequence[Alert], *, state: str, service: str | None, page: int, more: bool, now_us: int
) -> discord.Embed:
    """One page, counted from 0, of the list of this name (a key of ``EMPTY``); ``more``: another one follows."""
    of = "" if service is None else f" of {plain(service, 80)}"
    title = "Alert history" if state == "history" else f"{state.capitalize()} alerts"
    embed = discord.Embed(title=f"{title}{of}", colour=_colour(alerts))
    embed.description = "\n".join(line for alert in alerts for line in _lines(alert, now_us)) or EMPTY[state]
    if more or page:
        embed.set_footer(text=f"Page {page + 1}" + (", more on the next one" if more else ", the last one"))
    return fit(embed)


def muted_embed(mute: Mute, group: str, *, already: bool = False) -> discord.Embed:
    """Describe a mute that begins, or was active already; the command ``group`` ends it."""
    embed = discord.Embed(
        title=f"{Look.MUTED.icon} {'Already muted' if already else 'Muted'}: {scope(mute)}",
        description=f"Until {_until(mute)}, by {plain(mute.actor, 60)}."
        + (f"\nReason: {plain(mute.reason, 300)}" if mute.reason else ""),
        colour=Look.MUTED.colour,
    )
    embed.set_footer(text=f"Muted alerts are recorded but not sent. /{group} unmute ends it.")
    return fit(embed)


def unmuted_embed(ended: Sequence[Mute]) -> discord.Embed:
    """Mutes that were ended."""
    lines = [f"{scope(mute)}, which would have lasted until {_until(mute)}" for mute in ended]
    return fit(
        discord.Embed(
            title="Unmuted" if ended else "Nothing is muted",
            description="\n".join(lines) or "No mute that holds fits what you named.",
            colour=DisplayState.NEUTRAL.colour,
        )
    )


def trial_embed(results: Mapping[str, str]) -> discord.Embed:
    """What became of a test alert, by target: empty words where it arrived."""
    failed = sum(bool(trouble) for trouble in results.values())
    lines = [
        f"✗ **{plain(name, 60)}**: {plain(said, 500)}" if said else f"✓ **{plain(name, 60)}**: delivered"
        for name, said in results.items()
    ]
    title = f"Test alert: {failed} of {len(results)} targets failed" if failed else "Test alert delivered"
    if not results:
        title, lines = "Test alert: there is no target", ["Set PERFORMANCE_ALERT_CHANNEL_ID, or one of the webhooks."]
    embed = discord.Embed(
        title=title,
        description="\n".join(lines),
        colour=(DisplayState.DEGRADED if failed or not results else DisplayState.HEALTHY).colour,
    )
    return fit(embed)


def audit_embed(entries: Sequence[AuditEntry], *, page: int, more: bool) -> discord.Embed:
    """Who changed what: one page, counted from 0."""
    lines = [
        f"{when(one.at_us)} **{plain(one.actor, 40)}**: {plain(one.action, 40)} {plain(one.subject, 120)}{_change(one)}"
        for one in entries
    ]
    embed = discord.Embed(
        title="What was changed from chat",
        description="\n".join(lines) or "Nothing has been changed from chat.",
        colour=DisplayState.NEUTRAL.colour,
    )
    if more or page:
        embed.set_footer(text=f"Page {page + 1}" + (", more on the next one" if more else ", the last one"))
    return fit(embed)


def scope(mute: Mute) -> str:
    """What a mute covers: ``Error rate of knowledge-graph``, ``every rule of knowledge-graph``, ``everything``."""
    if not mute.rule and not mute.service:
        return "everything"
    what = rule_title(mute.rule) if mute.rule else "every rule"
    return f"{plain(what, 60)} of {plain(mute.service, 80) if mute.service else 'every service'}"


def _lines(alert: Alert, now_us: int) -> list[str]:
    look = look_of(alert.severity, alert.state)
    icon = PENDING_ICON if alert.state is AlertState.PENDING else look.icon
    resolved = alert.state is AlertState.RESOLVED
    shown = "worst " + measured(alert.rule, alert.worst) if resolved else measured(alert.rule, alert.current)
    worst = "" if resolved or alert.worst == alert.current else f", worst {measured(alert.rule, alert.worst)}"
    bad = f"**{shown}** (threshold {measured(alert.rule, alert.threshold)}{worst})"
    return [f"{icon} {subject(alert)}: {bad}", below(_stands(alert, now_us))]


def _stands(alert: Alert, now_us: int) -> str:
    """Where the alert stands, since when, and in whose hands."""
    lasted = formatting.duration(length_us(alert, now_us))
    parts = [plain(alert.severity, 30), alert.state.value]
    if alert.state is AlertState.RESOLVED and alert.resolved_us is not None:
        parts.append(f"{when(alert.resolved_us)} after {lasted}")
    else:
        parts.append(f"since {when(alert.started_us)} ({lasted})")
    if alert.acknowledged_us is not None:
        parts.append(f"acknowledged by {plain(alert.acknowledged_by, 40) or 'somebody'}")
    if alert.state is AlertState.MUTED and alert.muted_until_us is not None:
        parts.append(f"muted until <t:{alert.muted_until_us // 1_000_000}:f>")
    if alert.flapping:
        parts.append("flapping")
    if alert.id:
        parts.append(f"Alert {alert.id}")
    return " · ".join(parts)


def _colour(alerts: Sequence[Alert]) -> int:
    """That of the worst alert that waits for somebody; healthy when none does."""
    looks = {look_of(alert.severity, alert.state) for alert in alerts}
    worst = next((look for look in _RANK if look in looks), None)
    return DisplayState.HEALTHY.colour if worst is None else worst.colour


def _until(mute: Mute) -> str:
    return f"<t:{mute.until_us // 1_000_000}:f> ({when(mute.until_us)})"


def _change(entry: AuditEntry) -> str:
    """From what to what; of a mute how long it holds or would have held, of an acknowledgement which alert it was."""
    if entry.action.startswith("threshold"):
        words = (code(one, 60) if one else "as the settings have it" for one in (entry.before, entry.after))
        return f": {' → '.join(words)}"
    said = entry.after or entry.before
    return f": {plain(said, 160)}" if said else ""
