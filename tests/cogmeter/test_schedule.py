"""The schedule: jobs run again and again, whatever they raise, and leave nothing behind."""

import asyncio
import logging
from collections import Counter

import pytest

from cogmeter.background import own_work
from cogmeter.schedule import BROKEN_RUNS, EXECUTOR, Schedule
from cogmeter_storage.base import StorageError

PATIENCE_S = 20


@pytest.fixture
async def faults():
    return Counter()


@pytest.fixture
async def schedule(faults):
    schedule = Schedule(faults)
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


async def test_a_job_that_runs_at_the_end_is_cut_off_in_silence(faults, caplog):
    schedule, begun, ended = Schedule(faults), asyncio.Event(), asyncio.Event()

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
    schedule = Schedule(faults)
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
