"""The embed of a live message: the last minute's figures, and what the bot does now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain, when
from cogmeter.render.palette import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.diagnosis import Verdict
    from cogmeter.render.charts.chart import Picture
    from cogmeter.schemas.live import LiveSnapshot

MEMORY: Final = "resources.memory_bytes"
LAG: Final = "loop.lag_p99_ms"


def live_embed(
    live: LiveSnapshot,
    verdict: Verdict,
    gauges: Mapping[str, float],
    running: int,
    picture: Picture | None = None,
    *,
    until_us: int,
    ended: str = "",
) -> discord.Embed:
    """Return the state now; ``ended`` is why the message is not updated any more."""
    look = state_of(verdict.status)
    embed = discord.Embed(title="Live" if not ended else "Live (ended)", colour=look.colour, timestamp=live.at)
    state = f"**{look.word.capitalize()}**: {plain(verdict.text, 300)}"
    tail = f"Ended: {plain(ended, 120)}." if ended else f"Updates every 10 s; ends {when(until_us)}."
    embed.description = f"{state}\n{tail}"
    embed.add_field(name="Operations", value=f"{formatting.rate(live.operations_per_second * 60)} now")
    failed = f"{formatting.exact(live.failed_operations)} of {formatting.exact(live.total_operations)}"
    embed.add_field(name="Failed", value=f"{formatting.percent(live.error_rate)} ({failed})")
    p50, p95 = (_milliseconds(value) for value in (live.p50_response_time, live.p95_response_time))
    embed.add_field(name="Response time", value=f"p50 {p50}, p95 {p95}")
    embed.add_field(name="Running now", value=formatting.exact(running))
    if LAG in gauges:
        embed.add_field(name="Event-loop lag", value=f"p99 {_milliseconds(gauges[LAG])}")
    if MEMORY in gauges:
        embed.add_field(name="Memory", value=formatting.size(gauges[MEMORY]))
    if picture is not None and picture.drawn:
        embed.set_image(url=f"attachment://{CHART_NAME}")
    embed.set_footer(text=f"Figures of {formatting.LIVE_WINDOW}")
    return fit(embed)


def _milliseconds(value: float | None) -> str:
    return formatting.duration(None if value is None else value * 1000)
