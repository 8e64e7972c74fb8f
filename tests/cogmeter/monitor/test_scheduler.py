"""The schedule: jobs run again and again, whatever they raise, and leave nothing behind."""

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from cogmeter.monitor.scheduler import BROKEN_RUNS, EXECUTOR, Interval, Scheduler
from cogmeter.recording.background import own_work
from cogmeter_storage.base import StorageError

PATIENCE_S = 20


@pytest.fixture
async def faults():
    return Counter()


@pytest.fixture
async def schedule(faults):
    schedule = Scheduler(faults)
    yield schedule
    schedule.stop()
    await asyncio.sleep(0)


async def times(count, done):
    """Wait until something was done so many times."""
    async with asyncio.timeout(PATIENCE_S):
        while len(done) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("error", [ValueError("no"), StorageError("disk full", permanent=False)])
async def test_a_job_that_fails_is_counted_logged_and_run_again(schedule, faults, caplog, error):
    done = []

    async def work():
        done.append(1)
        raise error

    schedule.every(0.02, "sums", work)
    schedule.start()
    await times(3, done)
    assert faults["sums"] >= 2
    assert "sums job" in caplog.text


async def test_an_outage_of_the_store_is_logged_once_for_each_job(schedule, faults, caplog):
    away = [True]
    done = []

    async def work():
        done.append(1)
        if away[0]:
            raise StorageError("cannot be reached", permanent=False)

    schedule.every(0.02, "sums", work)
    schedule.start()
    await times(4, done)
    assert faults["sums"] >= 3
    away[0] = False
    await times(len(done) + 2, done)
    away[0] = True
    await times(len(done) + 3, done)
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 2


async def test_a_job_that_runs_at_the_end_is_cut_off_in_silence(faults, caplog):
    schedule, begun, ended = Scheduler(faults), asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            ended.set()

    schedule.every(0.02, "long", work)
    schedule.start()
    await begun.wait()
    schedule.stop()
    async with asyncio.timeout(PATIENCE_S / 2):
        await ended.wait()
    await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert faults == {}


async def test_a_job_that_the_end_cancels_before_its_first_step_is_cut_off_in_silence(faults, caplog):
    schedule, done = Scheduler(faults), []

    async def work():
        done.append(1)

    schedule.every(PATIENCE_S, "sums", work)
    schedule.start()
    (job,) = schedule.jobs
    job.modify(next_run_time=datetime.now(UTC))
    schedule.stop()
    schedule._scheduler._process_jobs()  # the timer was due in the turn of the loop in which the scheduler shuts down
    await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (faults, done) == ({}, [])


async def test_a_job_may_be_added_while_the_others_run(schedule):
    done = []

    async def work():
        done.append(own_work.get())

    schedule.start()
    schedule.every(0.02, "late", work)
    await times(2, done)
    assert all(done)  # so that no surface takes it for the host's
    assert [job.id for job in schedule.jobs] == ["late"]


async def test_the_levels_of_the_schedulers_loggers_are_given_back(faults):
    logger = logging.getLogger(f"apscheduler.executors.{EXECUTOR}")
    before = logger.level
    schedule = Scheduler(faults)
    schedule.start()
    assert logger.level == logging.WARNING
    schedule.stop()
    await asyncio.sleep(0)
    assert logger.level == before


async def test_a_job_that_fails_again_and_again_is_broken_until_it_works(schedule):
    done, well = [], []

    async def work():
        done.append(1)
        if not well:
            raise StorageError("disk full", permanent=False)

    schedule.every(0.02, "sums", work)
    schedule.start()
    await times(BROKEN_RUNS, done)
    async with asyncio.timeout(PATIENCE_S):
        while not schedule.broken:
            await asyncio.sleep(0.01)
    assert schedule.broken == ["sums"]
    assert schedule.failing["sums"].runs >= BROKEN_RUNS
    assert schedule.failing["sums"].error == "disk full"
    well.append(1)
    async with asyncio.timeout(PATIENCE_S):
        while schedule.failing:
            await asyncio.sleep(0.01)
    assert schedule.broken == []


@pytest.mark.parametrize("years", [1, 10, 1000])
def test_a_clock_that_goes_forward_makes_no_burst_of_runs(years):
    due = datetime(2026, 1, 1, tzinfo=UTC)
    trigger = Interval(seconds=10, timezone=UTC)
    now = due + timedelta(days=365 * years, seconds=3)
    assert trigger.get_next_fire_time(due, due) == due + timedelta(seconds=10)
    assert trigger.get_next_fire_time(due, now) == now + timedelta(seconds=10 - (now - due).total_seconds() % 10)


@pytest.mark.parametrize("hours", [-87_600, -1, 1, 87_600])
async def test_a_job_runs_on_when_the_wall_clock_is_set(schedule, monkeypatch, hours):
    done = []

    async def work():
        done.append(1)

    class Wall(datetime):
        """What APScheduler reads: the machine's clock, and by how much it has been set."""

        step = timedelta()

        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + cls.step

    for module in ("apscheduler.schedulers.base", "apscheduler.triggers.interval", "cogmeter.monitor.scheduler"):
        monkeypatch.setattr(f"{module}.datetime", Wall)
    schedule.every(0.05, "sums", work)
    schedule.start()
    await times(3, done)
    Wall.step = timedelta(hours=hours)
    schedule.stepped(hours * 3_600_000_000)
    await times(len(done) + 3, done)
    (job,) = schedule.jobs
    assert job.next_run_time - Wall.now(UTC) < timedelta(seconds=1)
