"""The Discord page: first responses, connection, rate limits, the event loop, and background loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.values import LATE_US
from cogmeter.diagnosis import STALE_S
from cogmeter.query.statistics import figures
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, ACKNOWLEDGEMENT_LIMIT_US, BY_OPERATION, REST, TASKS, label
from cogmeter.render import formatting
from cogmeter.schemas.health import Loops, loops, stalls
from cogmeter.watch.rest.budget import INVALID_LIMIT
from cogmeter.web.pages.chart_context import chart_context, heartbeat_limit
from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, page_response
from cogmeter.web.pages.selection import selection
from cogmeter_storage.histogram import bucket_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from cogmeter.query.records import Figures
    from cogmeter_storage.model import OperationRecord

MOST_COMMANDS: Final = 100
MOST_REQUESTS: Final = 12
MOST_STALLS: Final = 10
FOLDED: Final = 10  # lines of code that blocked the loop, after which the list is folded
MOST_LOOPS: Final = 60
MOST_LINES: Final = 4  # shards in one chart
SCOPES: Final = {
    "user": "per bot",
    "shared": "shared with other bots",
    "global": "global",
    "proxy": "IP address (a ban)",
}
LATENCY: Final = "gateway.latency_ms.shard_"
HEARTBEAT: Final = "gateway.heartbeat_age_s.shard_"
COUNTERS: Final = ("disconnects", "reconnects", "resumes", "identifies")


@dataclass(frozen=True, slots=True)
class Responses:
    """First responses to one kind of interaction, or to all."""

    name: str
    figures: Figures
    near: int  # after more than LATE_US, before ACKNOWLEDGEMENT_LIMIT_US

    @property
    def missed(self) -> int:
        """The ones that came too late or never."""
        return self.figures.outcomes[Outcome.ERROR]

    @property
    def theirs(self) -> int:
        """The ones that failed with an error of Discord."""
        return self.figures.outcomes[Outcome.UPSTREAM]


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard at the last sample."""

    number: int
    latency_us: float | None
    age_us: float | None

    @property
    def state(self) -> tuple[str, str]:
        """The badge's text and style."""
        if self.age_us is not None and self.age_us > STALE_S * 1e6:
            return "no heartbeat", "degraded"
        return ("connected", "healthy") if self.latency_us is not None else ("no heartbeat yet", "unknown")


@dataclass(frozen=True, slots=True)
class LastRun:
    """The end of a loop's last run, and its start delay."""

    end_us: int
    delay_us: float

    @classmethod
    def of(cls, run: OperationRecord) -> LastRun:
        """Build it from the recorded operation."""
        delay_ms = run.metadata.get("late_ms")
        return cls(run.end_us, delay_ms * 1000 if isinstance(delay_ms, int | float) else 0.0)


async def show_discord(view: PageView[PageParams]) -> web.Response:
    """Show everything between the bot and Discord."""
    monitor = view.monitor
    whole = view.params.process is None
    gauges = monitor.gauges if whole else await view.query.present_gauges()
    all_loops = await loops(view.query, view.span, monitor.watcher.loops() if whole else [])
    shards = shards_of(gauges)
    all_responses, commands = await _responses(view)
    return await page_response(
        view,
        "discord.html",
        title="Discord",
        all_responses=all_responses,
        response_text=response_text,
        commands=commands,
        shards=shards,
        slowest=[f"{LATENCY}{shard.number}" for shard in sorted(shards, key=_slowness)[:MOST_LINES]],
        gauges=gauges,
        counters=COUNTERS,
        scopes=SCOPES,
        invalid_limit=INVALID_LIMIT,
        requests=await _requests(view),
        stalls=await stalls(view.query, view.span, limit=MOST_STALLS),
        folded=FOLDED,
        loops=all_loops.loops[:MOST_LOOPS],
        left_out=max(len(all_loops.loops) - MOST_LOOPS, 0),
        runs=await _last_runs(view, all_loops),
        chart_context=await chart_context(view),
        selection=await selection(view),
        latency=heartbeat_limit(view),
    )


def response_text(duration_us: float | None) -> str:
    """Return a percentile of the times to the first response; a missed one has no time, only that it was waited for."""
    missed = duration_us is not None and duration_us >= ACKNOWLEDGEMENT_LIMIT_US
    return "missed" if missed else formatting.duration(duration_us)


def shards_of(gauges: Mapping[str, float]) -> list[Shard]:
    """Return every shard that has gauges, by its number."""
    numbers = {
        int(name.rpartition("_")[2])
        for name in gauges
        if name.startswith((LATENCY, HEARTBEAT)) and name.rpartition("_")[2].isdecimal()
    }
    return [
        Shard(number, _scaled(gauges.get(f"{LATENCY}{number}"), 1e3), _scaled(gauges.get(f"{HEARTBEAT}{number}"), 1e6))
        for number in sorted(numbers)
    ]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _slowness(shard: Shard) -> tuple[float, int]:
    return -(shard.latency_us or 0.0), shard.number


async def _responses(view: PageView[PageParams]) -> tuple[Responses | None, list[Responses]]:
    """Return all first responses, None without any, and those by command, the most missed first."""
    known = await view.query.store.series()
    series = [record for record in known if record.service == ACKNOWLEDGEMENT]
    if not series:
        return None, []
    labels = {one.operation: label(one.service, one.operation) for one in known if one.service in BY_OPERATION}
    span, place = view.span, {record.operation: number for number, record in enumerate(series)}
    groups = {record.id: place[record.operation] for record in series}
    totals = await view.query.totals(span, groups)
    first, last = (int(bucket_of(border_us)) + 1 for border_us in (LATE_US, ACKNOWLEDGEMENT_LIMIT_US))
    near = totals.buckets.sum(axis=0)[:, first:last].sum(axis=1).tolist()
    by_command = await view.query.operations(ACKNOWLEDGEMENT, span)
    total = Responses("", figures(totals, span), sum(near))
    commands = [Responses(labels.get(name, name), command, near[place[name]]) for name, command in by_command.items()]
    commands.sort(key=lambda command: (-command.missed, -(command.figures.p95_us or 0)))
    return (total if total.figures.operations else None), commands[:MOST_COMMANDS]


async def _requests(view: PageView[PageParams]) -> list[tuple[str, Figures]]:
    """Return the requests to Discord, the most failed and refused first, then the busiest."""
    requests = await view.query.operations(REST, view.span)
    ranked = sorted(requests.items(), key=lambda request: (-_not_ok(request[1]), -request[1].operations))
    return ranked[:MOST_REQUESTS]


def _not_ok(total: Figures) -> int:
    return total.operations - total.outcomes[Outcome.OK]


async def _last_runs(view: PageView[PageParams], all_loops: Loops) -> dict[str, LastRun]:
    """Return the newest run of each loop that is shown."""
    ids = {record.operation: record.id for record in await view.query.store.series() if record.service == TASKS}
    runs = {}
    for loop in all_loops.loops[:MOST_LOOPS]:
        if loop.name in ids:
            newest = await view.query.store.recent([ids[loop.name]], view.span.since_us, view.span.until_us, limit=1)
            if newest:
                runs[loop.name] = LastRun.of(newest[0])
    return runs


PAGE: Final = Page(
    "discord",
    f"{HOME}/discord",
    "Discord",
    show_discord,
    PageParams,
    MenuEntry(5, "Discord", "M4 5h16v11H10l-4 4v-4H4z"),
    words=("gateway", "shards", "rest", "requests", "acknowledgement", "interactions"),
)
