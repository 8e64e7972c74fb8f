"""Measure pushing by OTLP: CPU against OpenTelemetry's own SDK, loop lag, and memory while the endpoint is away.

Run ``python benchmarks/push.py [--short]``. The endpoint is another process that reads each request. CPU is that of
this process: reading a minute of 2,000 series from the store, encoding, compressing and sending it. The peer collects
and sends the same series from its instruments. For memory, operations of an hour at 1,000 per second are stored while
every attempt to push fails; then the endpoint is back, and everything is sent. The peer stores them without a pusher,
in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil
from loop_lag import ticking
from timing import Spread, at_most, interleaved, missing, parser, percentile, ratio, row, sized

from cogmeter.push.base import Cursor, Origin
from cogmeter.push.otlp import OtlpTarget
from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter.push.pusher import Pusher
from cogmeter_storage import open_store
from cogmeter_storage.clock import Clock
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from cogmeter_storage import Store

SERIES, EACH = 2_000, 10  # operations of each series in the minute
PER_MINUTE, SERIES_OF_HOUR = 60_000, 50
START_US = 1_800_000_000_000_000
SERVER = """
from aiohttp import web
async def accept(request):
    await request.read()
    return web.Response()
app = web.Application(client_max_size=2**26)
app.router.add_route("*", "/{tail:.*}", accept)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None)
"""


@contextmanager
def endpoint() -> Iterator[str]:
    """Serve an endpoint in another process; yield its address."""
    with asyncio.Runner() as runner:
        port = runner.run(free_port())
    with subprocess.Popen([sys.executable, "-c", SERVER.replace("PORT", str(port))]) as process:
        with asyncio.Runner() as runner:
            runner.run(answering(port))
        yield f"http://127.0.0.1:{port}"
        process.kill()


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        return server.sockets[0].getsockname()[1]


async def answering(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def pusher_to(url: str, store: Store) -> Pusher:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    target = OtlpTarget(read_otlp_variables(variables), Origin("bench", "0", "host"))
    return Pusher(target, lambda: store, interval_s=60)


async def wide_minute(folder: str) -> Store:
    """Return a store with one minute of 2,000 series."""
    store = await open_store(f"sqlite:///{Path(folder) / 'wide.db'}")
    ids = await store.series_ids([(f"service {n % 40}", f"operation {n}") for n in range(SERIES)])
    rows = [
        (number, START_US + turn, 1_000 + 997 * ((number * 31 + turn * 7) % 5_000), 0, None, None)
        for turn in range(EACH)
        for number in ids
    ]
    await store.append([rows[at : at + 1_000] for at in range(0, len(rows), 1_000)], now_us=START_US + MINUTE_US)
    return store


async def push_again(pusher: Pusher) -> None:
    """Push the minute, whether or not it was pushed before."""
    pusher._cursor = Cursor(START_US)
    await pusher.push()


async def lag(url: str, rounds: int, seconds: float) -> None:
    idle: list[list[float]] = []
    busy: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = await wide_minute(folder)
        pusher = pusher_to(url, store)
        await push_again(pusher)
        for _ in range(rounds):
            idle.append([])
            async with ticking(idle[-1]):
                await asyncio.sleep(seconds)
            busy.append([])
            async with ticking(busy[-1]):
                until_s = time.perf_counter() + seconds
                while time.perf_counter() < until_s:
                    await push_again(pusher)
        await store.close()
    more = Spread.of(percentile(b, 0.99) - percentile(i, 0.99) for b, i in zip(busy, idle, strict=True))
    quiet, loud = (percentile([late for of_round in lates for late in of_round], 0.99) for lates in (idle, busy))
    row(
        f"loop lag, {SERIES:,} series are pushed all the time",
        f"p99 {loud:.2f} ms",
        peer="idle p99, same run",
        ratio=f"{loud - quiet:+.2f} ms ({more.low:+.2f} to {more.high:+.2f})",
        goal=at_most(loud - quiet, 2.0, " ms more"),
    )


def sdk_push(url: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that collects and sends the same series by OpenTelemetry's SDK, and one that ends it."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    exporter = OTLPMetricExporter(endpoint=f"{url}/v1/metrics", compression=Compression.Gzip)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=86_400_000)
    view = View(instrument_name="operation.duration", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    meter = provider.get_meter("bench")
    counter, histogram = meter.create_counter("operations"), meter.create_histogram("operation.duration", "s")
    for turn in range(EACH):
        for number in range(1, SERIES + 1):
            named = {"service": f"service {(number - 1) % 40}", "operation": f"operation {number - 1}"}
            histogram.record((1_000 + 997 * ((number * 31 + turn * 7) % 5_000)) / 1e6, named)
            counter.add(1, named | {"outcome": "ok"})
    return reader.force_flush, provider.shutdown


def cpu(url: str, rounds: int) -> None:
    try:
        theirs, end = sdk_push(url)
    except ImportError as error:
        missing("CPU of a push", error)
        return
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = runner.run(wide_minute(folder))
        pusher = pusher_to(url, store)

        def timed(work: Callable[[], object]) -> float:
            start = time.process_time()
            work()
            return (time.process_time() - start) * 1e3

        cases = {"ours": lambda: timed(lambda: runner.run(push_again(pusher))), "sdk": lambda: timed(theirs)}
        found = interleaved(cases, rounds)
        runner.run(store.close())
    end()
    row(
        f"CPU of a push, {SERIES:,} series",
        f"{Spread.of(found['ours']):.0f} ms",
        peer=f"OpenTelemetry SDK {Spread.of(found['sdk']):.0f} ms",
        ratio=f"{ratio(found['ours'], found['sdk']):.2f}",
    )


async def stored(minutes: int, attempt: Callable[[], Awaitable[object]], store: Store, shown: list[int]) -> float:
    """Store operations, with an attempt after each minute; return the growth of memory after the fifth in MB."""
    ids = await store.series_ids([("service", f"operation {n}") for n in range(SERIES_OF_HOUR)])
    step, settled = MINUTE_US // PER_MINUTE, 0
    for minute in range(minutes):
        rows = [
            (ids[n % SERIES_OF_HOUR], shown[0] + n * step, 1_000 + 17 * (n % 9_000), 0, None, None)
            for n in range(PER_MINUTE)
        ]
        shown[0] += MINUTE_US
        await store.append([rows[at : at + 1_000] for at in range(0, PER_MINUTE, 1_000)], now_us=shown[0])
        await attempt()
        if minute == min(4, minutes - 1):
            settled = psutil.Process().memory_info().rss
    return (psutil.Process().memory_info().rss - settled) / 1e6


async def alone(minutes: int) -> None:
    """Print the growth of memory without a pusher."""
    shown = [START_US]
    with tempfile.TemporaryDirectory() as folder, patch.object(Clock, "now_ns", lambda _: shown[0] * 1000):
        store = await open_store(f"sqlite:///{Path(folder) / 'hour.db'}")
        print(await stored(minutes, lambda: asyncio.sleep(0), store, shown))
        await store.close()


async def outage(url: str, minutes: int) -> None:
    """Store operations while every attempt fails, then push them all."""
    command = [sys.executable, __file__, "--alone", str(minutes)]
    without = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    shown = [START_US]
    with tempfile.TemporaryDirectory() as folder, patch.object(Clock, "now_ns", lambda _: shown[0] * 1000):
        store = await open_store(f"sqlite:///{Path(folder) / 'hour.db'}")
        pusher = pusher_to("http://127.0.0.1:9", store)  # the port of discard: nothing listens
        await pusher._attempt()
        grown = await stored(minutes, pusher._attempt, store, shown)
        before = psutil.Process().memory_info().rss
        back = pusher_to(url, store)
        start, cpu_start = time.perf_counter(), time.process_time()
        await back.push()
        took, used = time.perf_counter() - start, time.process_time() - cpu_start
        caught_up = (psutil.Process().memory_info().rss - before) / 1e6
        assert back.operations == minutes * PER_MINUTE, back.operations
        await store.close()
    more = grown - without
    row(
        f"memory, {minutes} min without endpoint at 1,000/s",
        f"{grown:+.1f} MB after the first 5 min",
        peer=f"without a pusher {without:+.1f} MB",
        ratio=f"{more:+.1f} MB",
        goal=at_most(more, 5.0, " MB more"),
    )
    row("memory, while everything is sent", f"{caught_up:+.1f} MB", goal=at_most(caught_up, 10.0, " MB"))
    row("catching up", f"{took:.1f} s, {used:.1f} s CPU for {minutes * PER_MINUTE:,} operations")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--alone", type=int, metavar="MINUTES", help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.alone:
        asyncio.run(alone(options.alone))
        return
    with endpoint() as url:
        cpu(url, sized(options, 30, 8, 1))
        asyncio.run(lag(url, sized(options, 20, 5, 1), sized(options, 2.0, 1.0, 0.2)))
        asyncio.run(outage(url, sized(options, 60, 15, 1)))


if __name__ == "__main__":
    main()
