"""Measure the CPU time per HTTP request to another host: without and with cogmeter, and with OpenTelemetry.

The requests go to a server in another process, in batches that alternate; each batch installs and removes the hooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import subprocess
import sys
import time

import discord
from discord.ext import commands
from timing import Spread, at_most, difference, missing, parser, row, sized

from cogmeter import Recorder
from cogmeter.settings import Settings
from cogmeter.watch.dependencies.http import HttpClients
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.surface import WatchContext

BATCH = 200  # requests before another variant has its turn
WARM = 50  # requests before them that are not measured

SERVER = """
import asyncio
from aiohttp import web

async def answer(request):
    return web.json_response({"answer": 42})

async def main():
    application = web.Application()
    application.add_routes([web.get("/answer", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.contextmanager
def another_host():
    """Yield an address of an HTTP server in another process."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/answer"
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def requests_of(client: str):
    """Yield a function that sends one request by a client and reads the answer."""
    if client == "aiohttp":
        import aiohttp

        async with aiohttp.ClientSession() as session:

            async def get(url: str) -> None:
                async with session.get(url) as answer:
                    await answer.read()

            yield get
    else:
        import httpx

        async with httpx.AsyncClient(trust_env=False) as session:
            yield session.get


def otel_switch():
    """Return the context manager that switches OpenTelemetry's instrumentation of httpx on; None if it is missing."""
    try:
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError as error:
        missing("OpenTelemetry's httpx instrumentation", error)
        return None
    instrumentor, provider = HTTPXClientInstrumentor(), TracerProvider()  # records spans, exports none

    @contextlib.asynccontextmanager
    async def switched_on():
        instrumentor.instrument(tracer_provider=provider)
        yield
        instrumentor.uninstrument()

    return switched_on


@contextlib.asynccontextmanager
async def watched_requests():
    """Install the surface that watches requests, with a recorder of its own."""
    recorder = Recorder()
    bot, settings = commands.Bot("!", intents=discord.Intents.none()), Settings(_env_file=None)
    surface = HttpClients(WatchContext(bot, settings, recorder, InteractionTracker(recorder, slow_ms=1_000)))
    await surface.install()
    yield
    await surface.remove()
    assert len(recorder.buffer) == WARM + BATCH


async def requested(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return CPU microseconds per request by variant and client, one of each round."""
    figures: dict[str, dict[str, list[float]]] = {}
    variants = {"bare": contextlib.nullcontext, "cogmeter": watched_requests}
    otel = otel_switch()
    with another_host() as url:
        for client in ("aiohttp", "httpx"):
            if client == "httpx" and otel is not None:
                variants["otel"] = otel
            async with requests_of(client) as get:
                for number in range(-5, rounds):
                    for variant in random.sample(sorted(variants), len(variants)):
                        async with variants[variant]():
                            for _ in range(WARM):  # the interpreter specialises code again after a hook has changed
                                await get(url)
                            gc.collect()  # what the change has left is no cost of a request
                            began = time.process_time()
                            for _ in range(BATCH):
                                await get(url)
                            taken = (time.process_time() - began) / BATCH * 1e6
                        if number >= 0:
                            figures.setdefault(variant, {}).setdefault(client, []).append(taken)
    return figures


def main() -> None:
    options = parser(__doc__).parse_args()
    logging.disable(logging.WARNING)
    report(asyncio.run(requested(sized(options, 150, 30, 1))))


def report(figures) -> None:
    for client in ("aiohttp", "httpx"):
        bare = figures["bare"][client]
        more = difference(figures["cogmeter"][client], bare)
        otel = figures.get("otel", {}).get(client)
        peer = f"OpenTelemetry {difference(otel, bare):.1f}" if otel else ""
        goal = at_most(more.median, 15.0, " us")
        figure = f"{more:.1f}, bare {Spread.of(bare).median:.0f}"
        row(f"watch: us more per request of {client}", figure, peer=peer, goal=goal)


if __name__ == "__main__":
    main()
