"""Measure a chart against a plain new figure with tight layout, and the loop's lag while one is drawn.

Run ``python benchmarks/chart.py [--short]``. Both pictures show the same 288 bins; the rounds are interleaved and
shuffled, and the ratio is computed for each round. Absolute times apply to one machine only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import math
import random
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from timing import parser, sized

from cogmeter.diagnosis import BotState, StateArea, StateItem, Status, Verdict
from cogmeter.query.records import Range, Timeline
from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
from cogmeter.query.time_parts import TimePart, time_share
from cogmeter.render.charts.bar_chart import BarChart, profile_chart, waterfall_chart
from cogmeter.render.charts.chart import Chart
from cogmeter.render.charts.cost_chart import CostChart, CostLayer
from cogmeter.render.charts.resources import Panel, PanelLine, ResourcesChart
from cogmeter.render.charts.state import StateChart
from cogmeter.render.charts.worker_client import ChartWorker
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_RATIO = 0.6
GOAL_LAG_MS = 2.0
STEP_US = 300_000_000
BINS = 288
TICK_S = 0.001


def saved(figure: Any) -> bytes:
    """Return a figure as a PNG."""
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def day() -> Chart:
    """Return a day in bins of five minutes, with a threshold, a breach and a marker."""
    numbers = random.Random(7)
    end_us = 1_755_454_020_000_000
    edges = [end_us - (BINS - number) * STEP_US for number in range(BINS)]
    wave = [0.6 + 0.4 * math.sin(number / BINS * math.pi) for number in range(BINS)]
    p50 = [900_000 * height * numbers.uniform(0.85, 1.15) for height in wave]
    line = Timeline(
        title="All services",
        range=Range(edges[0], end_us, "last 24 hours"),
        step_us=STEP_US,
        edges_us=edges,
        per_minute=[20 * height * numbers.uniform(0.8, 1.2) for height in wave],
        failures_per_minute=[numbers.choice([0.0, 0.0, 0.5, 1.0]) for _ in wave],
        p50_us=list(p50),
        p95_us=[value * numbers.uniform(2, 3) for value in p50],
        p99_us=[value * numbers.uniform(3, 5) for value in p50],
        mean_us=[value * 1.3 for value in p50],
    )
    return Chart(
        line,
        latency_threshold_us=5e6,
        latency_statistic="average",
        breaches=((edges[200], edges[220]),),
        markers=((edges[190], "deployed 1.4"),),
    )


def plain(chart: Chart) -> bytes:
    """Draw the same content as a bot author would: a new figure, subplots, a legend, tight layout, savefig."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    line = chart.timeline
    times = [datetime.fromtimestamp(edge / 1e6, UTC) for edge in line.edges_us]
    p50, p95, p99 = ([(value or 0) / 1e6 for value in row] for row in (line.p50_us, line.p95_us, line.p99_us))
    figure = Figure(figsize=(16, 9), dpi=100, facecolor="#2b2d31")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    upper.fill_between(times, p50, p95, alpha=0.3)
    for values, name in ((p50, "p50"), (p95, "p95"), (p99, "p99")):
        upper.plot(times, values, label=name)
    upper.axhline((chart.latency_threshold_us or 0) / 1e6, linestyle="--", color="red", label="alert above 5 s")
    for since, until in chart.breaches:
        upper.axvspan(datetime.fromtimestamp(since / 1e6, UTC), datetime.fromtimestamp(until / 1e6, UTC), alpha=0.2)
    for at, name in chart.markers:
        upper.axvline(datetime.fromtimestamp(at / 1e6, UTC), linestyle=":", label=name)
    lower.bar(times, line.per_minute, width=STEP_US / 86_400e6)
    lower.bar(times, line.failures_per_minute, width=STEP_US / 86_400e6, color="red")
    upper.set_title(line.title)
    upper.set_ylabel("response time in s")
    lower.set_ylabel("operations a minute")
    lower.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    for axes in (upper, lower):
        axes.grid(visible=True)
        axes.set_facecolor("#2b2d31")
    upper.legend()
    figure.tight_layout()
    return saved(figure)


