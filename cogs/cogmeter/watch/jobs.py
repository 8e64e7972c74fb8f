"""Scheduled jobs of the host's APScheduler: how long each run takes, how late it begins, which ones were missed."""

from __future__ import annotations

import sys
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter import tracing
from cogmeter.services import TASKS
from cogmeter.timing import error_text, now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import outcome_of
from cogmeter.watch.surface import Ground, Surface, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST: Final = 1_000  # runs under way that are remembered
LATE_MS: Final = 50.0  # see loops.py


class Run(NamedTuple):
    """One run of a job, from its submission on."""

    series: int
    start_ns: int
    late_ms: float


class Jobs(Surface):
    """Each run of a job is one operation, named by the function: ids and names of jobs may be as many as users.

    All schedulers of the process are seen, running ones too, without a search for them. A run in a pool of threads
    counts from its submission; runs that were due together count until the last one ends. Our own jobs are left out.
    Without these hooks, jobs are not recorded.
    """

    name = "scheduled jobs"
    setting = "watch_tasks"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._runs: OrderedDict[tuple[str, str, datetime], Run] = OrderedDict()

    def prepare(self) -> None:
        """Hook APScheduler, if anybody in this process has imported it; that alone shows that it is used."""
        base, executors = (sys.modules.get(f"apscheduler.{part}.base") for part in ("schedulers", "executors"))
        events = sys.modules.get("apscheduler.events")
        if base is None or executors is None or events is None:
            return
        self._executed, self._error = events.EVENT_JOB_EXECUTED, events.EVENT_JOB_ERROR
        self._missed = events.EVENT_JOB_MISSED
        self._overlap = executors.MaxInstancesReachedError
        self.hooks += [
            Hook("job starts", executors.BaseExecutor, "submit_job", self._submit, expects=["job", "run_times"]),
            Hook("job ends", base.BaseScheduler, "_dispatch_event", self._dispatch, expects=["event"]),
        ]

    async def remove(self) -> None:
        """Also forget what is under way."""
        await super().remove()
        self._runs.clear()

    def _submit(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def submit_job(executor: Any, job: Any, run_times: Sequence[datetime]) -> Any:
            if not hook.active or own_module(job.func):
                return original(executor, job, run_times)
            try:
                self._begin(job, run_times)
            except Exception as error:  # noqa: BLE001 - our fault must not keep the host's job from running
                hook.fault(error)
            # A command that adds a job wakes the scheduler: the run is no part of that command.
            token = tracing.pause()
            try:
                return original(executor, job, run_times)
            except self._overlap:
                self._skip(job, run_times, hook)
                raise
            finally:
                tracing.end(token)

        return submit_job

    def _dispatch(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        endings = self._executed | self._error | self._missed

        def dispatch_event(scheduler: Any, event: Any) -> Any:
            if hook.active and event.code & endings:
                try:
                    self._end(event)
                except Exception as error:  # noqa: BLE001 - the host's own listeners must hear of the event
                    hook.fault(error)
            return original(scheduler, event)

        return dispatch_event

    def _begin(self, job: Any, run_times: Sequence[datetime]) -> None:
        series = self.ground.recorder.series(TASKS, fitted(qualified(job.func)))
        start_ns, now = now_ns(), datetime.now(UTC)
        for due in run_times:
            late_ms = (now - due).total_seconds() * 1000
            self._runs[_key(job, due)] = Run(series, start_ns, round(late_ms, 1) if late_ms >= LATE_MS else 0.0)
        while len(self._runs) > MOST:
            self._runs.popitem(last=False)

    def _skip(self, job: Any, run_times: Sequence[datetime], hook: Hook) -> None:
        """Record the runs that were left out because the one before was still under way."""
        try:
            for due in run_times:
                run = self._runs.pop(_key(job, due), None)
                if run is not None:
                    self._add(run, Outcome.ERROR, "skipped: the run before had not ended", run.start_ns)
        except Exception as error:  # noqa: BLE001 - APScheduler's own exception must go on
            hook.fault(error)

    def _end(self, event: Any) -> None:
        run = self._runs.pop((event.jobstore, event.job_id, event.scheduled_run_time), None)
        if run is None:  # ours, or begun before we came
            return
        if event.code & self._missed:
            self._add(run, Outcome.ERROR, "missed: it was too late to begin", run.start_ns)
            return
        error = event.exception
        self._add(run, outcome_of(error), None if error is None else error_text(error), now_ns())

    def _add(self, run: Run, outcome: Outcome, error: str | None, end_ns: int) -> None:
        metadata = {"late_ms": run.late_ms} if run.late_ms else None
        self.ground.recorder.add_timed(run.series, run.start_ns, end_ns, outcome, error=error, metadata=metadata)


def _key(job: Any, due: datetime) -> tuple[str, str, datetime]:
    return job._jobstore_alias, job.id, due  # noqa: SLF001 - what its events call jobstore
