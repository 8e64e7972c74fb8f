"""The fleet is the same for the bot, its API and its database, and each source is narrowed to one process."""

from __future__ import annotations

import discord
import pytest
from discord.ext import commands
from fleet_store import FOUR, fill_fleet
from postgres_server import free_port

from cogmeter.diagnostics.process_health import fleet_health
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.web.server.servers import Servers
from cogmeter_bot.errors import RequestError
from cogmeter_bot.sources.api import ApiSource
from cogmeter_bot.sources.database import DatabaseSource


@pytest.fixture
async def monitor(postgres_url):
    """A monitor named ``self`` with its servers, on a database of four more processes."""
    await fill_fleet(postgres_url, FOUR)
    bot = commands.Bot("!", intents=discord.Intents.default())
    port = free_port()
    settings = Settings(
        _env_file=None, database_url=postgres_url, process_name="self", http_port=port, watch_stalls=False
    )
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    await servers.start()
    yield monitor
    await servers.stop()
    await monitor.stop()
    await bot.close()


async def sources(monitor, process=None):
    settings = monitor.settings
    yield await DatabaseSource.open(Settings(_env_file=None), settings.database_url, process)
    yield await ApiSource.open(f"http://127.0.0.1:{settings.http_port}", None, Settings(_env_file=None), process)


async def test_every_surface_judges_the_same_processes(monitor):
    own = await fleet_health(monitor.query, monitor.alerting.limits)
    expected = [(one.process.name, one.check.status, one.process.state) for one in own.processes]
    assert len(expected) == 5
    async for source in sources(monitor):
        answer = await source.fleet()
        assert [(one.name, one.status, one.state) for one in answer.processes] == expected
        diagnosis = await source.diagnosis(Period.HOUR.range_at(now_us()), None)
        (finding,) = [one for one in diagnosis.findings if one.name == "fleet"]
        assert (finding.well, finding.text.startswith("4 of 5 processes alive; silent: shards 4-7")) == (False, True)
        await source.close()


async def test_each_source_is_narrowed_to_one_process(monitor):
    hour = Period.HOUR.range_at(now_us())
    async for source in sources(monitor, "shards 8-11"):
        view = await source.dashboard(hour, None)
        assert (view.overall_stats.total_operations, view.overall_stats.failed_operations) == (100, 40)
        assert (await source.service("alpha", None, hour)).total_operations == 50
        assert len((await source.failures(hour, None, limit=100)).operations) == 40
        assert len((await source.slowest(hour, None, None, limit=100)).operations) == 100
        assert sum((await source.series(None, hour)).failures_per_minute) == pytest.approx(40, rel=0.3)
        assert await source.comparison(None, None, before=None, after="1h")
        assert {one.name: one.latest for one in (await source.resources(hour)).resources}["lag"] == 3000
        exported = b"".join([chunk async for chunk in (await source.export("ndjson", hour, None)).chunks])
        assert exported.count(b"no answer for shards 8-11") == 40
        assert b"shards 4-7" not in exported
        assert len((await source.fleet()).processes) == 5  # which one is chosen changes nothing
        await source.close()


async def test_an_unknown_process_is_refused(monitor):
    with pytest.raises(RequestError, match="No process 'nobody'"):
        await DatabaseSource.open(Settings(_env_file=None), monitor.settings.database_url, "nobody")
    source = await ApiSource.open(f"http://127.0.0.1:{monitor.settings.http_port}", None, monitor.settings, "nobody")
    with pytest.raises(RequestError, match="No process 'nobody'"):
        await source.dashboard(Period.HOUR.range_at(now_us()), None)
    await source.close()
