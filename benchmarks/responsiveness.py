"""Measure how long each route, slash command and autocomplete blocks the loop, with 2,000 services stored.

Run ``python benchmarks/responsiveness.py [--short] [--only WORD] [--database PATH]``. The services have names of 100
letters and a week of operations; 200 operations a second are recorded, 100 services fail and alerts fire at the same
time. A separate process requests the routes over a socket; the commands run through the simulated Discord. Hostile
inputs have 6,000 letters, which is the most that Discord passes on.

Every callback and every step of a task that the loop runs is timed. A row shows the longest one during a request: its
CPU time (what the step itself needs), its wall time (including what other threads and processes take of the machine),
and the delay of a task that runs every millisecond. All are medians over the repeats. The step is named, because
background work runs at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import discord
import numpy as np
from discord.ext import commands
from loop_steps import Case, Steps, measure
from timing import parser, row, sized

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.background import detached
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, env_name
from cogmeter.web.pages.table import PAGE_ROUTES
from cogmeter.web.server.app import ROUTES
from cogmeter.web.server.servers import Servers
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from cogmeter.web.api.routing import Route
    from cogmeter_storage import Row

SERVICES, LETTERS, OPERATIONS = 2_000, 100, 700_000
HOSTILE = 6_000  # letters of an input
LOAD_PER_S, FAILING = 200, 100  # operations; services that fail
COSTS = 100  # services and models with costs on each of 90 days
TOKEN = "a-token-of-more-than-32-characters-for-benchmarks"
WORDS = ("fetch", "discord", "commands", "knowledge", "graph", "query", "sentiment", "analysis", "user", "profile")


def name_of(number: int) -> str:
    """Return a service's name: words, 100 letters, unique."""
    chance = random.Random(number)
    return f"{number:04}-{'-'.join(chance.choice(WORDS) for _ in range(20))}"[:LETTERS]


