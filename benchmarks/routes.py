"""Measure how long each route blocks the loop; a part of ``responsiveness.py``."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import discord
from discord.ext import commands
from loop_steps import Case, Steps, measure
from many_services import LETTERS, hostile, load, name_of, spend
from timing import row

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.background import detached
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.web.pages.table import PAGE_ROUTES
from cogmeter.web.server.app import ROUTES
from cogmeter.web.server.servers import Servers

if TYPE_CHECKING:
    from pathlib import Path

    from cogmeter.web.api.routing import Route

TOKEN = "a-token-of-more-than-32-characters-for-benchmarks"


def send_requests(url: str) -> None:
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
    """The other end of ``send_requests``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str) -> Client:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, __file__, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
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
        add(f"GET {api}/series, a week in minutes", "GET", f"{api}/series?{week}&step=60")
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


async def measure_routes(path: Path, repeats: int, only: str) -> None:
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


if __name__ == "__main__":
    send_requests(sys.argv[1])