def slow_run() -> BarChart:
    """Return the waterfall of a run with more parts than are shown."""
    spans = [
        SpanRecord(number, number // 4, service, "GET /guilds/{guild_id}", number * 90_000, 350_000, Outcome.OK)
        for number, service in enumerate(["discord.rest", "http.api.example.com", "db.postgresql", "own"] * 9, start=1)
    ]
    trace = TraceRecord(1_755_454_020_000_000, "discord.commands", "ask", 4_200_000, Outcome.OK, None, 0, tuple(spans))
    run = SlowRun(trace, trace.spans, True, time_share(trace.duration_us, spans), 215_000, ())
    return waterfall_chart(run, "UTC")


def time_profile() -> BarChart:
    """Return where the time of a command goes."""
    p50, p95 = (
        dict(zip(TimePart, values, strict=True))
        for values in ((3e5, 2e5, 6e5, 1e5, 1e4, 1e4), (5e5, 3e5, 2.6e6, 2e5, 4e5, 3e5))
    )
    profile = TimeProfile(212, 14_312, False, p95, p50, p95, p50, p95)
    return profile_chart(SlowReport(Range(0, 1, "last 24 hours"), "discord.commands", "ask", (), profile))


def plain_bars(chart: BarChart) -> bytes:
    """Draw the same bars as a bot author would: a new figure, barh, a legend, tight layout, savefig."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(16, 9), dpi=100, facecolor="#2b2d31")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, row in enumerate(chart.rows):
        lengths, lefts = ([one.length_us / 1e6 for one in row.segments], [one.start_us / 1e6 for one in row.segments])
        axes.barh([number] * len(lefts), lengths, left=lefts, color=[one.colour for one in row.segments])
        axes.text(sum((lefts[-1], lengths[-1])), number, row.value)
    if chart.mark_us is not None:
        axes.axvline(chart.mark_us / 1e6, linestyle=":", label="first output")
    axes.set_yticks(range(len(chart.rows)), [row.name for row in chart.rows])
    axes.invert_yaxis()
    axes.set_title(f"{chart.title} ({chart.range_text})")
    axes.set_xlabel("seconds")
    axes.grid(visible=True, axis="x")
    axes.set_facecolor("#2b2d31")
    axes.legend(handles=[Patch(color=colour, label=text) for text, colour in chart.key])
    figure.tight_layout()
    return saved(figure)


def resources() -> ResourcesChart:
    """Return a day of six panels with 96 steps each."""
    numbers = random.Random(8)
    line = day().timeline
    edges = tuple(line.edges_us[::3])

    def row(scale: float) -> PanelLine:
        values = tuple(scale * numbers.uniform(0.8, 1.2) for _ in edges)
        return PanelLine("", values, tuple(0.8 * one for one in values), tuple(1.3 * one for one in values))

    units = ("percent", "bytes", "duration", "duration", "bytes/s", "count")
    panels = tuple(Panel(f"Panel {unit}", unit, "now", (row(1e6),)) for unit in units)
    return ResourcesChart(line.range, 3 * STEP_US, edges, panels, ((edges[50], "start"),))


def plain_resources(chart: ResourcesChart) -> bytes:
    """Draw the panels as a bot author would: a new figure, subplots, tight layout, savefig."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    times = [datetime.fromtimestamp(edge / 1e6, UTC) for edge in chart.edges_us]
    figure = Figure(figsize=(16, 12), dpi=100, facecolor="#2b2d31")
    FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(3, 2).flat, chart.panels, strict=True):
        for line in panel.lines:
            axes.fill_between(times, line.lowest, line.highest, alpha=0.3)
            axes.plot(times, line.values)
        axes.axvline(datetime.fromtimestamp(chart.markers[0][0] / 1e6, UTC), linestyle=":")
        axes.set_title(f"{panel.title}: {panel.latest}")
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
        axes.grid(visible=True)
    figure.tight_layout()
    return saved(figure)