def hostile(letters: int = HOSTILE) -> str:
    """Return a long text of the same words that is similar to every name and equal to none."""
    chance = random.Random(7)
    return "-".join(chance.choice(WORDS) for _ in range(letters // 4))[:letters]


# The store: a week of few operations of each of many services.


def rows(until_us: int) -> Iterator[list[Row]]:
    numbers = np.random.default_rng(7)
    ends = until_us - 7 * DAY_US + np.arange(OPERATIONS) * (7 * DAY_US) // OPERATIONS
    series = numbers.integers(0, SERVICES, OPERATIONS) + 1
    durations = (numbers.lognormal(3.5, 1.0, OPERATIONS) * 1000).astype(np.int64)
    outcomes = numbers.choice(5, OPERATIONS, p=(0.96, 0.02, 0.005, 0.01, 0.005))
    failed = np.isin(outcomes, (1, 2)).tolist()
    errors = [f"could not reach the server, try {number % 500}" if one else None for number, one in enumerate(failed)]
    columns = [series.tolist(), ends.tolist(), durations.tolist(), outcomes.tolist(), errors, [None] * OPERATIONS]
    made = list(zip(*columns, strict=True))
    for start in range(0, OPERATIONS, 50_000):
        yield made[start : start + 50_000]


async def build(path: Path) -> None:
    if path.exists():
        return
    store = await open_store(f"sqlite:///{path.absolute()}")
    await store.series_ids([(name_of(number), "run") for number in range(SERVICES)])
    until_us = time.time_ns() // 1000
    for batch in rows(until_us):
        await store.append((batch[at : at + 1_000] for at in range(0, len(batch), 1_000)), now_us=batch[-1][1])
    await store.fold(now_us=until_us)
    await store.close()


def spend(monitor: Monitor) -> None:
    now_us = time.time_ns() // 1000
    for day in range(90):
        for number in range(COSTS):
            metadata = {"model": f"model-{number % 7}", "cost_usd": 0.01, "tokens_in": 10, "tokens_out": 20}
            monitor.alerting.evaluator.spending.add(name_of(number), now_us - day * DAY_US, metadata)


async def load(recorder: Recorder) -> None:
    chance, number = random.Random(3), 0
    while True:
        for _ in range(LOAD_PER_S // 20):
            number += 1
            failing = number % 10 == 0
            service = name_of(chance.randrange(FAILING) if failing else chance.randrange(SERVICES))
            error = f"broken {number % 50}" if failing else None
            recorder.record(service, "run", duration_ms=chance.lognormvariate(3.5, 1.0), error=error)
        await asyncio.sleep(0.05)


# Routes, requested by a separate process.


def ask_all(url: str) -> None:
    """Run the client: read one request per line from the input, and write one line for each answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            body = wanted["body"]
            connection.request(wanted["method"], wanted["path"], body, wanted["headers"])
            answer = connection.getresponse()
            if wanted["live"]:
                size = sum(len(answer.readline()) for _ in range(wanted["live"]))
                connection.close()
            else:
                size = len(answer.read())
            print(f"{answer.status}, {size / 1000:.0f} kB", flush=True)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            print(f"{type(error).__name__}", flush=True)


class Client:
    """The other end of ``ask_all``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str) -> Client:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--ask", url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        )

    async def ask(
        self, method: str, path: str, *, body: str | None = None, token: bool = True, live: int = 0, **headers: str
    ) -> str:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {TOKEN}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        wanted = {"method": method, "path": path, "body": body, "headers": sent, "live": live}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(wanted).encode() + b"\n")
        return (await stdout.readline()).decode().strip()

    async def stop(self) -> None:
        self._process.terminate()
        await self._process.wait()


class RouteCases(list[Case]):
    """Every reading route, plain and with hostile values for each of its texts; and every changing route."""

    def __init__(self, client: Client, alert: str) -> None:
        super().__init__()
        self._client = client
        self._values = {"service": name_of(1), "id": alert}
        for route in (*ROUTES, *PAGE_ROUTES):
            if route.method == "GET":
                self._of_route(route)
        self._of_questions()
        self._of_changes()

    def add(self, name: str, method: str, path: str, **options: Any) -> None:
        self.append(Case(name, lambda: self._client.ask(method, path, **options)))

    def _of_route(self, route: Route) -> None:
        wild, other = quote(hostile()), quote(hostile(LETTERS))
        path = route.path
        for name, value in self._values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        if route.path.endswith("/export"):  # a day as JSON takes a minute: it has a pass for each service
            path += "?since=" + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600))
        options: dict[str, Any] = {"live": 12} if route.path.endswith("/live") else {}
        if route in PAGE_ROUTES:
            options["Accept"] = "text/html"
        self.add(f"GET {route.path}", "GET", path, **options)
        if "{" in route.path:
            below = route.path.split("{")[0]
            self.add(f"GET {route.path}, 6,000 letters", "GET", below + wild, **options)
            self.add(f"GET {route.path}, unknown of 100 letters", "GET", below + other, **options)
        for name, info in () if route.query is None else route.query.model_fields.items():
            if f"{{{name}}}" not in route.path:
                alias, mark = info.alias or name, "&" if "?" in path else "?"
                self.add(f"GET {route.path}?{alias}=, 6,000 letters", "GET", f"{path}{mark}{alias}={wild}", **options)

    def _of_questions(self) -> None:
        add, wild = self.add, quote(hostile())
        other = quote(hostile(LETTERS))
        many = ",".join(quote(f"{number}{hostile(LETTERS - 3)}") for number in range(100))
        known = ",".join(quote(name_of(number)) for number in range(100))
        api = "/api/performance"
        for path in ("series", "operations", "errors", "traces", "costs"):
            add(f"GET {api}/{path}?service= unknown", "GET", f"{api}/{path}?service={other}")
        add(
            f"GET {api}/series?operation= unknown", "GET", f"{api}/series?service={quote(name_of(1))}&operation={other}"
        )
        for path in ("dashboard", "slowest"):
            add(f"GET {api}/{path}?services= 100 unknown", "GET", f"{api}/{path}?services={many}")
            add(f"GET {api}/{path}?services= 100 known", "GET", f"{api}/{path}?services={known}")
        add(f"GET {api}/slowest?operation= unknown", "GET", f"{api}/slowest?operation={other}")
        week = "since=" + time.strftime("%Y-%m-%d", time.gmtime(time.time() - 8 * 86_400))
        for path in ("dashboard", "errors", "slowest", "stalls", "loops", "gauges", "markers"):
            add(f"GET {api}/{path}, a week", "GET", f"{api}/{path}?{week}")
        add(f"GET {api}/series, a week by the minute", "GET", f"{api}/series?{week}&step=60")
        add(f"GET {api}/costs, 90 days", "GET", f"{api}/costs?since=2020-01-01")
        add(f"GET {api}/operations, 200", "GET", f"{api}/operations?limit=200")
        for form in ("csv", "prometheus", "ndjson"):
            add(f"GET {api}/export, {form}", "GET", f"{api}/export?format={form}", Accept_Encoding="gzip")
        add(f"GET {api}/alerts, history, 200", "GET", f"{api}/alerts?state=history&limit=200")
        add("GET /metrics, OpenMetrics", "GET", "/metrics", Accept="application/openmetrics-text;version=1.0.0")
        add("GET /performance, 7 days", "GET", "/performance?period=7d", Accept="text/html")
        add("GET /performance?service= unknown", "GET", f"/performance?service={other}", Accept="text/html")
        add("GET /performance/cost?service= unknown", "GET", f"/performance/cost?service={other}", Accept="text/html")
        add("GET /health/ai-services/unknown, no token", "GET", f"/health/ai-services/{other}", token=False)
        add("GET /health/ai-services, no token", "GET", "/health/ai-services", token=False)
        add("GET nothing, 6,000 letters", "GET", f"/{wild}", token=False)
        add("GET with 60 headers", "GET", "/health", **{f"X_{number}": hostile(500) for number in range(60)})

    def _of_changes(self) -> None:
        add, wild, api = self.add, quote(hostile()), "/api/performance"
        form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": "http://localhost", "token": False}
        add("POST /performance/login, 6,000 letters", "POST", "/performance/login", body=f"token={wild}", **form)
        add("PUT thresholds, hostile key", "PUT", f"{api}/thresholds", body=json.dumps({"values": {hostile(300): 1}}))
        preview = json.dumps({"values": {"error_rate": "5%", "response_time": 1900, "throughput": 10}})
        add("PUT thresholds, dry run of three", "PUT", f"{api}/thresholds?dryRun=true", body=preview)
        mute = json.dumps({"service": hostile(LETTERS), "seconds": 60})
        add("POST mutes, unknown service", "POST", f"{api}/mutes", body=mute)
        add("POST mutes, 64 kB", "POST", f"{api}/mutes", body=json.dumps({"reason": hostile(60_000)}))
        faults = json.dumps(dict.fromkeys(map(str, range(6_000)), 1))
        add("POST mutes, 6,000 faults", "POST", f"{api}/mutes", body=faults)
        add("POST mutes, deep JSON", "POST", f"{api}/mutes", body="[" * 30_000)
        add("POST markers", "POST", f"{api}/markers", body=json.dumps({"name": name_of(1)}))


