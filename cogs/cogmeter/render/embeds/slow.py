"""The embeds of slow runs: one run with its parts and what to do, and where the time of a command goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.query.time_parts import TimePart
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState
from cogmeter.render.slow_text import (
    NO_TRACED_RUNS,
    cause_text,
    note_lines,
    output_text,
    part_lines,
    profile_text,
    unexplained_text,
)

if TYPE_CHECKING:
    from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
    from cogmeter.render.charts.chart import Picture

NOTHING_SLOW: Final = "No command, button, form or reply took 100 ms or more in this period."
_SENTENCE: Final = 400  # characters


def slow_run_embed(report: SlowReport, number: int, picture: Picture | None, *, page: int, pages: int) -> discord.Embed:
    """Return the run of this number, 0 for the slowest, with its chart; ``page`` counts from 0."""
    run = report.runs[number]
    embed = discord.Embed(
        title=f"{plain(run.label, 150)}: {formatting.duration(run.trace.duration_us)}",
        description="\n".join(_sentences(run)),
        colour=(DisplayState.DEGRADED if run.patterns else DisplayState.NEUTRAL).colour,
    )
    if run.trace.error:
        embed.add_field(name="Error", value=plain(run.trace.error, 300), inline=False)
    if run.traced:  # without a trace, all of it would be own code
        parts = "\n".join(text for _, text in part_lines(run.time.parts))
        embed.add_field(name="Time by part", value=parts or "nothing to divide")
    embed.add_field(name="First output", value=output_text(run))
    if run.runs:
        typical = "" if run.typical_us is None else f"\np50 {formatting.duration(run.typical_us)}"
        embed.add_field(name="Runs in this period", value=f"{formatting.exact(run.runs)}{typical}")
    embed.add_field(name="When", value=f"<t:{run.trace.at_us // 1_000_000}:f>")
    if len(report.runs) > 1:
        embed.add_field(name="Slowest", value=_ranking(report, number), inline=False)
    return _finished(embed, report, picture, page, pages)


def time_profile_embed(report: SlowReport, picture: Picture | None, *, page: int, pages: int) -> discord.Embed:
    """Return where the time of a command goes, with its chart."""
    profile = report.profile
    embed = discord.Embed(
        title=f"Where the time goes: {plain(report.label, 150)}",
        description=NO_TRACED_RUNS if profile is None else f"From {profile_text(profile)}.",
        colour=DisplayState.NEUTRAL.colour,
    )
    if profile is not None:
        embed.add_field(name="Share, p50 and p95 of each part", value=_part_table(profile), inline=False)
    return _finished(embed, report, picture, page, pages)


def nothing_slow_embed(report: SlowReport) -> discord.Embed:
    """Return the embed of a period without slow runs."""
    of = f" of {plain(report.label, 150)}" if report.label else ""
    embed = discord.Embed(
        title=f"Slowest runs{of}",
        description=NOTHING_SLOW if not report.label else "It did not run in this period.",
        colour=DisplayState.HEALTHY.colour,
    )
    return _finished(embed, report, None, 0, 1)


def _sentences(run: SlowRun) -> list[str]:
    lines = [
        f"**{match.pattern.title}.** {plain(f'{cause_text(match)} {match.advice}', _SENTENCE)}"
        for match in run.patterns
    ]
    return [*(lines or [plain(unexplained_text(run), _SENTENCE)]), *note_lines(run)]


def _ranking(report: SlowReport, number: int) -> str:
    """Return all runs of the answer, the one shown in bold."""
    names = (
        f"{plain(run.label if report.operation is None else f'run {place}', 40)} "
        f"{formatting.duration(run.trace.duration_us)}"
        for place, run in enumerate(report.runs, start=1)
    )
    return " · ".join(f"**{name}**" if place == number else name for place, name in enumerate(names))


def _part_table(profile: TimeProfile) -> str:
    width = max(len(part.title) for part in TimePart)
    lines = [f"{'':{width}}  share      p50      p95"]
    for part, _ in part_lines(profile.total):
        share = formatting.percent(round(profile.share(part), 2))
        p50, p95 = (formatting.duration(parts[part]) for parts in (profile.part_p50, profile.part_p95))
        lines.append(f"{part.title:{width}} {share:>6} {p50:>8} {p95:>8}")
    return "```\n{}\n```".format("\n".join(lines))


def _finished(
    embed: discord.Embed, report: SlowReport, picture: Picture | None, page: int, pages: int
) -> discord.Embed:
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        embed.description = f"{embed.description}\n{NO_CHART} {plain(picture.problem, 300)}"
    label = formatting.clean(report.range.label)
    paging = f" · Page {page + 1} of {pages}" if pages > 1 else ""
    embed.set_footer(text=f"{label[:1].upper()}{label[1:]}{paging}")
    return fit(embed)