def state() -> StateChart:
    """Return a bot with a hundred services, and some of everything else."""
    counts = {"Components": 9, "Shards": 1, "Discord": 3, "Services": 100, "Loops": 8, "Dependencies": 4}
    areas = tuple(
        StateArea(
            name,
            tuple(
                StateItem(
                    f"{name.lower()} {number}", Status.HEALTHY if number else Status.DEGRADED, "52 ops, p95 1.2 s"
                )
                for number in range(count)
            ),
        )
        for name, count in counts.items()
    )
    return StateChart(
        BotState(0, Verdict(Status.DEGRADED, "1 active alert (warning); 8 of 9 components healthy"), areas)
    )


def plain_state(chart: StateChart) -> bytes:
    """Draw the state as a bot author would: a new figure, a scatter of each area, a text of each named item."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 13), dpi=100, facecolor="#2b2d31")
    FigureCanvasAgg(figure)
    for axes, area in zip(figure.subplots(len(chart.state.areas), 1), chart.state.areas, strict=True):
        columns = 38 if len(area.items) > 15 else 3
        places = [(number % columns, -(number // columns)) for number in range(len(area.items))]
        colours = ["#4cb387" if item.status is Status.HEALTHY else "#ffc440" for item in area.items]
        axes.scatter([x for x, _ in places], [y for _, y in places], c=colours)
        for (x, y), item in zip(places, area.items, strict=True):
            if columns == 3:
                axes.text(x, y, f"{item.name} {item.text}", size=20)
        axes.set_title(area.name)
        axes.axis("off")
    figure.tight_layout()
    return saved(figure)


def costs() -> CostChart:
    """Return the costs of thirty days by command: four layers and the others."""
    numbers, day_us = random.Random(3), 86_400_000_000
    days = [1_754_870_400_000_000 + number * day_us for number in range(30)]
    names = ("/ask", "/look", "reply Chat.on_message", "/mood", "6 others")
    return CostChart(
        title="Costs by command: $81.40",
        range_text="last 30 days, UTC",
        since_us=days[0],
        until_us=days[-1] + day_us,
        step_us=day_us,
        layers=tuple(
            CostLayer(name, tuple((at_us, numbers.randrange(10**5, 10**6)) for at_us in days)) for name in names
        ),
    )


def plain_costs(chart: CostChart) -> bytes:
    """Draw the same bars as a bot author would: a new figure, a stacked bar of each layer, a legend, tight layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 9), dpi=100, facecolor="#2b2d31")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bottoms = [0.0] * len(chart.layers[0].amounts)
    for layer in chart.layers:
        times: list[Any] = [datetime.fromtimestamp(at_us / 1e6, UTC) for at_us, _ in layer.amounts]
        heights = [amount / 1e6 for _, amount in layer.amounts]
        axes.bar(times, heights, bottom=bottoms, label=layer.name)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_title(f"{chart.title} ({chart.range_text})")
    axes.set_ylabel("dollars")
    axes.grid(visible=True, axis="y")
    axes.set_facecolor("#2b2d31")
    axes.legend()
    figure.tight_layout()
    return saved(figure)


