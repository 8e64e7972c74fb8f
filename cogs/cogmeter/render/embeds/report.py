"""The report on the alerts themselves, as an embed."""

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
    """What fired, how soon people acted, what nobody acted on, and what would have been quieter."""
    span, total = report.range, report.total
    since, until = (formatting.clock_time(at_us, with_date=True) for at_us in (span.since_us, span.until_us))
    embed = discord.Embed(
        title=f"{'Weekly alert report' if weekly else 'Alert report'} ({formatting.clean(span.label)})",
        colour=(DisplayState.DEGRADED if report.ignored or report.advice else DisplayState.HEALTHY).colour,
    )
    embed.set_footer(text=f"{since} to {until} UTC · {_counted(total.fired, 'alert')}")
    if not total.fired:
        embed.description = "No alerts in this period."
        return fit(embed)
    rate = formatting.percent(total.acknowledged / total.fired)
    embed.description = (
        f"**{_counted(total.fired, 'alert')}**, {formatting.exact(total.acknowledged)} acknowledged ({rate}), "
        f"{formatting.exact(total.muted)} muted, {formatting.exact(total.resolved)} resolved"
    )
    embed.add_field(name="Median time to acknowledge", value=formatting.duration(total.acknowledge_us))
    embed.add_field(name="Median time to resolve", value=formatting.duration(total.resolve_us))
    embed.add_field(name="Flapping", value=_counted(total.flaps, "alert"))
    embed.add_field(name="Alerts by rule", value=several([_fired(one) for one in report.lines[:LISTED]]), inline=False)
    if report.ignored:
        lines = [f"{_named(one)}: {_counted(one.fired, 'time')}" for one in report.ignored[:LISTED]]
        embed.add_field(name="Resolved without action", value=several(lines), inline=False)
    if report.advice:
        lines = [advice_line(one) for one in report.advice]
        embed.add_field(name="Suggested thresholds", value=several(lines), inline=False)
    return fit(embed)


def advice_line(one: Advice) -> str:
    """``Raise response_time@web-crawling to 1.9 s: 83% of its alerts go, none of the 3 acknowledged ones``."""
    if one.field == "threshold":
        change = f"Raise {code(one.key, 150)} to {measured(one.rule, one.after)}"
    else:
        change = f"Let a breach last for {formatting.duration(one.after * 1e6)} ({code(one.key, 150)})"
    acted = {0: "nobody acknowledged any", 1: "not the acknowledged one"}.get(
        one.acted, f"none of the {one.acted} acknowledged ones"
    )
    return f"{change}: {formatting.percent(one.share)} of its alerts go, {acted}"


def _fired(one: AlertLine) -> str:
    parts = [_counted(one.fired, "time")]
    if one.acknowledged:
        parts.append(
            f"{formatting.exact(one.acknowledged)} acknowledged after {formatting.duration(one.acknowledge_us)}"
        )
    if one.resolve_us is not None:
        parts.append(f"resolved after {formatting.duration(one.resolve_us)}")
    if one.flaps:
        parts.append("flapping")
    return f"{_named(one)}: {', '.join(parts)}"


def _named(one: AlertLine) -> str:
    what = plain(rule_title(one.rule), 60)
    return what if one.service.startswith("(") else f"{what} of {plain(one.service, 60)}"


def _counted(number: int, word: str) -> str:
    return f"{formatting.exact(number)} {word}" + ("" if number == 1 else "s")
