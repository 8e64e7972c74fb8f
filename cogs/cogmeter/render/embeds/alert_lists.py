"""Embeds that list alerts, mutes, test results and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.alerts.model import is_calm, not_judged
from cogmeter.render import formatting
from cogmeter.render.embeds.alert import length_us, several, subject
from cogmeter.render.embeds.limits import DESCRIPTION
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain, when
from cogmeter.render.palette import DisplayState, Look, look_of
from cogmeter.render.rule_text import extreme_words, measured, over_text, override_text, rule_title, value_text
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cogmeter_storage.alerting import Alert, AuditEntry, Mute

PENDING_ICON: Final = "\N{HOURGLASS WITH FLOWING SAND}"
# The text of an empty list, by the list's name.
EMPTY: Final = {
    "active": "No active alerts.",
    "history": "No alerts within the retention time.",
    "firing": "No firing alerts.",
    "acknowledged": "No acknowledged alerts.",
    "muted": "No muted alerts.",
    "resolved": "No resolved alerts within the retention time.",
}
_RANK: Final = (Look.CRITICAL, Look.WARNING, Look.INFO)


def alert_list_embed(
    alerts: Sequence[Alert], *, state: str, service: str | None, page: int, more: bool, now_us: int
) -> discord.Embed:
    """Return a page, counted from 0, of a list (a key of ``EMPTY``); ``more``: another page follows."""
    of = "" if service is None else f" of {plain(service, 80)}"
    title = "Alert history" if state == "history" else f"{state.capitalize()} alerts"
    embed = discord.Embed(title=f"{title}{of}", colour=_colour(alerts))
    embed.description = "\n".join(line for alert in alerts for line in _lines(alert, now_us)) or EMPTY[state]
    number_page(embed, page, more=more)
    return fit(embed)


def muted_embed(mute: Mute, group: str, *, already: bool = False) -> discord.Embed:
    """Return the embed of a new mute, or of one that was active already; a command of ``group`` ends it."""
    embed = discord.Embed(
        title=f"{Look.MUTED.icon} {'Already muted' if already else 'Muted'}: {scope(mute)}",
        description=f"Until {_until(mute)}, by {plain(mute.actor, 60)}."
        + (f"\nReason: {plain(mute.reason, 300)}" if mute.reason else ""),
        colour=Look.MUTED.colour,
    )
    embed.set_footer(text=f"Muted alerts are recorded but not sent. /{group} unmute ends it.")
    return fit(embed)


def unmuted_embed(ended: Sequence[Mute], options: Mapping[str, str | None]) -> discord.Embed:
    """Return the embed of mutes that were ended; ``options`` are the typed ones, by name."""
    lines = [f"{scope(mute)} (was muted until {_until(mute)})" for mute in ended]
    typed = ", ".join(f"{name} {code(value, 100)}" for name, value in options.items() if value is not None)
    nothing = f"No active mute matches {typed}. The option `mute` lists the active ones."
    return fit(
        discord.Embed(
            title="Unmuted" if ended else "Nothing is muted",
            description=several(lines, DESCRIPTION) or nothing,
            colour=DisplayState.NEUTRAL.colour,
        )
    )


def test_alert_embed(results: Mapping[str, str]) -> discord.Embed:
    """Return the embed of a test alert's results: the error by target, empty where it was delivered."""
    failed = sum(bool(error) for error in results.values())
    lines = [
        f"✗ **{plain(name, 60)}**: {plain(error, 500)}" if error else f"✓ **{plain(name, 60)}**: delivered"
        for name, error in results.items()
    ]
    title = f"Test alert: {failed} of {len(results)} targets failed" if failed else "Test alert delivered"
    if not results:
        title, lines = "Test alert: no targets", ["Set PERFORMANCE_ALERT_CHANNEL_ID, or one of the webhooks."]
    embed = discord.Embed(
        title=title,
        description="\n".join(lines),
        colour=(DisplayState.DEGRADED if failed or not results else DisplayState.HEALTHY).colour,
    )
    return fit(embed)


