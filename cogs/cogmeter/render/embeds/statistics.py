"""The embeds of statistics and of the doctor: the most important number first, compared with the previous period."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import discord

from cogmeter.diagnosis import Status
from cogmeter.recording.service_names import BY_OPERATION, label
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.limits import VALUE, fitted
from cogmeter.render.escape import below, code, dashboard_line, plain, together, when
from cogmeter.render.palette import DisplayState, state_of
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter.diagnosis import Finding, Verdict
    from cogmeter.query.records import Figures, Range, ServiceStats, Summary, UnknownNameError
    from cogmeter.render.charts.chart import ChartRequest, Picture
    from cogmeter_storage.model import OperationRecord

LISTED = 5  # lines of a list
HOW_TO_RECORD = """```python
import cogmeter
with cogmeter.operation("knowledge-graph", "query"):
    ...  # your code
```"""


def fit(embed: discord.Embed) -> discord.Embed:
    """Return a copy of the embed within all of Discord's limits. Every embed passes this function."""
    return discord.Embed.from_dict(fitted(embed.to_dict()))


def chart_file(png: bytes, chart: ChartRequest) -> discord.File:
    """Return the chart as an attachment with a description for screen readers."""
    return discord.File(io.BytesIO(png), filename=CHART_NAME, description=chart.alt_text)


def summary_embed(
    summary: Summary,
    picture: Picture | None = None,
    *,
    status: Status = Status.HEALTHY,
    verdict_text: str = "",
    attention: Sequence[str] = (),
    buffer_setting: str = "PERFORMANCE_MAX_BUFFER_MB",
) -> discord.Embed:
    """Return the embed of all services over a range.

    ``picture`` is its chart, sent as ``chart_file()``, or the reason why there is none. ``attention`` are the lines
    about active alerts and what needs attention; ``status`` is the verdict, and ``verdict_text`` what it follows from.
    ``buffer_setting`` is the setting to raise when operations were dropped.
    """
    if not summary.total.operations:
        embed = empty_embed(summary.range)
        first = [f"**{state_of(status).word.capitalize()}**: {verdict_text}", *attention, ""] if verdict_text else []
        embed.description = "\n".join([*first, f"{embed.description}{_dropped(summary, buffer_setting)}"])
        return fit(embed)
    state, services = state_of(status), summary.own_services
    embed = discord.Embed(
        title=f"Performance Summary ({_titled(summary.range.label)})",
        description=f"**{state.word.capitalize()}** · {formatting.active(summary.commands, len(services))}",
        colour=state.colour,
    )
    embed.description = "\n".join([embed.description or "", *filter(None, [verdict_text]), *attention])
    _key_figures(embed, summary, joined=bool(summary.commands and services))
    if summary.commands:
        lines = (
            f"{_volume(number, command.label, command.figures)}, "
            + together(f"p95 {formatting.duration(command.figures.p95_us)}")
            for number, command in enumerate(summary.commands[:LISTED], start=1)
        )
        title = f"Top {formatting.ranking_title(summary.commands)}"
        embed.add_field(name=title, value=_lines(lines), inline=False)
    if services:
        lines = (_volume(number, *service) for number, service in enumerate(services[:LISTED], start=1))
        embed.add_field(name="Top Services by Volume", value=_lines(lines), inline=False)
    if summary.background:
        background = ", ".join(_service_count(name, figures) for name, figures in summary.background)
        embed.description = f"{embed.description}\nBackground services: {background}"
    embed.description = f"{embed.description}{_dropped(summary, buffer_setting)}"
    return _finished(embed, summary, picture)


def stats_embed(
    stats: ServiceStats,
    picture: Picture | None = None,
    *,
    status: Status = Status.HEALTHY,
    reason: str = "",
    exceeded: str = "",
    link: str | None = None,
) -> discord.Embed:
    """Return the embed of a service or operation over a range; see ``summary_embed`` for the parameters.

    ``status`` is that of now, with its ``reason``; ``exceeded`` is what exceeded a threshold in the range. ``link``
    leads to the dashboard.
    """
    if not stats.total.operations:
        name = stats.service if stats.operation is None else stats.operation
        return empty_embed(stats.range, name=label(stats.service, name) if stats.service in BY_OPERATION else name)
    state = state_of(status)
    embed = discord.Embed(
        title=f"{_subject(stats)} Statistics ({_titled(stats.range.label)})",
        description=_busiest(f"**{state.word.capitalize()}** now{_why_unknown(status, reason)}", stats),
        colour=state.colour,
        url=link,
    )
    if exceeded:
        embed.description = f"{embed.description}\nExceeded in this range: {exceeded}"
    if link:
        embed.description = f"{embed.description}\n{dashboard_line(link)}"
    _success(embed, stats)
    _volume_and_times(embed, stats)
    if stats.slowest:
        lines = (
            f"{formatting.duration(operation.duration_us)} {_name(operation, stats)}{when(operation.end_us)}"
            for operation in stats.slowest
        )
        embed.add_field(name="Slowest Operations", value=_lines(lines), inline=False)
    if stats.errors:
        lines = (f"{when(failed.end_us)}: {_error(failed, stats)}" for failed in stats.errors[:LISTED])
        embed.add_field(name="Recent Errors", value=_lines(lines), inline=False)
    return _finished(embed, stats, picture)


