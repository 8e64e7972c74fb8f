"""The embed of the digest: what needs attention, key figures and their change, changes, errors, alerts and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.diagnosis import Status, status_of, worst
from cogmeter.recording.markers import START
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.attention import attention_lines
from cogmeter.render.embeds.report import advice_line, fired_line, subject_of
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.error_text import place_text, type_text
from cogmeter.render.escape import plain
from cogmeter.render.palette import state_of
from cogmeter.times import utc
from cogmeter_storage.model import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogmeter.query.records import AlertReport, Digest, PeriodCost, Range
    from cogmeter.render.charts.chart import Picture
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.model import Marker
    from cogmeter_storage.usage import DistinctCounts

LISTED: Final = 6  # changes, errors, rules


def digest_embed(digest: Digest, picture: Picture | None, *, group: str, kind: str = "") -> discord.Embed:
    """Return the embed of a digest; ``kind`` is daily or weekly for a scheduled one.

    Its commands are those of ``group``.
    """
    span = digest.summary.range
    state = state_of(worst([Status.HEALTHY, *(status_of(concern.severity) for concern in digest.concerns)]))
    lines = [
        f"**{state.word.capitalize()}** in this period",
        *attention_lines(digest.concerns, group, more_at="summary"),
    ]
    if digest.cost is not None:
        lines.append(_cost(digest.cost))
    embed = discord.Embed(
        title=f"{f'{kind.capitalize()} digest' if kind else 'Digest'} ({formatting.clean(span.label)})",
        colour=state.colour,
    )
    _figures(embed, digest)
    if digest.changes:
        embed.add_field(name="What changed", value=several(list(_changes(digest.changes))), inline=False)
    if errors := list(_errors(digest)):
        embed.add_field(name="Errors", value=several(errors), inline=False)
    embed.add_field(name=_alerts_title(digest.report), value=several(list(_alerts(digest.report))), inline=False)
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        lines.append(f"{NO_CHART} {plain(picture.problem, 300)}")
    embed.description = "\n".join(lines)
    since, until = (formatting.clock_time(at_us, with_date=True) for at_us in (span.since_us, span.until_us))
    embed.set_footer(
        text=f"{since} to {until} UTC · {formatting.counted(digest.summary.total.operations, 'operation')}"
    )
    embed.timestamp = utc(span.until_us)
    return fit(embed)


def _figures(embed: discord.Embed, digest: Digest) -> None:
    """Add the key figures with their change."""
    total, before = digest.summary.total, digest.summary.before
    previous = formatting.length(digest.summary.range.until_us - digest.summary.range.since_us)
    operations = f"**{formatting.exact(total.operations)}**"
    error_rate = f"**{formatting.percent(total.error_rate)}** ({formatting.exact(total.failures)} failed)"
    p95 = f"**{formatting.duration(total.p95_us)}**"
    if before.operations:
        operations += f"\n{formatting.change(total.per_minute, before.per_minute, previous=previous)}"
        error_rate += f"\n{formatting.change_of_share(total.error_rate, before.error_rate, previous=previous)}"
        p95 += f"\n{formatting.change(total.p95_us, before.p95_us, previous=previous)}"
    if digest.people is not None:
        operations += f"\n{_people(digest.people, digest.people_before, digest.summary.range)}"
    embed.add_field(name="Operations", value=operations)
    embed.add_field(name="Error rate", value=error_rate)
    embed.add_field(name="Slow response (p95)", value=p95)


def _people(people: DistinctCounts, before: DistinctCounts | None, span: Range) -> str:
    change = "" if before is None else f" ({formatting.change(people.users, before.users)})"
    widened = span.since_us % HOUR_US or span.until_us % HOUR_US
    hours = ", counted by whole hours" if widened else ""
    return f"{formatting.counted(people.users, 'user')}{change} in {formatting.counted(people.guilds, 'server')}{hours}"


def _cost(cost: PeriodCost) -> str:
    first, last = cost.days
    days = f"{first.day} {first:%b}" if first == last else f"{first.day} {first:%b} to {last.day} {last:%b}"
    change = f", {formatting.change(cost.dollars, cost.before)} vs before" if cost.before else ""
    return f"Cost: ${cost.dollars:,.2f} on {days} (UTC){change}"


def _changes(markers: Sequence[Marker]) -> Iterator[str]:
    """Yield a line for each change, newest first, and one for all starts of the bot."""
    starts = [marker for marker in markers if marker.kind == START]
    others = [marker for marker in markers if marker.kind != START]
    for marker in others[: -LISTED - 1 : -1]:
        yield f"<t:{marker.at_us // 1_000_000}:f> {plain(marker.name, 80)}"
    if len(others) > LISTED:
        yield f"and {len(others) - LISTED} more"
    if starts:
        yield f"The bot started {formatting.counted(len(starts), 'time')}"


def _errors(digest: Digest) -> Iterator[str]:
    for name, groups in (("New", digest.new_errors), ("Came back", digest.reopened_errors)):
        for group in groups[:LISTED]:
            yield f"{name}: {_error(group)}, {formatting.counted(group.count, 'time')}"
        if len(groups) > LISTED:
            yield f"and {formatting.exact(len(groups) - LISTED)} more"
    if digest.resolved_errors:
        numbers = ", ".join(f"error {group.id}" for group in digest.resolved_errors[:LISTED])
        yield f"Resolved: {formatting.exact(len(digest.resolved_errors))} ({numbers})"


def _error(group: ErrorGroup) -> str:
    return f"{plain(type_text(group.type), 60)} in {plain(place_text(group.place), 100)} (error {group.id})"


def _alerts_title(report: AlertReport) -> str:
    return f"Alerts ({formatting.clean(report.range.label)})"


def _alerts(report: AlertReport) -> Iterator[str]:
    """Yield the lines of the report on alerts: totals, suggested thresholds, rules, and what nobody acted on."""
    total = report.total
    if not total.fired:
        yield "No alerts in this period."
        return
    acted = f"{formatting.exact(total.acknowledged)} acknowledged"
    if total.acknowledge_us is not None:
        acted += f" (median: after {formatting.duration(total.acknowledge_us)})"
    over = f"{formatting.exact(total.resolved)} resolved"
    if total.resolve_us is not None:
        over += f" (median: after {formatting.duration(total.resolve_us)})"
    flaps = f", {formatting.exact(total.flaps)} flapping" if total.flaps else ""
    muted = f"{formatting.exact(total.muted)} muted"
    yield f"**{formatting.counted(total.fired, 'alert')}**: {acted}, {over}, {muted}{flaps}"
    yield from (f"Suggested: {advice_line(advice)}" for advice in report.advice[:LISTED])
    yield from (fired_line(line) for line in report.lines[:LISTED])
    for line in report.ignored[:LISTED]:
        yield f"Resolved without action: {subject_of(line)}, {formatting.counted(line.fired, 'time')}"
