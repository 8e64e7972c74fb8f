"""The machine's clock is set, before a start and while a bot runs: jobs continue, and what comes after is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health
from cogmeter.monitor import jobs
from cogmeter_storage.model import DAY_US

LIBRARIES = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
BOT = Path(__file__).with_name("clock_bot.py")
HOUR_S, YEARS_S = 3600, 3650 * 86_400
TIMEOUT_S = 110


@pytest.fixture
def bot_on_a_clock(needed, host_folder, clean_environment):
    """Runs clock_bot.py on a clock that it sets; gives its lines."""
    needed(LIBRARIES, "libfaketime")
    (host_folder / "clock").write_text("+0\n")
    environment = clean_environment(
        LD_PRELOAD=str(LIBRARIES[0]) if LIBRARIES else "",
        FAKETIME_TIMESTAMP_FILE=str(host_folder / "clock"),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        PERFORMANCE_ALERT_CHECK_INTERVAL="1",
        PERFORMANCE_SAMPLE_INTERVAL="1",
        TZ="Europe/Berlin",
    )

    def run(*offsets, start="+0"):
        (host_folder / "clock").write_text(f"{start}\n")
        command = [sys.executable, str(BOT), *map(str, offsets)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def doctor(environment):
    """The lines of ``cogmeter doctor`` by their names."""
    command = [sys.executable, "-m", "cogmeter_bot", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return {one["name"]: one for one in json.loads(done.stdout)["findings"]}


def test_a_running_bot_continues_whatever_its_clock_is_set_to(bot_on_a_clock, clean_environment):
    offsets = (-HOUR_S, 0, HOUR_S, 0, YEARS_S, 0, -YEARS_S, 0)
    lines = bot_on_a_clock(*offsets)
    assert [line["seen"] for line in lines] == [20] * 9
    assert (lines[-1]["back"], lines[-1]["forward"]) == (4, 4)
    assert [bool(line["doubt"]) for line in lines] == [False] * 5 + [True, False, True, False]
    assert doctor(clean_environment())["freshness"]["well"]


def test_a_start_with_a_wrong_clock_hides_nothing_of_the_next_one(bot_on_a_clock, clean_environment):
    starts = ("+0", f"+{YEARS_S}", "+0", f"-{YEARS_S}", "+0")
    seen = [line["seen"] for start in starts for line in bot_on_a_clock(start=start)]
    # The second one sees nothing of the day before in its future; the fourth one goes on from the last operation.
    assert seen == [20, 20, 40, 60, 80]
    found = doctor(clean_environment())
    assert found["freshness"]["well"]
    assert "were set apart" in found["clock"]["text"]
    assert not found["clock"]["well"]


@pytest.fixture
async def bot(host_folder):
    """A host bot in an empty folder, with a recorder that holds nothing from before."""
    cogmeter.default_recorder.buffer.rows.clear()
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        await bot.load_extension("cogmeter.cog")
        yield bot
    cogmeter.default_recorder.buffer.rows.clear()


async def test_the_doctor_and_health_name_the_records_from_the_future(bot, monkeypatch):
    monitor, real_ns = bot.get_cog("cogmeter").monitor, time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + YEARS_S * 10**9)
    for _ in range(50):
        cogmeter.record("search", "ahead", duration_ms=5)
    await monitor.flusher.flush()
    await monitor.clock_watch.look()
    monkeypatch.setattr(time, "time_ns", real_ns)
    cogmeter.record("search", "right", duration_ms=5)
    await monitor.flusher.flush()
    await monitor.clock_watch.look()
    assert (await monitor.dashboard()).service_stats["search"].total_operations == 1
    found = {one.name: one for one in await examine(monitor)}
    assert "50 operations" in found["clock"].text
    assert not found["clock"].well
    health = {one.name: one for one in await Health(monitor).vital()}
    assert "from the future" in health["database"].reason
    assert monitor.flusher.age_s < 60


async def test_a_clock_ten_years_ahead_lets_the_clean_up_remove_nothing(bot, monkeypatch):
    monitor, real_ns = bot.get_cog("cogmeter").monitor, time.time_ns
    cogmeter.record("search", "before", duration_ms=5)
    await monitor.flusher.flush()
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + YEARS_S * 10**9)
    await monitor.clock_watch.look()
    await monitor.flusher.flush()  # seals the minute
    await jobs.clean(monitor)
    assert (await monitor.store.status()).operations == 1
    found = [one for one in await examine(monitor) if one.name == "clean-up"]
    assert "no answer of Discord has confirmed it" in found[0].text
    monitor.watcher.skew.note("Wed, 01 Jan 2125 00:00:00 GMT", 4_891_363_200.0, 4_891_363_200.1)
    await jobs.clean(monitor)
    assert (await monitor.store.status()).operations == 0


async def test_a_mute_and_a_retry_keep_what_is_left_of_them(bot, monkeypatch):
    from cogmeter_storage.alerting import Mute

    monitor, real_ns = bot.get_cog("cogmeter").monitor, time.time_ns
    engine = monitor.alerting.engine
    begin_us = real_ns() // 1000
    await engine.mute(Mute("search", "", begin_us, begin_us + DAY_US, "somebody"), begin_us)
    for offset_s in (YEARS_S, -HOUR_S, 0):
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + offset_s * 10**9)  # noqa: B023 - used in this turn
        await monitor.clock_watch.look()
        now_us = time.time_ns() // 1000
        (mute,) = await monitor.store.alerting.mutes(now_us)
        assert mute.covers("error_rate", "search", now_us)
        assert abs(mute.until_us - now_us - DAY_US) < 60_000_000
        assert engine._tracker.mutes == [mute]
