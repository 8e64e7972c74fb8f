"""Discord: first responses, the connection, limits, blocks of its loop, background loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.query.statistics import figures
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, REST, TASKS
from cogmeter.schemas.loops import Loops, loops
from cogmeter.schemas.stalls import stalls
from cogmeter.web.pages.chart_context import around, heartbeat_limit
from cogmeter.web.pages.frame import PageParams, PageView, answer
from cogmeter_storage.histogram import bucket_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Figures
    from cogmeter_storage.model import OperationRecord

NEAR_US: Final = 2_000_000  # from here on a first response was nearly too late
GIVEN_UP_US: Final = 3_000_000  # Discord then knows the interaction no more
STALE_S: Final = 60.0  # Discord asks for a heartbeat every 41 s
MOST_COMMANDS: Final = 100
MOST_REQUESTS: Final = 12
MOST_STALLS: Final = 10
MOST_LOOPS: Final = 60
MOST_LINES: Final = 4  # shards in one chart
SCOPES: Final = {
    "user": "of this bot",
    "shared": "shared with others",
    "global": "over all requests",
    "proxy": "of the address (a ban)",
}
INVALID_LIMIT: Final = 10_000  # requests in ten minutes, after which Discord bans the address
LATENCY: Final = "gateway.latency_ms.shard_"
HEARTBEAT: Final = "gateway.heartbeat_age_s.shard_"
COUNTERS: Final = ("disconnects", "reconnects", "resumes", "identifies")


@dataclass(frozen=True, slots=True)
class Responses:
    """First responses, of one command or of all."""

    name: str
    figures: Figures
    near: int  # within three seconds, but not within two

    @property
    def missed(self) -> int:
        """That came too late, or never, by our fault."""
        return self.figures.outcomes[Outcome.ERROR]

    @property
    def theirs(self) -> int:
        """That failed by Discord's fault."""
        return self.figures.outcomes[Outcome.UPSTREAM]


@dataclass(frozen=True, slots=True)
class Shard:
    """One connection as it was last sampled."""

    number: int
    latency_us: float | None
    age_us: float | None

    @property
    def state(self) -> tuple[str, str]:
        """The badge: its words, and its style."""
        if self.age_us is not None and self.age_us > STALE_S * 1e6:
            return "no heartbeat", "degraded"
        return ("connected", "healthy") if self.latency_us is not None else ("no heartbeat yet", "unknown")


@dataclass(frozen=True, slots=True)
class LastRun:
    """When a loop's last iteration ended, and how many milliseconds late it had begun."""

    end_us: int
    late_us: float

    @classmethod
    def of(cls, one: OperationRecord) -> LastRun:
        """That of its operation."""
        late = one.metadata.get("late_ms")
        return cls(one.end_us, late * 1000 if isinstance(late, int | float) else 0.0)


async def show_discord(monitor: Monitor, ask: PageParams, request: web.Request) -> web.Response:
    """Everything between the bot and Discord."""
    view = PageView(monitor, request, ask, "discord")
    found = await loops(monitor.query, view.span, monitor.watcher.loops())
    shards = shards_of(monitor.gauges)
    every, commands = await _responses(view)
    return await answer(
        view,
        "discord.html",
        title="Discord",
        every=every,
        commands=commands,
        shards=shards,
        slowest=[f"{LATENCY}{one.number}" for one in sorted(shards, key=_slowness)[:MOST_LINES]],
        gauges=monitor.gauges,
        counters=COUNTERS,
        scopes=SCOPES,
        invalid_limit=INVALID_LIMIT,
        requests=await _requests(view),
        stalls=await stalls(monitor.query, view.span, limit=MOST_STALLS),
        loops=found.loops[:MOST_LOOPS],
        left_out=max(len(found.loops) - MOST_LOOPS, 0),
        runs=await _last_runs(view, found),
        around=await around(view),
        latency=heartbeat_limit(view),
    )


def shards_of(gauges: Mapping[str, float]) -> list[Shard]:
    """Every shard that has gauges, by its number."""
    numbers = {
        int(name.rpartition("_")[2])
        for name in gauges
        if name.startswith((LATENCY, HEARTBEAT)) and name.rpartition("_")[2].isdecimal()
    }
    return [
        Shard(number, _times(gauges.get(f"{LATENCY}{number}"), 1e3), _times(gauges.get(f"{HEARTBEAT}{number}"), 1e6))
        for number in sorted(numbers)
    ]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _slowness(one: Shard) -> tuple[float, int]:
    return -(one.latency_us or 0.0), one.number


async def _responses(view: PageView) -> tuple[Responses | None, list[Responses]]:
    """First responses to everything, None where there were none, and by command, the slowest first."""
    series = [one for one in await view.monitor.store.series() if one.service == ACKNOWLEDGEMENT]
    if not series:
        return None, []
    span, place = view.span, {one.operation: number for number, one in enumerate(series)}
    groups = {one.id: place[one.operation] for one in series}
    totals = await view.monitor.store.totals(span.since_us, span.until_us, groups=groups)
    first, last = (int(bucket_of(border_us)) + 1 for border_us in (NEAR_US, GIVEN_UP_US))
    near = totals.buckets.sum(axis=0)[:, first:last].sum(axis=1).tolist()
    each = await view.monitor.query.operations(ACKNOWLEDGEMENT, span)
    every = Responses("", figures(totals, span), sum(near))
    commands = [Responses(name, one, near[place[name]]) for name, one in each.items()]
    commands.sort(key=lambda one: (-one.missed, -(one.figures.p95_us or 0)))
    return (every if every.figures.operations else None), commands[:MOST_COMMANDS]


async def _requests(view: PageView) -> list[tuple[str, Figures]]:
    """Requests to Discord, those that failed or were refused the most first, then the busiest."""
    found = await view.monitor.query.operations(REST, view.span)
    ranked = sorted(found.items(), key=lambda one: (-_unwelcome(one[1]), -one[1].operations))
    return ranked[:MOST_REQUESTS]


def _unwelcome(one: Figures) -> int:
    return one.operations - one.outcomes[Outcome.OK]


async def _last_runs(view: PageView, found: Loops) -> dict[str, LastRun]:
    """The newest iteration of each loop that is shown."""
    ids = {one.operation: one.id for one in await view.monitor.store.series() if one.service == TASKS}
    runs = {}
    for loop in found.loops[:MOST_LOOPS]:
        if loop.name in ids:
            newest = await view.monitor.store.recent([ids[loop.name]], view.span.since_us, view.span.until_us, limit=1)
            if newest:
                runs[loop.name] = LastRun.of(newest[0])
    return runs
