"""The embeds that answer in Discord: the most important number first, in people's form, against the period before."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import discord

from cogmeter.diagnosis import Status
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART, describe
from cogmeter.render.embeds.limits import VALUE, fitted
from cogmeter.render.escape import below, code, plain, when
from cogmeter.render.palette import DisplayState, state_of
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter.diagnosis import Finding
    from cogmeter.query.records import Figures, Range, ServiceStats, Summary, UnknownNameError
    from cogmeter.render.charts.chart import Chart
    from cogmeter_storage.model import OperationRecord

LISTED = 5  # lines of a list
HOW_TO_RECORD = """```python
import cogmeter
with cogmeter.operation("knowledge-graph", "query"):
    ...  # your code
```"""


def fit(embed: discord.Embed) -> discord.Embed:
    """A copy of the embed that keeps to all of Discord's limits; every embed that is sent goes through here."""
    return discord.Embed.from_dict(fitted(embed.to_dict()))


def chart_file(png: bytes, chart: Chart) -> discord.File:
    """The picture as an attachment that an embed shows, described for screen readers."""
    return discord.File(io.BytesIO(png), filename=CHART_NAME, description=describe(chart))


def summary_embed(
    summary: Summary,
    *,
    chart: bool = False,
    chart_trouble: str = "",
    status: Status = Status.HEALTHY,
    buffer_setting: str = "PERFORMANCE_MAX_BUFFER_MB",
) -> discord.Embed:
    """All services over a range.

    ``chart`` says that ``chart_file()`` is sent along; ``chart_trouble`` says why there is none. ``status`` is the
    judgement on all operations. ``buffer_setting`` is what to raise when operations were dropped.
    """
    total, before = summary.total, summary.before
    if not total.operations:
        embed = empty_embed(summary.range)
        embed.description = f"{embed.description}{_dropped(summary, buffer_setting)}"
        return fit(embed)
    state = state_of(status)
    services = len(summary.services)
    embed = discord.Embed(
        title=f"Performance Summary ({_titled(summary.range.label)})",
        description=f"**{state.word.capitalize()}** · {services} active {'service' if services == 1 else 'services'}",
        colour=state.colour,
    )
    _key_figures(embed, total, before)
    lines = (
        f"{number}. {plain(name, 60)}: {formatting.count(one.operations)} ops"
        f" ({formatting.percent(one.success_rate)} success)"
        for number, (name, one) in enumerate(summary.services[:LISTED], start=1)
    )
    embed.add_field(name="Top Services by Volume", value=_lines(lines), inline=False)
    if summary.background:
        apart = ", ".join(f"{plain(name, 60)} {formatting.count(one.operations)}" for name, one in summary.background)
        embed.description = f"{embed.description}\n-# Background services: {apart}"
    embed.description = f"{embed.description}{_dropped(summary, buffer_setting)}"
    return _finished(embed, summary, chart=chart, chart_trouble=chart_trouble)


def stats_embed(
    stats: ServiceStats, *, chart: bool = False, chart_trouble: str = "", status: Status = Status.HEALTHY
) -> discord.Embed:
    """One service, or one operation of it, over a range; the parameters are those of ``summary_embed``."""
    total, before = stats.total, stats.before
    if not total.operations:
        return empty_embed(stats.range, name=stats.service if stats.operation is None else stats.operation)
    state = state_of(status)
    of = "Service" if stats.operation is None else f"/ {plain(stats.operation, 90)}"
    embed = discord.Embed(
        title=f"{plain(stats.service, 90)} {of} Statistics ({_titled(stats.range.label)})",
        description=_busiest(f"**{state.word.capitalize()}**", stats),
        colour=state.colour,
    )
    _success(embed, total, before)
    _volume_and_times(embed, total, before)
    if stats.slowest:
        lines = (
            f"{formatting.duration(one.duration_us)} {_named(one, stats)}{when(one.end_us)}" for one in stats.slowest
        )
        embed.add_field(name="Slowest Operations", value=_lines(lines), inline=False)
    if stats.errors:
        lines = (f"{when(one.end_us)}: {_error(one, stats)}" for one in stats.errors[:LISTED])
        embed.add_field(name="Recent Errors", value=_lines(lines), inline=False)
    return _finished(embed, stats, chart=chart, chart_trouble=chart_trouble)


def empty_embed(span: Range, *, name: str | None = None) -> discord.Embed:
    """Nothing was recorded in this range (under this name), and how to record."""
    of = f" of {plain(name, 100)}" if name else ""
    description = (
        f"No operation{of} ended in the {plain(span.label, 60)}. A longer period may show some.\n\n"
        f"Record any piece of work like this, anywhere in the bot's code:\n"
        f"{HOW_TO_RECORD}"
    )
    return fit(discord.Embed(title="Nothing recorded yet", description=description, colour=DisplayState.NEUTRAL.colour))


def unknown_embed(error: UnknownNameError) -> discord.Embed:
    """No such service or operation is stored; names like it are suggested."""
    lines = [f"Nothing has been recorded under the {error.kind} {code(error.name, 100)}."]
    if error.near:
        lines.append(f"Did you mean {' or '.join(code(name, 100) for name in error.near)}?")
    else:
        lines.append("The choices that appear while you type are all that is stored.")
    return fit(
        discord.Embed(title=f"Unknown {error.kind}", description="\n".join(lines), colour=DisplayState.NEUTRAL.colour)
    )


