"""The embed of a comparison: the verdicts first, then both periods next to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.query.comparison import ChangeVerdict
from cogmeter.render import comparison_text, formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.error_text import place_text, type_text
from cogmeter.render.escape import dashboard_line, plain
from cogmeter.render.palette import DisplayState
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.query.comparison import ComparedPeriod, Comparison, MeasuredChange
    from cogmeter.render.charts.chart import Picture

LISTED: Final = 3  # new errors
COLOURS: Final = {
    ChangeVerdict.WORSE: DisplayState.UNHEALTHY.colour,
    ChangeVerdict.BETTER: DisplayState.HEALTHY.colour,
    ChangeVerdict.UNCHANGED: DisplayState.NEUTRAL.colour,
    ChangeVerdict.TOO_FEW: DisplayState.NEUTRAL.colour,
}
ICONS: Final = {
    ChangeVerdict.WORSE: "\N{UPWARDS BLACK ARROW}\N{VARIATION SELECTOR-16}",
    ChangeVerdict.BETTER: "\N{DOWNWARDS BLACK ARROW}\N{VARIATION SELECTOR-16}",
}


def comparison_embed(
    comparison: Comparison, picture: Picture | None = None, *, link: str | None = None
) -> discord.Embed:
    """Return the embed of a comparison with its chart; ``link`` leads to the dashboard."""
    lines = [f"**{comparison_text.headline(comparison)}**"]
    if comparison.verdict is not ChangeVerdict.TOO_FEW:
        lines += [f"{name}: {text}" for name, text in comparison_text.verdicts(comparison)]
    first_us = comparison.recorded_since_us
    since = "" if first_us is None else f"{formatting.clock_time(first_us, with_date=True)} UTC"
    notes = comparison_text.notes(comparison.hours, comparison.before, comparison.after, recorded_since=since)
    lines += [f"{formatting.sentence(note)}." for note in notes]
    if link:
        lines.append(dashboard_line(link))
    embed = discord.Embed(
        title=f"Compare {plain(comparison_text.title(comparison), 200)}",
        colour=COLOURS[comparison.verdict],
        url=link,
    )
    _add_figures(embed, comparison)
    if comparison.new_errors:
        listed = [*_errors(comparison)]
        text = several(listed, more=len(comparison.new_errors) - len(listed))
        embed.add_field(name=f"New errors ({len(comparison.new_errors)})", value=text, inline=False)
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        lines.append(f"{NO_CHART} {plain(picture.problem, 300)}")
    embed.description = "\n".join(lines)
    embed.set_footer(text=" · ".join(_footer(comparison)))
    embed.timestamp = utc(comparison.after.range.until_us)
    return fit(embed)


def _add_figures(embed: discord.Embed, comparison: Comparison) -> None:
    """Add both periods and the change as three fields next to each other."""
    changes = (*comparison.percentiles, comparison.errors, comparison.throughput)
    values = [comparison_text.value_texts(change) for change in changes]
    for place, (name, period) in enumerate((("Before", comparison.before), ("After", comparison.after))):
        embed.add_field(name=name, value="\n".join(_period(period, changes, [pair[place] for pair in values])))
    texts = [f"{comparison_text.NAMES[change.statistic]} {comparison_text.change_text(change)}" for change in changes]
    embed.add_field(name="Change", value="\n".join(texts))


def _errors(comparison: Comparison) -> Iterator[str]:
    for group in comparison.new_errors[:LISTED]:
        place = f" in {plain(place_text(group.place), 100)}" if group.place else f": {plain(group.message, 100)}"
        yield f"{formatting.exact(group.count)}x {plain(type_text(group.type), 60)}{place}"


def _period(period: ComparedPeriod, changes: tuple[MeasuredChange, ...], values: list[str]) -> Iterator[str]:
    for change, value in zip(changes, values, strict=True):
        yield f"{comparison_text.NAMES[change.statistic]} **{value}**"
    yield formatting.counted(period.operations, "operation")


def _footer(comparison: Comparison) -> Iterator[str]:
    for name, period in (("Before", comparison.before), ("after", comparison.after)):
        since, until = (
            formatting.clock_time(at_us, with_date=True) for at_us in (period.range.since_us, period.range.until_us)
        )
        yield f"{name}: {since} to {until} UTC"