def audit_embed(
    entries: Sequence[AuditEntry], *, page: int, more: bool, named: Callable[[str, str], str] = lambda _, value: value
) -> discord.Embed:
    """Return a page, counted from 0, of the changes that users made.

    ``named`` returns the value of a setting's field with the names of its channels or roles.
    """
    lines = [
        f"{when(entry.at_us)} **{plain(entry.actor, 40)}**: {plain(entry.action, 40)} "
        f"{plain(entry.subject, 120)}{_change(entry, named)}"
        for entry in entries
    ]
    embed = discord.Embed(
        title="Audit log",
        description="\n".join(lines) or "No changes yet.",
        colour=DisplayState.NEUTRAL.colour,
    )
    number_page(embed, page, more=more)
    return fit(embed)


def scope(mute: Mute) -> str:
    """Return the scope of a mute, for example ``Error rate of knowledge-graph`` or ``everything``."""
    if not mute.rule and not mute.service:
        return "everything"
    title = rule_title(mute.rule) if mute.rule else "every rule"
    return f"{plain(title, 60)} of {plain(mute.service, 80) if mute.service else 'every service'}"


def number_page(embed: discord.Embed, page: int, *, more: bool) -> None:
    """Show the page's number, counted from 1, in the footer of a list with several pages."""
    if more or page:
        embed.set_footer(text=f"Page {page + 1}" + (", more on the next page" if more else ", last page"))


def _lines(alert: Alert, now_us: int) -> list[str]:
    look = look_of(alert.severity, alert.state)
    icon = PENDING_ICON if alert.state is AlertState.PENDING else look.icon
    resolved = alert.state is AlertState.RESOLVED
    peak, limit = value_text(alert.rule, alert.worst, alert.threshold), measured(alert.rule, alert.threshold)
    if resolved:
        values = f"{extreme_words(alert.rule)} **{peak}** (threshold was {limit})"
    else:
        worst = "" if alert.worst == alert.current else f", peak {peak}"
        values = f"**{value_text(alert.rule, alert.current, alert.threshold)}** (threshold {limit}{worst})"
        if is_calm(alert.message):
            why = not_judged(alert.message)
            values = over_text(alert.rule, alert.current, alert.threshold, not_judged=why, strong="**", more=worst)
    return [f"{icon} {subject(alert)}: {values}", below(_state(alert, now_us))]


def _state(alert: Alert, now_us: int) -> str:
    """Return the alert's severity, state and duration, and who acknowledged or muted it."""
    lasted, began = formatting.duration(length_us(alert, now_us)), f"began <t:{alert.started_us // 1_000_000}:t>"
    parts = [plain(alert.severity, 30)]
    if alert.resolved_us is not None:
        parts.append(f"{began}, lasted {lasted}, resolved {when(alert.resolved_us)}")
    else:
        parts.append(f"{alert.state.value}, {began}, {lasted} ago")
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
    """Return the colour of the worst alert that is neither acknowledged nor muted; healthy if there is none."""
    looks = {look_of(alert.severity, alert.state) for alert in alerts}
    worst = next((look for look in _RANK if look in looks), None)
    return DisplayState.HEALTHY.colour if worst is None else worst.colour


def _until(mute: Mute) -> str:
    return f"<t:{mute.until_us // 1_000_000}:f> ({when(mute.until_us)})"


def _change(entry: AuditEntry, named: Callable[[str, str], str]) -> str:
    """Return a threshold's or setting's values before and after, a mute's end, or the acknowledged alert."""
    if entry.action.startswith(("threshold", "setting")):
        field = entry.subject.partition(":")[2]
        values = [named(field, override_text(entry.subject, value)) for value in (entry.before, entry.after)]
        return f": {' → '.join(code(value, 100) if value else 'the configured value' for value in values)}"
    value = entry.after or entry.before
    return f": {plain(value, 160)}" if value else ""
