"""A monitor whose PostgreSQL server goes away: nothing raises, the doctor says it, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import discord
import pytest
from discord.ext import commands
from postgres_server import PROGRAMS, Server, server

from cogmeter import startup
from cogmeter.diagnosis import BAD
from cogmeter.diagnostics import bot_checks
from cogmeter.diagnostics.doctor import examine
from cogmeter.monitor.monitor import Monitor
from cogmeter.recording import flusher as flusher_module
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, SettingsError

HOUR_S = 3_600


@pytest.fixture
def database(needed) -> Iterator[Server]:
    """A server that the test may stop."""
    needed(PROGRAMS, "PostgreSQL")
    with server() as running:
        yield running


@pytest.fixture
async def monitor(database, tmp_path, monkeypatch):
    monkeypatch.setattr(flusher_module, "INTERVAL_S", 0.05)
    monkeypatch.setattr(flusher_module, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(flusher_module, "LAST_SERVER_RETRY_S", 0.1)
    bot = commands.Bot("!", intents=discord.Intents.default(), help_command=None)
    settings = Settings(
        _env_file=None,
        database_url=database.url("postgres"),
        process_name="one",
        spool_path=str(tmp_path / "spools"),
        max_operations_in_memory=1_000,
        watch_stalls=False,
        sample_interval=HOUR_S,
        alert_check_interval=HOUR_S,
    )
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    yield monitor
    await monitor.stop()
    await bot.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def run_jobs(monitor):
    for job in monitor.schedule.jobs:
        await job.func(*job.args, **job.kwargs)


def record(monitor, count):
    for number in range(count):
        monitor.recorder.record("chat", f"ask {number % 3}", duration_ms=1)


def fail(monitor):
    with contextlib.suppress(LookupError), monitor.recorder.operation("chat", "fails"):
        raise LookupError("no answer")


async def flusher_finding(monitor):
    return next(finding for finding in await examine(monitor) if finding.name == "flusher")


async def test_an_outage_is_logged_and_everything_is_stored_once_after_it(monitor, database, tmp_path):
    flusher = monitor.flusher
    assert (tmp_path / "spools" / "spool-one.db").exists()
    record(monitor, 10)
    await until(lambda: flusher.written == 10)
    await asyncio.to_thread(database.stop)

    for _ in range(4):
        record(monitor, 200)
        await until(lambda: not monitor.recorder.buffer.rows)
    await until(lambda: flusher.backlog.spooled)
    fail(monitor)
    await run_jobs(monitor)
    found = await flusher_finding(monitor)
    assert not found.well
    assert "attempts failed in " in found.text
    assert f"{flusher.backlog.spooled} in the spool (" in found.text
    assert "0 dropped during the outage: Database" in found.text
    assert "cannot be reached" in found.text
    assert bot_checks.flusher(monitor).status in BAD

    await asyncio.to_thread(database.start)
    await until(lambda: flusher.last_error is None and not flusher.backlog.spooled)
    await flusher.flush()
    await run_jobs(monitor)
    assert (await flusher_finding(monitor)).well
    assert (await monitor.store.status()).operations == 811
    (group,) = await monitor.store.errors.groups(0, 2**53)
    assert group.count == 1


async def test_a_start_waits_for_a_server_that_is_not_there_yet(database, monkeypatch, caplog):
    monkeypatch.setattr(startup, "RETRY_S", 0.05)
    await asyncio.to_thread(database.stop)
    opening = asyncio.create_task(startup.open_database(database.url("postgres")))
    await until(lambda: caplog.messages)
    assert not opening.done()
    await asyncio.to_thread(database.start)
    store = await opening
    await store.close()
    (line,) = caplog.messages
    assert line.startswith("The start waits for the database, for at most 60 s. PERFORMANCE_DATABASE_URL=postgresql://")


async def test_a_start_without_its_server_fails_with_the_fix_in_the_end(database, monkeypatch, caplog):
    monkeypatch.setattr(startup, "RETRY_S", 0.05)
    monkeypatch.setattr(startup, "PATIENCE_S", 0.2)
    await asyncio.to_thread(database.stop)
    with pytest.raises(
        SettingsError, match=r"PERFORMANCE_DATABASE_URL=.*cannot be reached.*To fix it: start the server"
    ):
        await startup.open_database(database.url("postgres"))
    assert len(caplog.messages) == 1
    await asyncio.to_thread(database.start)


async def test_a_start_does_not_wait_when_the_database_does_not_exist(database, caplog):
    with pytest.raises(SettingsError, match=r"the database does not exist .* CREATE DATABASE"):
        await startup.open_database(database.url("none_such"))
    assert not caplog.messages