@contextlib.contextmanager
def environment(**values: object) -> Iterator[None]:
    names = [name for name in os.environ if name.startswith("PERFORMANCE_")]
    before = {name: os.environ.pop(name) for name in names}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


async def routes(path: Path, repeats: int, only: str) -> None:
    logging.getLogger("cogmeter").addHandler(logging.NullHandler())
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    bot = commands.Bot("!", intents=discord.Intents.none())
    settings = Settings(
        _env_file=None,
        http_port=port,
        dashboard_port=port,
        analytics_dashboard=True,
        http_token=TOKEN,
        database_url=f"sqlite:///{path.absolute()}",
        alert_window=60,
    )
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    await servers.start()
    spend(monitor)
    client = await Client.start(f"http://127.0.0.1:{port}")
    loading = detached(load(monitor.recorder), name="load")
    with Steps() as steps:
        ticking = detached(steps.tick(), name="ticking")
        await asyncio.sleep(75)  # a window of the alerts, and some more
        active = monitor.alerting.engine.active
        row("active alerts", f"{len(active)}")
        cases = RouteCases(client, active[0].uid if active else "none")
        await measure([Case("idle, the load alone, 10 s", idle)], steps, min(repeats, 3))
        await measure([one for one in cases if only in one.name], steps, repeats)
        ticking.cancel()
    loading.cancel()
    await asyncio.gather(loading, ticking, return_exceptions=True)
    await client.stop()
    await servers.stop()
    await monitor.stop()
    await bot.close()


async def idle() -> str:
    await asyncio.sleep(10)
    return ""


# Commands, through the simulated Discord.


