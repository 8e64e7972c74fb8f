"""What is done again and again: each job at its own interval, with its faults counted and logged, never raised."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from cogmeter.recording.background import own_context
from cogmeter.recording.operation import now_ns
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from apscheduler.job import Job

BROKEN_RUNS: Final = 3  # failed runs in a row: more than an accident
EXECUTOR: Final = "cogmeter"  # APScheduler names its log by it, so that a host's own jobs log as they did

_logger = logging.getLogger("cogmeter.schedule")


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job that fails now."""

    runs: int  # how many in a row have failed
    error: str  # of the last one


class Interval(IntervalTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """An interval of which no run is made up for: a clock that went forward may have passed over millions."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the time of the next run: never before ``now``."""
        following: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        if following is None or following > now:
            return following
        interval: timedelta = self.interval
        return now + interval - (now - following) % interval


class Scheduler:
    """The jobs of one monitor, from ``start`` to ``stop``."""

    def __init__(self, faults: Counter[str]) -> None:
        """What fails is counted among the ``faults``, by the job's name."""
        self._faults = faults
        self.ended_ns: dict[str, int] = {}  # when each job last came to an end, well or not
        self.failing: dict[str, FailingJob] = {}  # the jobs whose last run failed
        self._quiet = ExitStack()  # gives the loggers their levels back
        self._hushed = False
        self._scheduler = AsyncIOScheduler(timezone=UTC, logger=logging.getLogger("cogmeter.scheduler"))
        self._scheduler.add_executor("asyncio", EXECUTOR)

    def every(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work`` every ``interval_s`` seconds, never twice at once; also after the start."""
        self._hush()
        # A context of our own: no interaction's may leak into jobs that outlive it.
        own_context().run(
            self._scheduler.add_job,
            self._guarded(name, work),
            Interval(seconds=interval_s, timezone=UTC),  # pyright: ignore[reportArgumentType]  # a float is fine
            id=name,
            executor=EXECUTOR,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        _logger.debug("Scheduled: %s every %g s", name, interval_s)

    @property
    def jobs(self) -> list[Job]:
        """The jobs, each with the time of its next run."""
        return list(self._scheduler.get_jobs())

    @property
    def broken(self) -> list[str]:
        """The jobs that have failed several times in a row, in alphabetical order."""
        return sorted(name for name, one in self.failing.items() if one.runs >= BROKEN_RUNS)

    def stepped(self, step_us: int) -> None:
        """Follow a step of the wall clock: each job runs next when it would have run without it."""
        for job in self.jobs:
            at = getattr(job, "next_run_time", None)  # there is none before the start
            if at is not None:
                # The scheduler may have run since the step, and the next time is by the new clock already.
                until = datetime.now(UTC) + job.trigger.interval
                job.modify(next_run_time=min(at + timedelta(microseconds=step_us), until))

    def start(self) -> None:
        """Begin, on the running loop."""
        self._hush()
        own_context().run(self._scheduler.start)

    def stop(self) -> None:
        """Begin no job any more; the scheduler itself shuts down in the loop's next turn."""
        self._scheduler.shutdown(wait=False)
        self._quiet.close()
        self._hushed = False

    def _hush(self) -> None:
        """APScheduler tells of every job and run at INFO; ours are worth a line when they fail."""
        if self._hushed:
            return
        self._hushed = True
        for name in ("cogmeter.scheduler", f"apscheduler.executors.{EXECUTOR}"):
            logger = logging.getLogger(name)
            self._quiet.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.WARNING)

    def _guarded(self, name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            failure: str | None = "it was cut off"
            try:
                await work()
                failure = None
            except asyncio.CancelledError:
                _logger.debug("The %s job was cut off by the end", name)  # raised on, APScheduler would call it a fault
            except StorageError as error:
                self._faults[name] += 1
                failure = str(error)
                _logger.warning("The %s job could not use the store: %s", name, error)
            except Exception as error:
                self._faults[name] += 1
                failure = f"a fault of cogmeter's ({type(error).__name__})"
                _logger.exception("The %s job failed", name)
            finally:
                self.ended_ns[name] = now_ns()
                before = self.failing.pop(name, None)
                if failure is not None:
                    self.failing[name] = FailingJob(before.runs + 1 if before else 1, failure)

        return job
