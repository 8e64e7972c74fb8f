"""The pushers of a running monitor: started by settings, shown where the owner looks, and gone afterwards."""

import asyncio
import json

import discord
import pytest
from discord.ext import commands
from http_receiver import serving
from otlp_decoder import Decoded

from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health
from cogmeter.monitor.monitor import Monitor
from cogmeter.push.pusher import KEY
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, SettingsError
from cogmeter.web.metrics.families import families
from cogmeter_storage import open_store
from cogmeter_storage.clock import clock
from cogmeter_storage.model import HOUR_US, MINUTE_US


@pytest.fixture
async def receiver():
    async with serving() as receiver:
        yield receiver


@pytest.fixture
async def start(tmp_path, monkeypatch, receiver):
    """Starts a monitor whose database has ten operations that wait to be pushed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url(""))
    store = await open_store("sqlite:///data/performance.db")
    (series,) = await store.series_ids([("graph", "query")])
    begin_us = (clock.now_us() - HOUR_US) // MINUTE_US * MINUTE_US
    rows = [(series, begin_us + number, 1_000, 0, None, None) for number in range(10)]
    await store.append([rows], now_us=begin_us + MINUTE_US)
    position = {"minute_us": begin_us, "series": 0, "trace": 0, "change": 0, "marker": 0}
    await store.set_value(KEY + "otlp", json.dumps(position).encode())
    await store.close()
    started = []

    async def start(**settings):
        bot = commands.Bot("!", intents=discord.Intents.default())
        monitor = Monitor(bot, Settings(database_url="sqlite:///data/performance.db", **settings), recorder=Recorder())
        await monitor.start()
        started.append(monitor)
        return monitor

    yield start
    for monitor in started:
        await monitor.stop()
        await monitor.bot.close()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def decoded(receiver):
    return Decoded.of(seen for seen in receiver.seen if seen.accepted)


async def test_what_waits_is_pushed_after_the_start_and_everything_shows_it(start, receiver):
    monitor = await start(export_otlp=True)
    (pusher,) = monitor.pushing.pushers
    await until(lambda: pusher.success_us)
    found = decoded(receiver)
    assert found.total(("graph", "query", "ok")) == 10
    (instance,) = {one["service.instance.id"] for one in found.resources}
    assert instance == (await monitor.store.get_value("instance")).decode()
    (finding,) = [one for one in await examine(monitor) if one.name == "push otlp"]
    assert (finding.well, finding.text) == (True, "10 operations sent")
    (check,) = [one for one in await Health(monitor).own() if one.name == "push"]
    assert (check.status, check.reason) == ("healthy", "pushed to otlp")
    exported = {family.name: family.samples for family in families(monitor, [], None)}
    assert exported["monitor_pushed_total"] == [({"target": "otlp"}, 10)]
    assert exported["monitor_push_failures"] == [({"target": "otlp"}, 0)]
    await monitor.stop()
    assert not [task for task in asyncio.all_tasks() if "cogmeter push" in task.get_name()]


async def test_without_the_setting_nothing_is_pushed_or_shown(start, receiver):
    monitor = await start()
    assert monitor.pushing.pushers == []
    assert not [one for one in await examine(monitor) if one.name.startswith("push")]
    assert not [one for one in await Health(monitor).own() if one.name == "push"]
    assert not [family for family in families(monitor, [], None) if "push" in family.name]


async def test_the_database_keeps_its_own_id(start, receiver):
    first = await start(export_otlp=True)
    instance = await first.store.get_value("instance")
    await first.stop()
    second = await start(export_otlp=True)
    assert await second.store.get_value("instance") == instance
    assert len(instance) == 36


async def test_a_refused_key_is_a_degraded_monitor(start, receiver):
    receiver.script.append(401)
    monitor = await start(export_otlp=True)
    (pusher,) = monitor.pushing.pushers
    await until(lambda: pusher.stopped)
    (check,) = [one for one in await Health(monitor).own() if one.name == "push"]
    assert (check.status, check.reason) == ("degraded", "not pushed: otlp; /perf doctor shows why")
    await monitor.reconfigure()  # what a reload does
    (pusher,) = monitor.pushing.pushers
    await until(lambda: pusher.success_us)
    assert decoded(receiver).total(("graph", "query", "ok")) == 10


async def test_changes_from_chat_are_in_effect_at_once(start, receiver):
    monitor = await start()
    await monitor.setting_changes.change({"export_otlp": "true", "export_interval": "5000"}, "ada")
    (pusher,) = monitor.pushing.pushers
    await until(lambda: pusher.success_us)
    assert (pusher._interval_s, pusher.operations) == (5.0, 10)
    await monitor.setting_changes.change({"export_otlp": "false"}, "ada")
    assert monitor.pushing.pushers == []


async def test_a_variable_that_is_not_valid_fails_the_start_and_names_it(start, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(
        SettingsError, match="OTEL_EXPORTER_OTLP_TIMEOUT='soon' is not a number of milliseconds above 0"
    ):
        await start(export_otlp=True)
    assert not [task for task in asyncio.all_tasks() if "cogmeter" in task.get_name()]


async def test_a_change_that_cannot_be_put_into_effect_is_undone(start, monkeypatch):
    monitor = await start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match="PERFORMANCE_EXPORT_OTLP"):
        await monitor.setting_changes.change({"export_otlp": "true"}, "ada")
    assert monitor.settings.export_otlp is False
    assert monitor.pushing.pushers == []


async def test_the_bots_name_is_used_from_the_first_connection_on_and_after_a_restart(start, receiver):
    monitor = await start(export_otlp=True)
    await monitor.pushing.named("Helper ✨")
    await until(lambda: receiver.seen)
    await monitor.stop()
    again = await start(export_otlp=True)
    assert again.pushing.pushers[0].target._origin.name == "Helper ✨"