def command_cases(owner: Any, channel: Any) -> list[Case]:
    cases = []
    wild, other, known = hostile(), hostile(LETTERS), name_of(1)

    def add(command: str, what: str, **options: str) -> None:
        async def ask() -> str:
            result = await owner.slash(channel, command, **options)
            message = result.response
            return (message.embeds[0].title if message.embeds else message.content or "")[:40].replace("|", "/")

        cases.append(Case(f"/{command} {what}".strip(), ask))

    def complete(command: str, option: str, typed: str, what: str, **others: str) -> None:
        async def ask() -> str:
            return f"{len(await owner.autocomplete(channel, command, option, typed, **others))} choices"

        cases.append(Case(f"/{command}: completing {option} {what}".strip(), ask))

    add("perf summary", "")
    add("perf summary", "a month", period="30d")
    for what, service in (("", known), ("unknown", other), ("6,000 letters", wild)):
        add("perf stats", what, service=service)
        add("perf stats", f"a week, {what}", service=service, period="7d")
        add("perf alerts", f"of {what}", service=service)
        add("perf thresholds view", f"of {what}", service=service)
        add("perf mute", f"of {what}", duration="1m", service=service)
        add("perf unmute", f"of {what}", service=service)
        add("perf thresholds set", f"of {what}", rule="error_rate", value="7%", service=service)
        add("perf thresholds reset", f"of {what}", rule="error_rate", service=service)
    add("perf stats", "operation of 6,000 letters", service=known, operation=wild)
    add("perf alerts", "")
    add("perf alerts", "history", state="history")
    add("perf thresholds view", "")
    add("perf thresholds set", "6,000 letters as rule", rule=wild, value="7%")
    add("perf thresholds set", "6,000 letters as value", rule="error_rate", value=wild)
    add("perf thresholds set", "6,000 digits as value", rule="error_rate", value="7" * HOSTILE)
    add("perf thresholds set", "all services", rule="error_rate", value="7%")
    add("perf thresholds audit", "")
    add("perf mute", "6,000 letters as duration", duration=wild, service="all")
    add("perf mute", "6,000 parts as duration", duration="1m" * 3_000, service="all")
    add("perf unmute", "6,000 letters", mute=wild)
    add("perf report", "")
    add("perf report", "a month", period="30d")
    add("perf test-alert", "")
    add("perf doctor", "")
    texts = (("", "nothing typed"), ("knowl", "5 letters"), (other, "100 letters"), (wild, "6,000 letters"))
    for typed, what in texts:
        complete("perf stats", "service", typed, what)
        complete("perf stats", "operation", typed, what, service=known)
        complete("perf mute", "service", typed, what)
        complete("perf mute", "rule", typed, what)
        complete("perf unmute", "mute", typed, what)
        complete("perf thresholds set", "rule", typed, what)
        complete("perf alerts", "service", typed, what)
    return cases


@contextlib.asynccontextmanager
async def simulated() -> AsyncIterator[tuple[Any, commands.Bot]]:
    import simcord

    bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=1)
    async with simcord.run(bot, settle_timeout=60, check_errors=False) as env:
        guild = env.create_guild("home")
        channel, owner = guild.create_text_channel("ops"), env.create_user("owner")
        member = guild.add_member(owner)
        bot.owner_id = owner.id
        await bot.load_extension("cogmeter.cog")
        await env.settle()
        try:
            yield (member, channel), bot
        finally:
            await bot.unload_extension("cogmeter.cog")


async def slash_commands(path: Path, repeats: int, only: str) -> None:
    import cogmeter

    logging.getLogger("cogmeter").addHandler(logging.NullHandler())
    settings: Mapping[str, object] = {
        env_name("database_url"): f"sqlite:///{path.absolute()}",
        env_name("sync_commands"): "true",
        env_name("alert_window"): "60",
        env_name("alert_threshold_stall"): "0",
    }
    with environment(**settings):
        async with simulated() as ((owner, channel), bot):
            spend(bot.get_cog("cogmeter").monitor)
            loading = detached(load(cogmeter.default_recorder), name="load")
            with Steps() as steps:
                steps.ignored = asyncio.current_task()  # it plays the user, with all that the simulation does for it
                cases = command_cases(owner, channel)
                await measure([one for one in cases if only in one.name], steps, repeats)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def main() -> None:
    if sys.argv[1:2] == ["--ask"]:
        ask_all(sys.argv[2])
        return
    options = parser(__doc__)
    options.add_argument("--only", default="", help="cases whose name has this in it")
    options.add_argument("--part", choices=("routes", "commands"), help="one of the two parts")
    options.add_argument("--database", type=Path, help="built there once, and used again")
    chosen = options.parse_args()
    repeats = sized(chosen, 7, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.database or Path(folder) / "many.db"
        asyncio.run(build(path))
        if chosen.part != "commands":
            asyncio.run(routes(path, repeats, chosen.only))
        if chosen.part != "routes":
            asyncio.run(slash_commands(path, repeats, chosen.only))


if __name__ == "__main__":
    main()
