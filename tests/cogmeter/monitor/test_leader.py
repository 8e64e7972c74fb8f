"""Two monitors on one PostgreSQL: the roles that they have, and what only the leader does."""

from __future__ import annotations

import asyncio

import discord
import pytest
from discord.ext import commands
from postgres_server import PROGRAMS, server

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings


@pytest.fixture(scope="module")
def database():
    if not PROGRAMS:
        yield None
        return
    with server() as running:
        yield running


@pytest.fixture
async def begin(database, needed):
    """``await begin("one", ...)``: a running monitor of a process with this name."""
    needed(PROGRAMS, "PostgreSQL")
    database.clear("postgres")
    monitors = []

    async def start(name, **settings):
        bot = commands.Bot("!", intents=discord.Intents.none())
        url = database.url("postgres")
        monitor = Monitor(
            bot, Settings(_env_file=None, database_url=url, process_name=name, **settings), recorder=Recorder()
        )
        await monitor.start()
        monitors.append(monitor)
        return monitor

    yield start
    for monitor in monitors:
        await monitor.stop()
        await monitor.bot.close()


def fail(monitor, count):
    for _ in range(count):
        monitor.recorder.record("graph", "query", duration_ms=20, outcome=1)


async def alerts_of(monitor):
    return [alert.service for alert in monitor.alerting.engine.active if alert.rule == "error_rate"]


async def test_the_leader_alerts_on_what_another_process_records_and_that_one_shows_it(begin):
    one, two = await begin("one"), await begin("two")
    assert (one.leadership.leads, two.leadership.leads) == (True, False)
    fail(two, 50)
    await two.flusher.flush()
    await two.alerting.check()
    assert await alerts_of(two) == []
    await one.alerting.check()
    assert await alerts_of(one) == ["graph"]
    await two.alerting.follow()
    assert await alerts_of(two) == ["graph"]


async def test_a_process_takes_over_when_the_leader_stops_and_continues_its_alerts(begin):
    one, two = await begin("one"), await begin("two")
    fail(one, 50)
    await one.flusher.flush()
    await one.alerting.check()
    (before,) = [alert for alert in one.alerting.engine.active if alert.rule == "error_rate"]
    await one.stop()
    first = two.alerting
    await two.leadership.renew()
    async with asyncio.timeout(20):
        while two.alerting is first or not two.alerting.term.leads or not two.alerting.engine.restored:
            await asyncio.sleep(0.01)
    await two.alerting.check()
    (after,) = [alert for alert in two.alerting.engine.active if alert.rule == "error_rate"]
    assert (after.uid, after.id) == (before.uid, before.id)
    kinds = [change.kind for change in await two.store.alerting.changes(after.uid)]
    assert kinds == ["fired"]


async def test_a_setting_that_is_changed_in_one_process_is_in_effect_in_the_other(begin):
    one, two = await begin("one"), await begin("two")
    one.schedule.pause()  # its job does the same
    await one.alerting.follow()
    assert not await one.alerting.follow()
    await two.setting_changes.change({"alert_check_interval": "20"}, "Ann")
    assert await one.alerting.follow()
    await one.setting_changes.follow()
    assert one.settings.alert_check_interval == two.settings.alert_check_interval == 20
