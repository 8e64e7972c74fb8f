"""A reload of the extension leaves nothing of the former monitor in memory, whatever was used before."""

import contextlib
import gc
import socket
import weakref

import aiohttp
import pytest

import cogmeter

pytestmark = pytest.mark.slow

ROUNDS = 10


@pytest.fixture
def address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def parts_of(cog):
    """Weak references to what must not outlive a reload."""
    monitor = cog.monitor
    parts = {
        "cog": cog,
        "servers": cog.servers,
        "monitor": monitor,
        "store": monitor.store,
        "query": monitor.query,
        "flusher": monitor.flusher,
        "alerting": monitor.alerting,
        "watcher": monitor.watcher,
        "charts": monitor.charts,
    }
    return {name: weakref.ref(part) for name, part in parts.items()}


async def visited(address):
    """Ask for every kind of page, and leave a live stream open; returns what closes it."""
    session = aiohttp.ClientSession()
    for path in ("/health", "/performance", "/performance/chart.png", "/api/performance/dashboard", "/metrics", "/no"):
        async with session.get(address + path) as answer:
            assert answer.status in {200, 404, 503}, await answer.text()
    stream = await session.get(f"{address}/api/performance/live")
    await stream.content.readline()
    return session


async def used(home):
    """Use commands with a chart, with buttons that stay open, and while the user types."""
    summary = await home.owner.slash(home.channel, "perf summary")
    assert summary.response.attachments
    preview = await home.owner.slash(home.channel, "perf thresholds set", rule="error_rate", value="7%")
    assert preview.response.components
    assert await home.owner.autocomplete(home.channel, "perf stats", "service", "knowlege")
    unknown = await home.owner.slash(home.channel, "perf stats", service="knowlege-grap")
    assert "knowledge-graph" in unknown.response.embeds[0].description


@pytest.mark.timeout(300)
async def test_ten_reloads_with_commands_requests_streams_and_charts_leave_no_monitor_alive(move_in, address):
    port = address.rpartition(":")[2]
    settings = {
        "PERFORMANCE_HTTP_PORT": port,
        "PERFORMANCE_DASHBOARD_PORT": port,
        "ENABLE_ANALYTICS_DASHBOARD": "true",
    }
    former = []
    async with move_in(load=False, **settings) as home:
        for _ in range(ROUNDS):
            await home.bot.load_extension("cogmeter.cog")
            await home.env.settle()
            former.append(parts_of(home.bot.get_cog("cogmeter")))
            cogmeter.record("knowledge-graph", "query", duration_ms=3)
            await home.flushed()
            async with contextlib.AsyncExitStack() as streams:
                streams.push_async_callback((await visited(address)).close)
                await used(home)
                await home.bot.unload_extension("cogmeter.cog")
        await home.env.settle()
        gc.collect()
        alive = {name: sum(one[name]() is not None for one in former) for name in former[0]}
    assert alive == dict.fromkeys(alive, 0)
