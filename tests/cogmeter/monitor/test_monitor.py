"""The public API of a running monitor: records that the bot's own code reads."""

import time
from datetime import UTC, date, datetime, timedelta

import discord
import pytest
from discord.ext import commands

from cogmeter.monitor.monitor import Monitor
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings


@pytest.fixture
async def monitor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bot = commands.Bot("!", intents=discord.Intents.default())
    monitor = Monitor(bot, Settings(_env_file=None), recorder=Recorder())
    await monitor.start()
    for number in range(100):
        monitor.recorder.record("graph", "query", duration_ms=20, outcome=int(number < 50))
    await monitor.flusher.flush()
    yield monitor
    await monitor.stop()
    await bot.close()


async def test_records_are_typed_and_take_times_in_every_form(monitor):
    dashboard = await monitor.dashboard(services=["graph"])
    assert dashboard.service_stats["graph"].average_response_time == 20
    assert (await monitor.dashboard(services="graph")).service_stats == dashboard.service_stats
    today = datetime.now(UTC)
    for since in (
        today - timedelta(hours=1),
        (today - timedelta(days=1)).date(),
        "2020-01-01",
        today.replace(tzinfo=None) - timedelta(hours=2),
    ):
        assert (await monitor.service("graph", "query", since=since)).total_operations == 100
    assert (await monitor.service("graph", until=today.date())).total_operations == 100  # the day is included
    assert (await monitor.dashboard(until=date(2020, 1, 1))).overall_stats.total_operations == 0
    series = await monitor.series("graph", since=today - timedelta(minutes=10), step=timedelta(seconds=90))
    assert series.step_seconds == 120
    assert sum(series.operations_per_minute) > 0
    assert isinstance(series.timestamps[0], datetime)


async def test_alerts_are_listed_by_state(monitor):
    await monitor.alerting.check()
    (alert,) = [one for one in await monitor.alerts() if one.type == "error_rate"]
    assert (alert.service, alert.state) == ("graph", "firing")
    assert alert.started_at.tzinfo is not None
    assert await monitor.alerts("resolved") == []
    assert alert.id in [one.id for one in (await monitor.dashboard()).alerts]


async def test_what_cannot_be_asked_is_an_error_that_names_it(monitor):
    with pytest.raises(UnknownNameError, match="graph"):
        await monitor.service("grap")
    with pytest.raises(ValueError, match="since=yesterday is not a valid time"):
        await monitor.dashboard(since="yesterday")
    with pytest.raises(ValueError, match="state='open' is none of active, history"):
        await monitor.alerts("open")
    with pytest.raises(ValueError, match="limit=0 is below 1"):
        await monitor.alerts(limit=0)
    with pytest.raises(ValueError, match="is not before"):
        await monitor.dashboard(since="2025-02-01", until="2025-01-01")
    with pytest.raises(ValueError, match="is not before"):
        await monitor.series(since=datetime.fromtimestamp(time.time() + 3600, UTC))