def slowest_embed(
    operations: Sequence[OperationRecord], span: Range, service: str | None, operation: str | None
) -> discord.Embed:
    """Return the embed of the slowest operations of a range, slowest first: of all services, or of one."""
    lines = [
        f"{formatting.duration(slow.duration_us)} {plain(label(slow.service, slow.operation), 80)} {when(slow.end_us)}"
        + (f", {slow.outcome.label}" if slow.outcome.failed else "")
        for slow in operations
    ]
    name = None if service is None else label(service, operation)
    of = "" if name is None else f" of {plain(name, 150)}"
    embed = discord.Embed(
        title=f"Slowest Operations{of} ({_titled(span.label)})",
        description="\n".join(lines) or "No operations in this period. Choose a longer one.",
        colour=DisplayState.NEUTRAL.colour,
    )
    embed.timestamp = utc(span.until_us)
    return fit(embed)


def empty_embed(span: Range, *, name: str | None = None) -> discord.Embed:
    """Return the embed for a range without operations (of this name); it shows how to record some."""
    of = f" of {plain(name, 100)}" if name else ""
    description = (
        f"No operation{of} ended in the {plain(span.label, 60)}. Try a longer period.\n\n"
        f"Record any piece of work like this, anywhere in the bot's code:\n"
        f"{HOW_TO_RECORD}"
    )
    return fit(discord.Embed(title="Nothing recorded yet", description=description, colour=DisplayState.NEUTRAL.colour))


def _why_unknown(status: Status, reason: str) -> str:
    return f" ({plain(reason, 150)})" if status is Status.UNKNOWN and reason else ""


def unknown_embed(error: UnknownNameError) -> discord.Embed:
    """Return the embed for a service, command or operation that is not stored; it suggests similar names."""
    lines = [f"Nothing has been recorded under the {error.kind} {code(error.name, 100)}."]
    if error.near:
        lines.append(f"Did you mean {' or '.join(code(name, 100) for name in error.near)}?")
    else:
        lines.append("Autocomplete lists all stored names.")
    return fit(
        discord.Embed(title=f"Unknown {error.kind}", description="\n".join(lines), colour=DisplayState.NEUTRAL.colour)
    )


def of_process(embed: discord.Embed, process: str | None) -> discord.Embed:
    """Return the embed, with the process to whose operations it is narrowed in its first line."""
    if process is None:
        return embed
    embed.description = f"Only the process **{plain(process, 80)}**\n{embed.description or ''}"
    return fit(embed)


def doctor_embed(findings: Sequence[Finding], verdict: Verdict, *, every: bool = True) -> discord.Embed:
    """Return the embed of the doctor: a line for each finding, with advice below those that fail.

    Above them is the verdict on the bot, as what the monitor alerts on is no fault of the monitor. Without ``every``,
    checks that pass are only counted, unless they are listed in any case.
    """
    failed, total = sum(not finding.well for finding in findings), len(findings)
    shown = [finding for finding in findings if every or finding.listed or not finding.well]
    folded = total - len(shown)
    state = DisplayState.DEGRADED if failed else DisplayState.HEALTHY
    passed = total - failed
    counts = (
        f"{failed} of {total} monitor checks {formatting.verb(failed, 'fail')},"
        f" {passed} {formatting.verb(passed, 'pass')}"
    )
    lines = [f"**{counts if failed else f'All {total} monitor checks pass'}**"]
    lines += [f"Bot: {state_of(verdict.status).word}; {plain(verdict.alerts, 100)} (`/perf summary`)", ""]
    for finding in shown:
        lines.append(f"{'✓' if finding.well else '✗'} **{plain(finding.name, 40)}**: {plain(finding.text, 600)}")
        if not finding.well and finding.advice:
            lines.append(below(plain(finding.advice, 200)))
    if folded:  # the lines above and these are all of them
        other = "other check" if shown else "check"
        lines.append(f"✓ {formatting.counted(folded, other)} {formatting.verb(folded, 'pass')}")
    return fit(discord.Embed(title="cogmeter's own health", description="\n".join(lines), colour=state.colour))


def _dropped(summary: Summary, setting: str) -> str:
    return f"\n⚠ {plain(formatting.dropped(summary.dropped, setting), 300)}" if summary.dropped else ""


def _volume(number: int, name: str, figures: Figures) -> str:
    success = formatting.percent(figures.success_rate)
    volume = together(formatting.counted(figures.operations, "op"))
    return f"{number}. {plain(name, 60)}: {volume} {together(f'({success} success)')}"


def _subject(stats: ServiceStats) -> str:
    """Return the name of the service or operation, as a title."""
    if stats.operation is None:
        return f"{plain(stats.service, 90)} Service"
    if stats.service in BY_OPERATION:
        return plain(label(stats.service, stats.operation), 180)
    return f"{plain(stats.service, 90)} / {plain(stats.operation, 90)}"


