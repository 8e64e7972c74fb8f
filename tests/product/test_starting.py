"""Each part fails at the start in turn: recording, storing and answering continue, and the doctor names it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sqlite3
import sys
import threading
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.evaluator import BASELINES, MEASURED
from cogmeter.alerts.measurement.history import WindowHistory
from cogmeter.alerts.measurement.spending import KEY as SPENDING
from cogmeter.alerts.thresholds.learning import KEY as CALIBRATION
from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health
from cogmeter.monitor.heartbeat import Heartbeat
from cogmeter.monitor.scheduler import Scheduler
from cogmeter.notifiers.webhook import WebhookNotifier
from cogmeter.settings import SettingsError
from cogmeter.watch.interactions.people import KEY as PRIVACY_KEY
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.web.metrics.counters import KEY as COUNTERS
from cogmeter.web.metrics.scrape import Scraper
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError
from cogmeter_storage.sql.alert_store import SqlAlertStore
from cogmeter_storage.sqlite.store import SqliteStore

DATABASE = Path("data/performance.db")
EXTENSION = "cogmeter.cog"
FULL = StorageError("Database performance.db: reading or writing fails on the disk.", permanent=False)
WEEKLY_S = 600.0  # how often the weekly report is looked at
NONSENSE = b"\x00nonsense"


@pytest.fixture
async def bot(host_folder, monkeypatch):
    """A host bot in an empty folder, with a recorder that holds nothing from before."""
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")  # a busy machine is no operation of the test
    monkeypatch.setenv("PERFORMANCE_ALERT_CHECK_INTERVAL", "3600")  # the test checks by itself
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        yield bot


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


def monitor_of(bot):
    return bot.get_cog("cogmeter").monitor


async def run_before(bot):
    """A run that leaves something of every kind in the database."""
    await bot.load_extension(EXTENSION)
    monitor = monitor_of(bot)
    for _ in range(60):
        cogmeter.record("web", "fetch", duration_ms=1, error="no", metadata={"cost_usd": 1.0})
    await until(lambda: monitor.flusher.written >= 60)
    await monitor.alerting.check()
    await monitor.override({"response_time@web": "1s"}, "Ada")
    await Scraper(monitor, Health(monitor)).scrape()
    await bot.unload_extension(EXTENSION)


async def works(monitor, recorded):
    """Recorded, stored and answered."""
    before = (await monitor.query.summary()).total.operations
    written = monitor.flusher.written
    for _ in range(recorded):
        cogmeter.record("shop", "buy", duration_ms=1)
    await until(lambda: monitor.flusher.written >= written + recorded)
    assert (await monitor.query.summary()).total.operations == before + recorded
    await monitor.alerting.check()
    assert monitor.alerting.engine.checks >= 1


async def doctor_lines(bot):
    monitor, servers = monitor_of(bot), bot.get_cog("cogmeter").servers
    found = [*await examine(monitor), *servers.findings()]
    return {one.name: one for one in found if not one.well}


def stored_value(key, value=NONSENSE):
    """What the last run stored under a key is damaged."""

    def damage(_monkeypatch):
        with contextlib.closing(sqlite3.connect(DATABASE)) as database, database:
            database.execute("INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (key, value))

    return damage


def failing(owner, name, error=FULL, *, only=None):
    """A method fails; with ``only``, for that first argument alone."""

    def damage(monkeypatch):
        real = getattr(owner, name)

        def fail(self, *arguments, **named):
            if only is not None and arguments[:1] != (only,):
                return real(self, *arguments, **named)
            raise error

        monkeypatch.setattr(owner, name, fail)

    return damage


def missing(module, name):
    """A function that a part is built by fails."""

    def damage(monkeypatch):
        def fail(*_arguments, **_named):
            raise RuntimeError("a fault of ours")

        # Not by the attributes of packages: those of an unloaded extension are no longer imported.
        monkeypatch.setattr(importlib.import_module(module), name, fail)

    return damage


def heartbeat(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_HEARTBEAT_URL", "http://127.0.0.1:9/ping")
    failing(Heartbeat, "__init__", RuntimeError("a fault of ours"))(monkeypatch)


def out_of_band(monkeypatch):
    """The process may not start another thread of ours."""
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_URL", "http://127.0.0.1:9/alerts")
    real = threading.Thread.start

    def start(thread):
        if thread.name == "cogmeter-out-of-band":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def target(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_URL", "http://127.0.0.1:9/alerts")

    def fail(_context):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(WebhookNotifier, "create", fail)


def web(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_HTTP_PORT", "1")
    missing("cogmeter.web.server.servers", "plans")(monkeypatch)


FAULT = RuntimeError("a fault of ours")
PARTS = {
    "stored series": ("start: stored series", failing(SqliteStore, "series")),
    "long windows": ("start: long windows", failing(WindowHistory, "restore", FAULT)),
    "alert window": ("start: alert window", missing("cogmeter.alerts.evaluator", "refill")),
    "both windows": ("start: alert window", failing(SqliteStore, "totals")),
    "baselines": ("start: baselines", stored_value(BASELINES)),
    "baselines of another size": (
        "start: baselines",
        stored_value(BASELINES, json.dumps(["web", "rate", "AXicY2AAAAACAAE="]).encode()),
    ),
    "baselines not read": ("start: baselines", failing(SqliteStore, "get_value", only=BASELINES)),
    "costs": ("start: recent costs", stored_value(MEASURED)),
    "costs not read": ("start: recent costs", failing(SqliteStore, "get_value", only=MEASURED)),
    "spending": ("start: spending", stored_value(SPENDING, b'{"days": 5}')),
    "spending not read": ("start: spending", failing(SqliteStore, "get_value", only=SPENDING)),
    "calibration": ("start: calibrated thresholds", stored_value(CALIBRATION)),
    "calibration not read": ("start: calibrated thresholds", failing(SqliteStore, "get_value", only=CALIBRATION)),
    "spending before": ("start: spending before the start", failing(SqliteStore, "stream", FAULT)),
    "alerts": ("start: alerts", failing(SqlAlertStore, "alerts", FAULT)),
    "mutes": ("start: mutes", failing(SqlAlertStore, "mutes")),
    "thresholds": ("start: changed thresholds", failing(SqlAlertStore, "overrides", FAULT)),
    "thresholds not read": ("start: changed thresholds", failing(SqlAlertStore, "overrides")),
    "settings": ("start: changed settings", failing(SqlAlertStore, "overrides", FAULT)),
    "settings not read": ("start: changed settings", failing(SqlAlertStore, "overrides")),
    "delivery": ("start: alert delivery", failing(Dispatcher, "start", FAULT)),
    "a target": ("start: alert target webhook", target),
    "privacy key": ("start: privacy key", stored_value(PRIVACY_KEY)),
    "privacy key not read": ("start: privacy key", failing(SqliteStore, "get_value", only=PRIVACY_KEY)),
    "version": ("start: version", missing("cogmeter.monitor.monitor", "revision")),
    "markers": ("start: start marker", missing("cogmeter.monitor.monitor", "mark_start")),
    "a surface's creation": ("commands", failing(SlashCommands, "__init__", FAULT)),
    "a surface": ("commands", failing(SlashCommands, "prepare", FAULT)),
    "out-of-band alerts": ("start: out-of-band alerts", out_of_band),
    "heartbeat": ("start: heartbeat", heartbeat),
    "scheduler": ("start: scheduler", failing(Scheduler, "start", FAULT)),
    "web servers": ("web", web),
    "alert buttons": ("start: alert buttons", failing(commands.Bot, "add_dynamic_items", FAULT)),
    "setup message": ("start: setup message", missing("cogmeter.cog.setup_guide", "register")),
    "setup hint": ("start: setup hint", failing(SqliteStore, "get_value", only="setup_hint")),
    "weekly report": ("start: weekly report", failing(Scheduler, "every", FAULT, only=WEEKLY_S)),
    "digest": ("start: digest", missing("cogmeter.cog.scheduled_posts", "DigestPost")),
}


@pytest.mark.parametrize("case", PARTS)
async def test_a_part_that_fails_at_the_start_is_named_and_all_else_works(bot, monkeypatch, caplog, case):
    name, damage = PARTS[case]
    await run_before(bot)
    caplog.clear()
    with monkeypatch.context() as broken:
        damage(broken)
        await bot.load_extension(EXTENSION)
        monitor = monitor_of(bot)
        if case == "spending before":
            await until(lambda: monitor.faults)
    lines = await doctor_lines(bot)
    assert name in lines
    assert lines[name].advice
    part = name if name.startswith("start: ") or name == "web" else f"start: {name}"
    assert monitor.faults[part] == 1
    errors = [one for one in caplog.records if one.levelname == "ERROR" and one.name.startswith("cogmeter")]
    plain = name.removeprefix("start: ")
    assert len([one for one in errors if f"'{plain}'" in one.getMessage() or plain in one.getMessage()]) == 1
    await works(monitor, 7)
    await bot.unload_extension(EXTENSION)
    await bot.load_extension(EXTENSION)
    again = monitor_of(bot)
    assert not [one for one in await doctor_lines(bot) if one.startswith("start: ")]
    assert (await again.query.summary()).total.operations == 67


async def test_counters_whose_base_is_damaged_begin_with_what_is_stored(bot, monkeypatch):
    await run_before(bot)
    stored_value(COUNTERS)(monkeypatch)
    await bot.load_extension(EXTENSION)
    monitor = monitor_of(bot)
    page = await Scraper(monitor, Health(monitor)).scrape()
    assert b'service="web"' in page.body
    assert "start: counters at /metrics" in await doctor_lines(bot)
    await works(monitor, 3)


async def test_charts_that_cannot_be_drawn_do_not_keep_the_bot_from_answering(bot, monkeypatch):
    await run_before(bot)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    await bot.load_extension(EXTENSION)
    monitor = monitor_of(bot)
    timeline = (await monitor.query.summary()).timeline
    assert (await monitor.chart_builder.timeline(timeline)).problem
    assert "charts" in await doctor_lines(bot)
    await works(monitor, 3)


async def test_every_part_may_fail_at_once(bot, monkeypatch):
    await run_before(bot)
    with monkeypatch.context() as broken:
        for case, (_, damage) in PARTS.items():
            if case not in {"scheduler", "delivery"}:
                damage(broken)
        await bot.load_extension(EXTENSION)
        names = {name for case, (name, _) in PARTS.items() if case not in {"scheduler", "delivery", "spending before"}}
        assert names <= set(await doctor_lines(bot))
    await works(monitor_of(bot), 7)


async def test_alerts_that_could_not_be_read_at_the_start_continue_as_soon_as_they_can_be_read(bot, monkeypatch):
    await run_before(bot)
    with monkeypatch.context() as broken:
        failing(SqlAlertStore, "alerts")(broken)
        await bot.load_extension(EXTENSION)
        alerting = monitor_of(bot).alerting
        assert alerting.engine.active == ()
    await alerting.check()
    (alert,) = alerting.engine.active
    assert (alert.rule, alert.service) == ("error_rate", "web")
    assert [one.uid for one in await monitor_of(bot).store.alerting.alerts()] == [alert.uid]


async def test_a_batch_that_cannot_be_measured_is_stored_at_once(bot, monkeypatch):
    await bot.load_extension(EXTENSION)
    monitor = monitor_of(bot)

    async def fail(_atoms):
        raise FAULT

    with monkeypatch.context() as broken:
        broken.setattr(monitor.alerting.evaluator, "watch", fail)
        await works(monitor, 5)
    assert monitor.flusher.failures == 0
    assert monitor.faults["measuring"] >= 1
    assert "measuring failed" in (await doctor_lines(bot))["jobs"].text


async def test_a_start_that_fails_as_a_whole_leaves_nothing_behind(bot, monkeypatch):
    threads = set(threading.enumerate())
    tasks = asyncio.all_tasks()

    def refuse(*_arguments, **_named):
        raise SettingsError("PERFORMANCE_ALERT_WINDOW=abc is not a number of seconds. Use a whole number.")

    for module, name in (("cogmeter.monitor.monitor", "OutOfBandAlerts"), ("cogmeter.alerts.alerting", "Dispatcher")):
        with monkeypatch.context() as broken:
            broken.setattr(f"{module}.{name}", refuse)
            with pytest.raises(commands.ExtensionFailed, match="is not a number of seconds"):
                await bot.load_extension(EXTENSION)
        await until(lambda: asyncio.all_tasks() == tasks)
        left = {one.name for one in set(threading.enumerate()) - threads}
        assert not [name for name in left if not name.startswith("asyncio_")]  # those are the loop's own
        store = await open_store(f"sqlite:///{DATABASE}")  # its lock is free
        await store.close()
    await bot.load_extension(EXTENSION)
    await works(monitor_of(bot), 3)
