"""The embed of costs: money and tokens by group, the month's forecast, and models without a price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.query.costs import TITLES, used
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.cost_text import (
    CALL,
    NO_COSTS,
    covered_text,
    forecast_text,
    group_text,
    missing_money,
    money,
    title,
    tokens_text,
)
from cogmeter.render.embeds.alert import several
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain
from cogmeter.render.palette import DisplayState
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.costs import CostReport
    from cogmeter.render.charts.chart import Picture
    from cogmeter_storage.costs import CostSums

PAGE: Final = 10  # groups
_LINES: Final = 3_400  # characters of the description: the rest is for why there is no chart


def cost_embed(
    report: CostReport, picture: Picture | None = None, *, names: Mapping[str, str] | None = None, page: int = 0
) -> discord.Embed:
    """Return a page of the costs of a range; ``names`` are those of guilds or users by hash, resolved now."""
    missing = missing_money(report)
    embed = discord.Embed(
        title=f"{title(report.by)} ({formatting.clean(report.range.label)})",
        description="\n".join(_description(report, names or {}, page, missing)),
        colour=(DisplayState.DEGRADED if missing else DisplayState.NEUTRAL).colour,
    )
    if report.total.operations or report.forecast.spent:
        embed.add_field(
            name="Today", value=f"{money(report.today.micro_usd)}\nyesterday {money(report.yesterday.micro_usd)}"
        )
        embed.add_field(name="This month so far", value=money(report.forecast.spent))
        found = report.forecast
        text = forecast_text(found.days, found.expected, found.least, found.most)
        embed.add_field(name="Month forecast", value=text)
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    elif picture is not None and picture.problem:
        embed.description = f"{embed.description}\n{NO_CHART} {plain(picture.problem, 300)}"
    embed.set_footer(text=_footer(report, page))
    embed.timestamp = utc(report.range.until_us)
    return fit(embed)


def _description(report: CostReport, names: Mapping[str, str], page: int, missing: str) -> list[str]:
    total = report.total
    if not total.operations:
        return [
            NO_COSTS,
            "Add tokens to your operations with `cogmeter.usage(response)`, or set `PERFORMANCE_WATCH_LLM=true`.",
        ]
    lines = [f"**{money(total.micro_usd)}** for {formatting.counted(total.operations, CALL)} · {tokens_text(total)}"]
    if missing:
        lines.append(f"\N{WARNING SIGN}\N{VARIATION SELECTOR-16} {plain(missing, 700)}")
    shown = report.groups[page * PAGE : (page + 1) * PAGE]
    listed = [_line(report, name, sums, names) for name, sums in shown]
    return [*lines, "", several(listed, _LINES - sum(map(len, lines)))]


def _line(report: CostReport, name: str, sums: CostSums, names: Mapping[str, str]) -> str:
    parts = [f"**{plain(group_text(report.by, name, names), 80)}** {money(sums.micro_usd)}"]
    if report.total.micro_usd:
        parts.append(formatting.percent(sums.micro_usd / report.total.micro_usd))
    parts.append(formatting.counted(sums.operations, "call"))
    per_thousand = report.per_thousand(name, sums) if used(report.by) else None
    if per_thousand is not None:
        parts += [formatting.counted(report.uses[name], "use"), f"{money(per_thousand)} per 1,000 uses"]
    parts.append(f"{formatting.count(sums.tokens_in + sums.tokens_out)} tokens")
    if sums.unpriced:
        parts.append(f"{formatting.exact(sums.unpriced)} without a price")
    return " · ".join(parts)


def _footer(report: CostReport, page: int) -> str:
    pages = max(-(-len(report.groups) // PAGE), 1)
    parts = [formatting.sentence(covered_text(report.step_us, report.range.since_us, report.since_us))]
    if pages > 1:
        parts.append(f"page {page + 1} of {pages}, {formatting.counted(len(report.groups), TITLES[report.by])}")
    if report.price_source:
        parts.append(f"prices: {report.price_source}")
    return " · ".join(parts)
