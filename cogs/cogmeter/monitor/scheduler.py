"""Runs jobs at intervals. Their errors are counted and logged, never raised."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from cogmeter.recording.background import own_context
from cogmeter.recording.operation import now_ns
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from apscheduler.job import Job

BROKEN_RUNS: Final = 3  # failed runs in a row from which a job is broken
EXECUTOR: Final = "cogmeter"  # part of the name of APScheduler's logger, so that the log of a host's jobs is unchanged

_logger = logging.getLogger("cogmeter.schedule")


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job whose last run failed."""

    runs: int  # failed runs in a row
    error: str  # of the last run


class Interval(IntervalTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """An interval that never makes up for missed runs: a clock that was set forward may have skipped millions."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the time of the next run: never before ``now``."""
        following: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        if following is None or following > now:
            return following
        interval: timedelta = self.interval
        return now + interval - (now - following) % interval


class _Executor(AsyncIOExecutor):  # type: ignore[misc]  # APScheduler ships no types
    """Runs jobs as tasks. One that the stop cancels before its first step has ended, as one that is cancelled later."""

    def _run_job_error(self, job_id: str, exc: BaseException, traceback: TracebackType | None = None) -> None:
        if isinstance(exc, asyncio.CancelledError):
            self._run_job_success(job_id, [])
        else:
            super()._run_job_error(job_id, exc, traceback)


class Scheduler:
    """The jobs of one monitor, from ``start`` to ``stop``."""

    def __init__(self, faults: Counter[str]) -> None:
        """Count failed runs in ``faults`` by the job's name."""
        self._faults = faults
        self.ended_ns: dict[str, int] = {}  # when each job last ended, with or without an error
        self.failing: dict[str, FailingJob] = {}  # the jobs whose last run failed
        self._quiet = ExitStack()  # restores the levels of loggers
        self._quietened = False
        self._scheduler = AsyncIOScheduler(timezone=UTC, logger=logging.getLogger("cogmeter.scheduler"))
        self._scheduler.add_executor(_Executor(), EXECUTOR)

    def every(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run ``work`` every ``interval_s`` seconds, never twice at once. It replaces an earlier job of this name."""
        self._quieten()
        job = self._scheduler.get_job(name)
        if job is not None and job.trigger.interval == timedelta(seconds=interval_s):
            job.modify(func=self._guarded(name, work))  # it is due when it was due
            return
        # A new context: the context of an interaction must not leak into jobs.
        own_context().run(
            self._scheduler.add_job,
            self._guarded(name, work),
            Interval(seconds=interval_s, timezone=UTC),  # pyright: ignore[reportArgumentType]  # a float is fine
            id=name,
            executor=EXECUTOR,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            replace_existing=True,
        )
        _logger.debug("Scheduled: %s every %g s", name, interval_s)

    @property
    def jobs(self) -> list[Job]:
        """Return the jobs, each with the time of its next run."""
        return list(self._scheduler.get_jobs())

    @property
    def broken(self) -> list[str]:
        """Return the jobs that have failed several times in a row, in alphabetical order."""
        return sorted(name for name, job in self.failing.items() if job.runs >= BROKEN_RUNS)

    def stepped(self, step_us: int) -> None:
        """Adjust to a step of the wall clock: each job runs next when it would have run without the step."""
        for job in self.jobs:
            at = getattr(job, "next_run_time", None)  # missing before the start
            if at is not None:
                # If the scheduler has run since the step, the next time is by the new clock already.
                until = datetime.now(UTC) + job.trigger.interval
                job.modify(next_run_time=min(at + timedelta(microseconds=step_us), until))

    def start(self) -> None:
        """Start the jobs on the running loop."""
        self._quieten()
        own_context().run(self._scheduler.start)

    def pause(self) -> None:
        """Start no runs until ``resume``; running ones continue."""
        if self._scheduler.running:
            self._scheduler.pause()

    def resume(self) -> None:
        """Start jobs again; what was due in the meantime runs once."""
        if self._scheduler.running:
            own_context().run(self._scheduler.resume)

    def stop(self) -> None:
        """Start no more runs; the scheduler itself shuts down in the loop's next turn."""
        self._scheduler.shutdown(wait=False)
        self._quiet.close()
        self._quietened = False

    def _quieten(self) -> None:
        """Raise the level of APScheduler's loggers, which log every job and run at INFO."""
        if self._quietened:
            return
        self._quietened = True
        for name in ("cogmeter.scheduler", f"apscheduler.executors.{EXECUTOR}"):
            logger = logging.getLogger(name)
            self._quiet.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.WARNING)

    def _guarded(self, name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            failure: str | None = "it was cancelled"
            try:
                await work()
                failure = None
            except asyncio.CancelledError:
                _logger.debug("The %s job was cancelled", name)  # if raised, APScheduler would log it as an error
            except StorageError as error:
                self._faults[name] += 1
                failure = str(error)
                # An outage makes every run of every job fail: the first failure of each is enough.
                level = logging.DEBUG if name in self.failing else logging.WARNING
                _logger.log(level, "The %s job could not use the store: %s", name, error)
            except Exception as error:
                self._faults[name] += 1
                failure = f"a fault of cogmeter ({type(error).__name__})"
                _logger.exception("The %s job failed", name)
            finally:
                self.ended_ns[name] = now_ns()
                before = self.failing.pop(name, None)
                if failure is not None:
                    self.failing[name] = FailingJob(before.runs + 1 if before else 1, failure)

        return job
