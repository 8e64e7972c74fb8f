"""The thresholds in effect are the same in the bot, in its database and in its API, and so is what they judge."""

import socket

import discord
import pytest
from discord.ext import commands

from cogmeter.diagnosis import Status
from cogmeter.diagnostics.health import Health
from cogmeter.diagnostics.judgement import judge
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.web.server.servers import Servers
from cogmeter_bot.sources.api import ApiSource
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.diagnosis import is_slow, judge_stats


@pytest.fixture
async def monitor(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"sqlite:///{tmp_path / 'performance.db'}"
    bot = commands.Bot("!", intents=discord.Intents.default())
    settings = Settings(_env_file=None, database_url=url, http_port=port, watch_stalls=False)
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    await servers.start()
    for number in range(100):
        monitor.recorder.record("chat", "ask", duration_ms=20, error="gone" if number < 20 else None)
    await monitor.flusher.flush()
    yield monitor
    await servers.stop()
    await monitor.stop()
    await bot.close()


async def statuses(monitor):
    """Return the status of the service on every surface."""
    settings = Settings(_env_file=None)  # of the machine that the command line runs on
    stats = await monitor.query.stats("chat", None, Period.HOUR)
    found = {"embed": judge(stats.total, monitor.alerting.limits, "chat").status}
    health = Health(monitor)
    found["health"] = (await health.services())["chat"].check.status
    sources = (
        await DatabaseSource.open(settings, monitor.settings.database_url),
        await ApiSource.open(f"http://127.0.0.1:{monitor.settings.http_port}", None, settings),
    )
    for source in sources:
        service = await source.service("chat", None, Period.HOUR.range_at(now_us()))
        found[type(source).__name__] = judge_stats(service, await source.limits(), "chat").status
        await source.close()
    return found


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        ({}, Status.UNHEALTHY),
        ({"error_rate": "0"}, Status.HEALTHY),  # switched off
        ({"error_rate@chat": "0.5"}, Status.HEALTHY),
        ({"error_rate": "0", "error_rate@chat": "0.15"}, Status.DEGRADED),
        ({"error_rate": "0", "response_time@chat": "15"}, Status.DEGRADED),
        ({"error_rate.min_operations": "500"}, Status.UNKNOWN),
    ],
)
async def test_every_surface_judges_by_the_thresholds_in_effect(monitor, overrides, status):
    if overrides:
        await monitor.override(overrides, "a test")
    assert set((found := await statuses(monitor)).values()) == {status}, found


async def test_a_slow_operation_is_judged_by_the_threshold_of_its_own_operation(monitor):
    await monitor.override({"response_time": "15", "response_time@chat": "30"}, "a test")
    source = await DatabaseSource.open(Settings(_env_file=None), monitor.settings.database_url)
    slowest = await source.slowest(Period.HOUR.range_at(now_us()), None, None, limit=1)
    (operation,) = slowest.operations
    limits = await source.limits()
    assert not is_slow(operation, limits)
    assert is_slow(operation.model_copy(update={"service": "other"}), limits)
    await source.close()