def drawing(rounds: int, chart: Any, peer: Callable[[Any], bytes], ours: Callable[[Any], bytes], name: str) -> float:
    """Print the ratio of our drawing time to the plain figure's, and return its median."""
    sizes = {draw: len(draw(chart)) for draw in (peer, ours)}  # both are warm from here on
    times: dict[object, list[float]] = {peer: [], ours: []}
    for _ in range(rounds):
        for draw in random.sample([peer, ours], 2):
            start = time.perf_counter()
            draw(chart)
            times[draw].append(time.perf_counter() - start)
    ratios = sorted(mine / theirs for mine, theirs in zip(times[ours], times[peer], strict=True))
    for draw, title in ((peer, f"{name}: plain figure"), (ours, f"{name}: cogmeter")):
        best, middle = min(times[draw]) * 1e3, statistics.median(times[draw]) * 1e3
        print(f"{title:32} {best:6.0f} ms best {middle:6.0f} ms median {sizes[draw] / 1000:6.0f} kB")
    middle = statistics.median(ratios)
    low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
    print(f"{f'{name}: ratio':32} {middle:6.2f} median ({low:.2f} to {high:.2f}), goal <= {GOAL_RATIO}")
    return middle


async def ticks(until: asyncio.Event) -> list[float]:
    """Return how late each tick of a millisecond comes, in milliseconds."""
    late = []
    while not until.is_set():
        start = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late.append((time.perf_counter() - start - TICK_S) * 1e3)
    return late


async def measured(work: asyncio.Future[object] | None, seconds: float) -> list[float]:
    """Return the ticks while the work runs, or for a fixed time."""
    done = asyncio.Event()
    ticking = asyncio.create_task(ticks(done))
    await (work if work is not None else asyncio.sleep(seconds))
    done.set()
    return await ticking


async def draw_for(worker: ChartWorker, seconds: float, latencies: list[float]) -> None:
    """Draw one chart after the other, each with different data."""
    chart, end = day(), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        title = f"All services {start}"
        await worker.draw(dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, title=title)))
        latencies.append((time.perf_counter() - start) * 1e3)


async def lag(rounds: int, seconds: float) -> float:
    """Print the loop's lag, idle and while the worker draws, and return the growth of its p99."""
    worker = ChartWorker()
    cold: list[float] = []
    starting = await measured(asyncio.ensure_future(draw_for(worker, 0.001, cold)), 0)
    idle: list[float] = []
    busy: list[float] = []
    latencies: list[float] = []
    for _ in range(rounds):
        idle += await measured(None, seconds)
        busy += await measured(asyncio.ensure_future(draw_for(worker, seconds, latencies)), 0)
    await worker.close()
    for name, late in (("idle", idle), ("worker starts", starting), ("worker draws", busy)):
        print(f"{'loop lag, ' + name:32} {p99(late):6.2f} ms p99 {max(late):6.1f} ms max")
    middle = statistics.median(latencies)
    print(f"{'one chart through the worker':32} {middle:6.0f} ms median, the first one {cold[0]:.0f} ms")
    more = p99(busy) - p99(idle)
    print(f"{'lag p99 above idle':32} {more:6.2f} ms, goal <= {GOAL_LAG_MS:g}")
    return more


def p99(values: list[float]) -> float:
    """Return the 99th percentile by nearest rank."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def main() -> None:
    options = parser(__doc__).parse_args()
    asyncio.run(lag(rounds=sized(options, 6, 2, 1), seconds=sized(options, 4.0, 1.5, 0.3)))
    from cogmeter.render.charts.bar_painter import BarPainter
    from cogmeter.render.charts.cost_painter import CostPainter
    from cogmeter.render.charts.fonts import Fonts
    from cogmeter.render.charts.painter import Painter
    from cogmeter.render.charts.resources_painter import ResourcesPainter
    from cogmeter.render.charts.state_painter import StatePainter

    bars = BarPainter(Fonts()).draw
    for name, chart, peer, ours in (
        ("timeline", day(), plain, Painter().draw),
        ("waterfall", slow_run(), plain_bars, bars),
        ("time profile", time_profile(), plain_bars, bars),
        ("resources", resources(), plain_resources, ResourcesPainter(Fonts()).draw),
        ("costs", costs(), plain_costs, CostPainter(Fonts()).draw),
        ("state", state(), plain_state, StatePainter(Fonts()).draw),
    ):
        drawing(sized(options, 31, 9, 1), chart, peer, ours, name)


if __name__ == "__main__":
    main()