def doctor_embed(findings: Sequence[Finding]) -> discord.Embed:
    """The monitor's own health: one line for each finding, with advice below those that are not well."""
    unwell = sum(not one.well for one in findings)
    state = DisplayState.DEGRADED if unwell else DisplayState.HEALTHY
    lines = [
        f"**{unwell} of {len(findings)} checks fail**"
        if unwell
        else f"**{len(findings)} of {len(findings)} checks pass**",
        "",
    ]
    for one in findings:
        lines.append(f"{'✓' if one.well else '✗'} **{plain(one.name, 40)}**: {plain(one.text, 300)}")
        if not one.well and one.advice:
            lines.append(below(plain(one.advice, 200)))
    return fit(discord.Embed(title="cogmeter's own health", description="\n".join(lines), colour=state.colour))


def _dropped(summary: Summary, setting: str) -> str:
    return f"\n⚠ {plain(formatting.dropped(summary.dropped, setting), 300)}" if summary.dropped else ""


def _key_figures(embed: discord.Embed, total: Figures, before: Figures) -> None:
    """The summary's first five fields."""
    success = formatting.change_of_share(total.success_rate, before.success_rate)
    failure = formatting.change_of_share(total.error_rate, before.error_rate)
    failed = f"{formatting.percent(total.error_rate)} ({formatting.exact(total.failures)} failed)"
    _field(embed, "Success Rate", f"**{formatting.percent(total.success_rate)}**", success, before)
    _field(embed, "Error Rate", failed, failure, before)
    _volume_and_times(embed, total, before)


def _success(embed: discord.Embed, total: Figures, before: Figures) -> None:
    """The statistics' first field, which has both shares."""
    said = (
        f"**{formatting.percent(total.success_rate)}**"
        f" ({formatting.exact(total.operations - total.failures)} successful)\n"
        f"Failed: {formatting.exact(total.failures)} ({formatting.percent(total.error_rate)})"
    )
    _field(embed, "Success Rate", said, formatting.change_of_share(total.success_rate, before.success_rate), before)


def _volume_and_times(embed: discord.Embed, total: Figures, before: Figures) -> None:
    # Rates are compared: the period before may be longer, where only whole hours are kept.
    volume = formatting.change(total.per_minute, before.per_minute)
    mean = formatting.change(total.mean_us, before.mean_us, more="slower", less="faster")
    p95 = formatting.change(total.p95_us, before.p95_us, more="slower", less="faster")
    named = (("p50", total.p50_us), ("p95", total.p95_us), ("p99", total.p99_us))
    percentiles = " · ".join(f"{name} {formatting.duration(value)}" for name, value in named)
    operations = f"{formatting.exact(total.operations)} ({formatting.rate(total.per_minute)})"
    _field(embed, "Total Operations", operations, volume, before)
    _field(embed, "Average Response Time", formatting.duration(total.mean_us), mean, before)
    _field(embed, "Percentiles", percentiles, f"p95: {p95}", before)


def _field(embed: discord.Embed, name: str, said: str, change: str, before: Figures) -> None:
    """A figure, and below it its change when there is anything to compare with."""
    embed.add_field(name=name, value=f"{said}\n{change}" if before.operations else said)


def _finished(
    embed: discord.Embed, answer: Summary | ServiceStats, *, chart: bool, chart_trouble: str
) -> discord.Embed:
    """The embed with its chart, its footer and the time it speaks of."""
    span, last_end_us = answer.range, answer.last_end_us
    if not answer.before.operations:
        embed.description = f"{embed.description}\nNothing was recorded in the period before, so nothing is compared."
    _attach(embed, chart, chart_trouble)
    age = "" if last_end_us is None else f" · newest {formatting.duration(max(span.until_us - last_end_us, 0))} ago"
    label = formatting.clean(span.label)
    embed.set_footer(
        text=f"{label[:1].upper()}{label[1:]} · {formatting.exact(answer.total.operations)} operations{age}"
    )
    embed.timestamp = utc(span.until_us)
    return fit(embed)


def _attach(embed: discord.Embed, chart: bool, chart_trouble: str) -> None:
    if chart:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif chart_trouble:
        embed.description = f"{embed.description}\n{NO_CHART} {plain(chart_trouble, 300)}"


def _busiest(state: str, stats: ServiceStats) -> str:
    if stats.operation is not None or len(stats.operations) < 2:
        return state
    shown = stats.operations[:LISTED]
    named = ", ".join(f"{plain(name, 60)} {formatting.count(one.operations)}" for name, one in shown)
    rest = len(stats.operations) - len(shown)
    return f"{state} · {named}" + (f" and {rest} more" if rest else "")


def _named(one: OperationRecord, stats: ServiceStats) -> str:
    return f"{plain(one.operation, 60)} " if stats.operation is None else ""


def _error(one: OperationRecord, stats: ServiceStats) -> str:
    return f"{_named(one, stats)}{plain(one.error or one.outcome.label, 120)}"


def _lines(lines: Iterable[str]) -> str:
    """As many whole lines as a field holds."""
    kept = ""
    for line in lines:
        longer = f"{kept}\n{line}" if kept else line
        if len(longer) > VALUE:
            break
        kept = longer
    return kept


def _titled(label: str) -> str:
    """A range's words as they stand in a title: ``Last 24 Hours``."""
    return " ".join(word.capitalize() for word in formatting.clean(label).split())
