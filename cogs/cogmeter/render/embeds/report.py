"""The embed of the report on alerts: how many fired, who acted on them, and suggested thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import code, plain
from cogmeter.render.palette import DisplayState
from cogmeter.render.rule_text import measured, rule_title

if TYPE_CHECKING:
    from cogmeter.query.records import Advice, AlertLine, AlertReport

LISTED: Final = 10


def report_embed(report: AlertReport, *, weekly: bool = False) -> discord.Embed:
    """Return the embed of a report on alerts."""
    span, total, fired = report.range, report.total, formatting.counted(report.total.fired, "alert")
    since, until = (formatting.clock_time(at_us, with_date=True) for at_us in (span.since_us, span.until_us))
    embed = discord.Embed(
        title=f"{'Weekly alert report' if weekly else 'Alert report'} ({formatting.clean(span.label)})",
        colour=(DisplayState.DEGRADED if report.ignored or report.advice else DisplayState.HEALTHY).colour,
    )
    embed.set_footer(text=f"{since} to {until} UTC · {fired}")
    if not total.fired:
        embed.description = "No alerts in this period."
        return fit(embed)
    rate = formatting.percent(total.acknowledged / total.fired)
    embed.description = (
        f"**{fired}**, {formatting.exact(total.acknowledged)} acknowledged ({rate}), "
        f"{formatting.exact(total.muted)} muted, {formatting.exact(total.resolved)} resolved"
    )
    embed.add_field(name="Median time to acknowledge", value=formatting.duration(total.acknowledge_us))
    embed.add_field(name="Median time to resolve", value=formatting.duration(total.resolve_us))
    embed.add_field(name="Flapping", value=formatting.counted(total.flaps, "alert"))
    embed.add_field(
        name="Alerts by rule", value=several([fired_line(line) for line in report.lines[:LISTED]]), inline=False
    )
    if report.ignored:
        lines = [f"{subject_of(line)}: {formatting.counted(line.fired, 'time')}" for line in report.ignored[:LISTED]]
        embed.add_field(name="Resolved without action", value=several(lines), inline=False)
    if report.advice:
        lines = [advice_line(advice) for advice in report.advice]
        embed.add_field(name="Suggested thresholds", value=several(lines), inline=False)
    return fit(embed)


def advice_line(advice: Advice) -> str:
    """Return an advice as text.

    For example ``Raise response_time@web-crawling to 1.9 s: 83% fewer alerts, none of the 3 acknowledged alerts lost``.
    """
    if advice.field == "threshold":
        change = f"Raise {code(advice.key, 150)} to {measured(advice.rule, advice.after)}"
    else:
        change = f"Fire only after {formatting.duration(advice.after * 1e6)} ({code(advice.key, 150)})"
    acknowledged = {0: "none was acknowledged", 1: "the acknowledged alert is not lost"}.get(
        advice.acted, f"none of the {advice.acted} acknowledged alerts lost"
    )
    return f"{change}: {formatting.percent(advice.share)} fewer alerts, {acknowledged}"


def fired_line(line: AlertLine) -> str:
    """Return a rule's alerts as text: how many, how soon somebody acted, and how soon they were over."""
    parts = [formatting.counted(line.fired, "time")]
    if line.acknowledged:
        took = formatting.duration(line.acknowledge_us)
        parts.append(f"{formatting.exact(line.acknowledged)} acknowledged (median: after {took})")
    if line.resolve_us is not None:
        number = "" if line.resolved == line.fired else f"{formatting.exact(line.resolved)} "
        parts.append(f"{number}resolved (median: after {formatting.duration(line.resolve_us)})")
    if line.flaps:
        parts.append("flapping")
    return f"{subject_of(line)}: {', '.join(parts)}"


def subject_of(line: AlertLine) -> str:
    """Return the rule and service of a line: ``Response time of web-crawling``."""
    title = plain(rule_title(line.rule), 60)
    return title if line.service.startswith("(") else f"{title} of {plain(line.service, 60)}"