def _key_figures(embed: discord.Embed, summary: Summary, *, joined: bool) -> None:
    """Add the summary's first five fields, or four if the response times are ``joined`` in one."""
    total, before, previous = summary.total, summary.before, _previous(summary)
    success = formatting.change_of_share(total.success_rate, before.success_rate, previous=previous)
    failure = formatting.change_of_share(total.error_rate, before.error_rate, previous=previous)
    failed = f"{formatting.percent(total.error_rate)} ({formatting.exact(total.failures)} failed)"
    _field(embed, "Success Rate", f"**{formatting.percent(total.success_rate)}**", success, before)
    _field(embed, "Error Rate", failed, failure, before)
    _volume_and_times(embed, summary, joined=joined)


def _success(embed: discord.Embed, stats: ServiceStats) -> None:
    """Add the statistics' first field, with the success and the error rate."""
    total, before = stats.total, stats.before
    value = (
        f"**{formatting.percent(total.success_rate)}**"
        f" ({formatting.exact(total.operations - total.failures)} successful)\n"
        f"Failed: {formatting.exact(total.failures)} ({formatting.percent(total.error_rate)})"
    )
    change = formatting.change_of_share(total.success_rate, before.success_rate, previous=_previous(stats))
    _field(embed, "Success Rate", value, change, before)


def _volume_and_times(embed: discord.Embed, answer: Summary | ServiceStats, *, joined: bool = False) -> None:
    total, before, previous = answer.total, answer.before, _previous(answer)
    # Rates are compared: the previous period may be longer where only whole hours are stored.
    volume = formatting.change(total.per_minute, before.per_minute, previous=previous)
    mean = formatting.change(total.mean_us, before.mean_us, previous=previous)
    p95 = formatting.change(total.p95_us, before.p95_us, previous=previous)
    percentiles = "\n".join(
        together(f"{name} {formatting.duration(value_us)}")
        for name, value_us in (("p50", total.p50_us), ("p95", total.p95_us), ("p99", total.p99_us))
    )
    operations = f"{formatting.exact(total.operations)} ({formatting.rate(total.per_minute)})"
    _field(embed, "Total Operations", operations, volume, before)
    if joined:
        lines = [formatting.duration(total.mean_us), *([mean] if before.operations else []), percentiles]
        embed.add_field(name="Average Response Time", value="\n".join(lines))
    else:
        _field(embed, "Average Response Time", formatting.duration(total.mean_us), mean, before)
        _field(embed, "Percentiles", percentiles, f"p95: {p95}", before)


def _field(embed: discord.Embed, name: str, value: str, change: str, before: Figures) -> None:
    """Add a number and, if the previous period has operations, its change."""
    embed.add_field(name=name, value=f"{value}\n{change}" if before.operations else value)


def _previous(answer: Summary | ServiceStats) -> str:
    """Return the length of the answer's range, for the texts of changes."""
    return formatting.length(answer.range.until_us - answer.range.since_us)


def _finished(embed: discord.Embed, answer: Summary | ServiceStats, picture: Picture | None) -> discord.Embed:
    """Return the embed with its chart, footer and timestamp."""
    span, last_end_us = answer.range, answer.last_end_us
    if not answer.before.operations:
        embed.description = f"{embed.description}\nNo operations in the previous {_previous(answer)} to compare with."
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        embed.description = f"{embed.description}\n{NO_CHART} {plain(picture.problem, 300)}"
    age = "" if last_end_us is None else f" · newest {formatting.duration(max(span.until_us - last_end_us, 0))} ago"
    period = formatting.clean(span.label)
    embed.set_footer(text=f"{period[:1].upper()}{period[1:]} · {formatting.exact(answer.total.operations)} ops{age}")
    embed.timestamp = utc(span.until_us)
    return fit(embed)


def _busiest(state: str, stats: ServiceStats) -> str:
    if stats.operation is not None or len(stats.operations) < 2:
        return state
    listed = stats.operations[:LISTED]
    busiest = ", ".join(_service_count(name, figures) for name, figures in listed)
    rest = len(stats.operations) - len(listed)
    return f"{state} · {busiest}" + (f" and {rest} more" if rest else "")


def _service_count(name: str, figures: Figures) -> str:
    return f"{plain(name, 60)} {formatting.exact(figures.operations)}"


def _name(operation: OperationRecord, stats: ServiceStats) -> str:
    return f"{plain(operation.operation, 60)} " if stats.operation is None else ""


def _error(operation: OperationRecord, stats: ServiceStats) -> str:
    return f"{_name(operation, stats)}{plain(operation.error or operation.outcome.label, 120)}"


def _lines(lines: Iterable[str]) -> str:
    """Return as many whole lines as fit into a field."""
    text = ""
    for line in lines:
        longer = f"{text}\n{line}" if text else line
        if len(longer) > VALUE:
            break
        text = longer
    return text


def _titled(label: str) -> str:
    """Return a range's label as part of a title: ``Last 24 Hours``."""
    return " ".join(word.capitalize() for word in formatting.clean(label).split())
