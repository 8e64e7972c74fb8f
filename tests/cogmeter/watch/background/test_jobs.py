"""Scheduled jobs: APScheduler's runs, whoever made the scheduler and whenever it was started."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import UTC, datetime, timedelta

import discord
import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from discord.ext import commands

from cogmeter.alerts.model import LoopState
from cogmeter.recording import tracing
from cogmeter.settings import Settings
from cogmeter.watch.background import jobs as module
from cogmeter.watch.background import overdue
from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.watcher import Watcher
from cogmeter_storage import Outcome


@pytest.fixture
def bot():
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


@pytest.fixture
async def scheduler():
    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.start()
    yield scheduler
    scheduler.shutdown(wait=False)
    await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def digest():
    await asyncio.sleep(0.02)


def block():
    time.sleep(0.02)


async def fail():
    raise LookupError("no channel")


async def test_runs_of_a_scheduler_that_was_running_before_are_recorded(bot, watching, recorded, scheduler):
    async with watching(bot, Jobs):
        scheduler.add_job(digest, id="digest of 80351110224678912")
        scheduler.add_job(block)
        scheduler.add_job(fail)
        await until(lambda: len(recorded()) == 3)
    found = {one.operation: one for one in recorded("discord.tasks")}
    assert {name: (one.outcome, one.error) for name, one in found.items()} == {
        "digest": (Outcome.OK, None),
        "block": (Outcome.OK, None),
        "fail": (Outcome.ERROR, "LookupError: no channel"),
    }
    assert found["digest"].duration_ms >= 19
    assert found["block"].duration_ms >= 19


async def test_a_scheduler_of_threads_is_recorded_too(bot, watching, recorded):
    async with watching(bot, Jobs):
        scheduler = BackgroundScheduler(timezone=UTC)
        scheduler.start()
        scheduler.add_job(block)
        await until(recorded)
        scheduler.shutdown()
    assert recorded()[0].duration_ms >= 19


async def test_late_missed_and_overlapping_runs_are_reported(bot, watching, recorded, scheduler):
    ago = datetime.now(UTC) - timedelta(seconds=0.5)
    async with watching(bot, Jobs):
        scheduler.add_job(digest, "date", run_date=ago, misfire_grace_time=10)
        await until(lambda: len(recorded()) == 1)
        assert recorded()[0].metadata["late_ms"] >= 500
        scheduler.add_job(block, "date", run_date=ago, misfire_grace_time=1)
        job = scheduler.add_job(block, "date", run_date=ago, misfire_grace_time=1, next_run_time=None)
        BaseExecutor.submit_job(scheduler._lookup_executor("default"), job, [ago - timedelta(seconds=9)])
        await until(lambda: len(recorded()) == 3)
        scheduler.add_job(digest, "interval", seconds=0.005, id="often", coalesce=True)
        await until(lambda: [one for one in recorded() if "skipped" in (one.error or "")])
        scheduler.remove_job("often")
        await asyncio.sleep(0.03)
    assert {one.error for one in recorded() if one.outcome is Outcome.ERROR} == {
        "missed: it was too late to begin",
        "skipped: the run before had not ended",
    }


async def test_our_own_jobs_are_not_the_hosts(bot, watching, recorded, scheduler):
    ran = asyncio.Event()

    async def ours():
        ran.set()

    ours.__module__ = "cogmeter.runtime"
    async with watching(bot, Jobs):
        scheduler.add_job(ours)
        await asyncio.wait_for(ran.wait(), 60)
        await asyncio.sleep(0.01)
    assert recorded() == []


async def test_a_run_is_no_part_of_the_command_that_adds_its_job(bot, watching, recorded, scheduler):
    scopes = []

    async def look():
        scopes.append(tracing.current())

    async with watching(bot, Jobs):
        token = tracing.begin(tracing.Trace("remind", time.perf_counter_ns()))
        scheduler.add_job(look)
        tracing.end(token)
        await until(lambda: scopes)
    assert scopes == [None]


async def test_a_job_that_the_schedulers_end_cancels_counts_as_cancelled(bot, watching, recorded):
    async with watching(bot, Jobs):
        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.start()
        scheduler.add_job(asyncio.sleep, args=(60,))
        await asyncio.sleep(0.02)
        scheduler.shutdown(wait=False)
        await until(recorded)
    assert [(one.operation, one.outcome) for one in recorded()] == [("sleep", Outcome.CANCELLED)]


async def test_removal_leaves_apscheduler_as_it_was(bot, watching, recorded, scheduler):
    before = vars(BaseExecutor)["submit_job"], vars(BaseScheduler)["_dispatch_event"]
    async with watching(bot, Jobs):
        scheduler.add_job(digest)
        await asyncio.sleep(0)
    assert (vars(BaseExecutor)["submit_job"], vars(BaseScheduler)["_dispatch_event"]) == before
    await asyncio.sleep(0.04)
    assert recorded() == []


async def test_a_bot_without_a_scheduler_is_left_alone(bot, watching, monkeypatch):
    monkeypatch.delitem(sys.modules, "apscheduler.schedulers.base")
    async with watching(bot, Jobs) as surface:
        assert surface.hooks == []
        (finding,) = surface.findings()
    assert finding.well


# The states that alerts are made of


@pytest.fixture
def impatient(monkeypatch):
    """Overdue after two intervals, or a short while."""
    monkeypatch.setattr(overdue, "GRACE_S", 0.1)


@pytest.fixture
def stuck():
    """An event that a job waits for."""
    return asyncio.Event()


async def test_a_job_whose_run_hangs_is_overdue_until_it_runs_again(bot, watching, scheduler, stuck, impatient):
    async def fetch():
        await stuck.wait()

    async with watching(bot, Jobs) as surface:
        scheduler.add_job(fetch, "interval", seconds=0.02, id="of 80351110224678912")
        await asyncio.sleep(0.05)
        assert surface.loops() == []
        await until(surface.loops)
        (one,) = surface.loops()
        assert (one.name.rpartition(".")[2], one.dead) == ("fetch", False)
        assert one.overdue_s > 0.1
        assert re.fullmatch(r"missed its last (1 run|\d+ runs)", one.text)
        stuck.set()
        await until(lambda: not surface.loops())


@pytest.mark.parametrize("end", ["removed", "all removed", "paused", "scheduler paused", "scheduler shut down"])
async def test_a_job_that_nobody_wants_to_run_is_not_overdue(bot, watching, stuck, impatient, end):
    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.start()

    async def fetch():
        await stuck.wait()

    async with watching(bot, Jobs) as surface:
        job = scheduler.add_job(fetch, "interval", seconds=0.02)
        await until(surface.loops)
        {
            "removed": job.remove,
            "all removed": scheduler.remove_all_jobs,
            "paused": job.pause,
            "scheduler paused": scheduler.pause,
            "scheduler shut down": lambda: scheduler.shutdown(wait=False),
        }[end]()
        await asyncio.sleep(0.3)
        assert surface.loops() == []
    if scheduler.running:
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)


async def test_jobs_that_fail_are_late_or_run_once_are_not_overdue(bot, watching, recorded, scheduler, impatient):
    async def busy():
        await asyncio.sleep(0.05)

    async with watching(bot, Jobs) as surface:
        scheduler.add_job(fail, "interval", seconds=0.02)
        scheduler.add_job(busy, "interval", seconds=0.01)  # most of its runs are skipped
        scheduler.add_job(digest)
        scheduler.add_job(digest, "date", run_date=datetime.now(UTC) - timedelta(hours=1), misfire_grace_time=1)
        await until(lambda: sum(one.operation.endswith("busy") for one in recorded()) > 20)
        assert surface.loops() == []


async def test_a_job_that_its_scheduler_forgets_is_overdue(bot, watching, recorded, scheduler, impatient):
    async with watching(bot, Jobs) as surface:
        scheduler.add_job(digest, "interval", seconds=0.1)
        await until(recorded)
        scheduler._stop_timer()  # as a timer that is lost
        await until(surface.loops)
        (one,) = surface.loops()
        assert (one.name, one.dead, one.text) == ("digest", False, "its scheduler does not start it")
        scheduler.wakeup()
        await until(lambda: not surface.loops())


async def test_only_so_many_jobs_are_remembered(bot, watching, scheduler, monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    async with watching(bot, Jobs) as surface:
        jobs = [scheduler.add_job(digest, "interval", seconds=60, next_run_time=datetime.now(UTC)) for _ in range(9)]
        await until(lambda: surface._known)
        await asyncio.sleep(0.05)
        assert len(surface._known) == 5
        assert len(jobs) == 9
        assert surface.loops() == []


async def test_the_watcher_reports_jobs_of_one_function_as_one_loop(bot, recorder, scheduler, stuck, impatient):
    async def remind(number):
        await stuck.wait()

    watcher = Watcher(bot, Settings(_env_file=None), recorder)
    watcher.surfaces = [one for one in watcher.surfaces if isinstance(one, Jobs)]
    await watcher.install()
    for number in range(3):
        scheduler.add_job(remind, "interval", seconds=0.02, args=(number,))
    await until(lambda: len(watcher.surfaces[0].loops()) == 3)
    states = watcher.surfaces[0].loops()
    (one,) = watcher.loops()
    assert one.overdue_s >= max(state.overdue_s for state in states)
    await watcher.remove()
    assert watcher.loops() == []


async def test_a_surface_that_cannot_be_asked_keeps_no_other_from_being_asked(bot, recorder, caplog, monkeypatch):
    watcher = Watcher(bot, Settings(_env_file=None), recorder)
    dead = LoopState("feed", dead=True, overdue_s=0.0, text="ValueError")
    late = LoopState("feed", dead=False, overdue_s=90.0, text="nothing has woken it")

    def broken(surface):
        raise RuntimeError("broken")

    monkeypatch.setattr(Jobs, "loops", broken)
    monkeypatch.setattr(BackgroundLoops, "loops", lambda surface: [late, dead, late])
    assert watcher.loops() == [dead]
    assert "The background loops of the bot's scheduled jobs could not be checked" in caplog.text
