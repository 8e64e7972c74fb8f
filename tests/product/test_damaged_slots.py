"""A database with slots that are damaged loads, summarises, folds and cleans up; the doctors and health say it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import discord
import pytest
from discord.ext import commands

from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health
from cogmeter.monitor import jobs
from cogmeter.query.records import Period, Range
from cogmeter_storage import open_store

DATABASE = Path("data/performance.db")
EXTENSION = "cogmeter.cog"
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAYS = 12
EVERY_US = 20 * MINUTE_US


@pytest.fixture
async def bot(host_folder):
    """A host bot in an empty folder, with a recorder that holds nothing from before."""
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        yield bot


@pytest.fixture
async def history(host_folder):
    """A database as an earlier run left it, with twelve days of operations; gives their end times."""
    now_us = time.time_ns() // 1000
    ends = range(now_us - DAYS * 24 * HOUR_US, now_us - HOUR_US, EVERY_US)
    store = await open_store(f"sqlite:///{DATABASE}")
    (series,) = await store.series_ids([("host", "write")])
    await store.append([[(series, end_us, 5000, 0, None, None) for end_us in ends]], now_us=now_us)
    await store.fold(now_us=now_us)
    await store.close()
    return ends


def damage(where, data="x'00'"):
    """Overwrite the bytes of slots; returns how many."""
    with contextlib.closing(sqlite3.connect(DATABASE)) as vandal, vandal:
        return vandal.execute(f"UPDATE slot SET data = {data} WHERE {where}").rowcount


async def counted(monitor, ends):
    """How many operations a summary of all days counts."""
    span = Range(ends[0] // HOUR_US * HOUR_US, ends[-1] + 1, "all of it")
    return (await monitor.query.summary(span, services=["host"])).total.operations


async def said(monitor):
    """What the doctor and health say of what is stored: whether it is well, and in which words."""
    finding = {one.name: one for one in await examine(monitor)}["stored data"]
    check = {one.name: one for one in await Health(monitor).vital()}["database"]
    return finding.well, finding.text, check.status.value, check.reason


@pytest.mark.parametrize("newest", [False, True], ids=["but the newest", "and the newest"])
async def test_a_bot_whose_slots_of_the_last_days_are_damaged_starts_and_loses_no_figure(bot, history, caplog, newest):
    until_us = history[-1] + 1 if newest else history[-1] - 3 * HOUR_US
    count = damage(f"tier = 1 AND start_us BETWEEN {history[-1] - 3 * 24 * HOUR_US} AND {until_us}")
    assert count >= 68
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    assert list(DATABASE.parent.glob("*.corrupt-*")) == []
    assert await counted(monitor, history) == len(history)
    await jobs.fold(monitor)
    await jobs.clean(monitor)
    status = await monitor.store.status()
    assert status.first_end_us >= history[-1] - 8 * 24 * HOUR_US
    assert await counted(monitor, history) == len(history)
    well, text, health, reason = await said(monitor)
    assert (well, text, health) == (False, f"damaged: {count} slots rebuilt", "degraded")
    assert reason.endswith(f"damaged: {count} slots rebuilt")
    await bot.unload_extension(EXTENSION)
    lines = [line for line in caplog.messages if "is damaged" in line]
    assert len(lines) == 20
    assert all("The slot of the hour from" in line and "It is rebuilt from finer data" in line for line in lines)
    assert monitor.faults.get("roll-up", 0) == monitor.faults.get("clean-up", 0) == 0


async def test_slots_that_are_damaged_while_the_bot_runs_do_not_stop_folding_and_clean_up(bot, history, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "24")
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    count = damage("tier < 2")
    assert await counted(monitor, history) == len(history)
    await jobs.clean(monitor)
    status = await monitor.store.status()
    assert history[-1] - status.first_end_us <= 26 * HOUR_US
    assert status.damage.lost_slots == 0
    assert status.damage.rebuilt_slots <= count
    assert await counted(monitor, history) == len(history)
    assert (await said(monitor))[2] == "degraded"
    await bot.unload_extension(EXTENSION)


async def test_a_slot_without_anything_to_rebuild_it_from_is_left_out_and_counted(bot, history, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "24")
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURLY_DAYS", "2")
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    await jobs.clean(monitor)
    day_us = 24 * HOUR_US
    damaged_us = history[len(history) // 4] // day_us * day_us
    assert damage(f"tier = 2 AND start_us = {damaged_us}", "x'0203'") == 1
    lost = sum(damaged_us <= end_us < damaged_us + day_us for end_us in history)
    assert await counted(monitor, history) == len(history) - lost
    assert (await said(monitor))[:2] == (False, "damaged: 1 slot lost")
    await jobs.clean(monitor)
    assert await counted(monitor, history) == len(history) - lost
    assert (await said(monitor))[:2] == (False, "damaged: 1 slot lost")
    await bot.unload_extension(EXTENSION)


async def test_an_undamaged_database_passes(bot, history):
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    await jobs.clean(monitor)
    assert await said(monitor) == (True, "no damage was found", "healthy", (await said(monitor))[3])
    assert (await monitor.query.summary(Period.WEEK)).total.operations > 400
    await bot.unload_extension(EXTENSION)


async def test_the_doctor_of_the_command_line_finds_damage_and_says_when_nothing_is_cleaned_up(
    history, clean_environment
):
    count = damage("tier = 1")

    def doctor():
        command = [sys.executable, "-m", "cogmeter_bot", "doctor", "--json"]
        found = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=100, check=False
        )
        assert found.returncode == 0, found.stderr
        return {one["name"]: one for one in json.loads(found.stdout)["findings"]}

    found = doctor()
    assert not found["stored data"]["well"]
    assert found["stored data"]["text"] == f"damaged: {count} slots rebuilt"
    assert not found["clean-up"]["well"]
    assert "operations of 11 d 2" in found["clean-up"]["text"]
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(f"sqlite:///{DATABASE}")
        stack.push_async_callback(store.close)
        assert (await store.verify()).rebuilt_slots == count
    assert doctor()["stored data"]["text"] == f"damaged: {count} slots rebuilt"
