"""Records jobs of the host's APScheduler: duration and start delay of each run, and missed runs."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.alerts.model import LoopState
from cogmeter.recording import running, tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.service_names import TASKS
from cogmeter.render import formatting
from cogmeter.watch.background.overdue import overdue
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cogmeter.recording.running import RunningOperation

MOST: Final = 1_000  # remembered runs in progress, and jobs
MISSED: Final = 3  # runs in a row
LATE_MS: Final = 50.0  # see loops.py


class Run(NamedTuple):
    """A run of a job, from its submission."""

    series: int
    operation: RunningOperation
    late_ms: float


class JobState:
    """A job that has run at least once while it was watched."""

    __slots__ = ("_began_ns", "_job", "_scheduler", "due", "interval_s", "missed", "missed_since", "name")

    def __init__(self, job: Any, name: str) -> None:
        self.name = name
        self.due: datetime | None = None  # of the last run that began
        self._began_ns = now_ns()  # of that run
        self.interval_s = 0.0  # between the last two runs
        self.missed = 0  # missed runs in a row
        self.missed_since: datetime | None = None
        # A job from a database is a new object for each run; a job in memory is always the same.
        self._job, self._scheduler = weakref.ref(job), weakref.ref(job._scheduler)  # noqa: SLF001 - there is no public attribute

    def begin(self, due: datetime) -> None:
        """Note a run that begins."""
        if self.due is not None:
            self.interval_s = (due - self.due).total_seconds()
        self.due, self._began_ns = due, now_ns()

    def miss(self, due: datetime) -> None:
        """Note a missed run."""
        self.missed += 1
        self.missed_since = self.missed_since or due

    def ran(self) -> None:
        """Note the end of a run."""
        self.missed, self.missed_since = 0, None

    def state(self, now: datetime, running: int) -> LoopState | None:
        """Return the state of an overdue job, else None. ``running`` is the state of a scheduler that runs."""
        if getattr(self._scheduler(), "state", None) != running:
            return None
        late_s, interval_s, text = self._delay(now)
        if not overdue(late_s, interval_s):
            return None
        return LoopState(self.name, dead=False, overdue_s=late_s, text=text)

    def _delay(self, now: datetime) -> tuple[float, float, str]:
        """Return by how many seconds the job is late, the interval in seconds, and the problem."""
        if self.missed >= MISSED and self.missed_since is not None:
            late_s = (now - self.missed_since).total_seconds()
            return late_s, self.interval_s, f"missed its last {formatting.counted(self.missed, 'run')}"
        next_run = getattr(self._job(), "next_run_time", None)  # None for a paused job
        if next_run is None or self.due is None:
            return 0.0, 0.0, ""
        interval_s = (next_run - self.due).total_seconds()
        # A clock that was set forward, or a suspended machine, does not make a job late.
        passed_s = (now_ns() - self._began_ns) / 1e9
        late_s = min((now - next_run).total_seconds(), passed_s - interval_s)
        return late_s, interval_s, "its scheduler does not start it"


class Jobs(Surface):
    """One operation for each run of a job, named by its function: there may be as many job ids as users.

    The hooks cover all schedulers of the process, also running ones. A run in a thread pool lasts from its submission;
    runs that are due together last until the last one ends. cogmeter's own jobs are not recorded. Without the hooks,
    jobs are not recorded.
    """

    name = "scheduled jobs"
    setting = "watch_tasks"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._runs: OrderedDict[tuple[str, str, datetime], Run] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], JobState] = OrderedDict()

    def prepare(self) -> None:
        """Hook APScheduler if this process has imported it."""
        base, executors = (sys.modules.get(f"apscheduler.{part}.base") for part in ("schedulers", "executors"))
        events = sys.modules.get("apscheduler.events")
        if base is None or executors is None or events is None:
            return
        self._executed, self._error = events.EVENT_JOB_EXECUTED, events.EVENT_JOB_ERROR
        self._missed = events.EVENT_JOB_MISSED
        self._changed = events.EVENT_JOB_ADDED | events.EVENT_JOB_MODIFIED | events.EVENT_JOB_REMOVED
        self._cleared = events.EVENT_ALL_JOBS_REMOVED
        self._running = base.STATE_RUNNING
        self._overlap = executors.MaxInstancesReachedError
        self.hooks += [
            Hook("job starts", executors.BaseExecutor, "submit_job", self._submit, expects=["job", "run_times"]),
            Hook("job ends", base.BaseScheduler, "_dispatch_event", self._dispatch, expects=["event"]),
        ]

    async def remove(self) -> None:
        """Remove the hooks and forget runs in progress."""
        await super().remove()
        for run in self._runs.values():
            self.context.recorder.running.end(run.operation)
        self._runs.clear()
        self._known.clear()

    def loops(self) -> list[LoopState]:
        """Return overdue jobs. A job that fails, or whose scheduler is paused or shut down, is not overdue."""
        now = datetime.now(UTC)
        states = (job.state(now, self._running) for job in list(self._known.values()))
        return [state for state in states if state is not None]

    def _submit(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def submit_job(executor: Any, job: Any, run_times: Sequence[datetime]) -> Any:
            if not hook.active or own_module(job.func):
                return original(executor, job, run_times)
            operation: RunningOperation | None = None
            try:
                operation = self._begin(job, run_times)
            except Exception as error:  # noqa: BLE001 - our fault must not keep the host's job from running
                hook.fault(error)
            # A command that adds a job wakes the scheduler: the run does not belong to that command.
            token = tracing.pause()
            outer = running.pause() if operation is None else running.assign(operation)
            try:
                return original(executor, job, run_times)
            except self._overlap:
                self._skip(job, run_times, hook)
                raise
            finally:
                tracing.end(token)
                running.leave(outer)

        return submit_job

    def _dispatch(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        endings = self._executed | self._error | self._missed
        followed = endings | self._changed | self._cleared

        def dispatch_event(scheduler: Any, event: Any) -> Any:
            if hook.active and event.code & followed:
                try:
                    if event.code & endings:
                        self._end(event)
                    else:
                        self._forget(event)
                except Exception as error:  # noqa: BLE001 - the host's own listeners must get the event
                    hook.fault(error)
            return original(scheduler, event)

        return dispatch_event

    def _begin(self, job: Any, run_times: Sequence[datetime]) -> RunningOperation | None:
        """Note the runs that begin; return the last one."""
        name = fitted(qualified(job.func))
        recorder, now = self.context.recorder, datetime.now(UTC)
        series, operation = recorder.series(TASKS, name), None
        known = self._known.setdefault(_key(job, now)[:2], JobState(job, name))
        for due in run_times:
            known.begin(due)
            late_ms = (now - due).total_seconds() * 1000
            operation = recorder.running.begin(TASKS, name)
            operation.code = getattr(job.func, "__code__", None)
            self._runs[_key(job, due)] = Run(series, operation, round(late_ms, 1) if late_ms >= LATE_MS else 0.0)
        while len(self._runs) > MOST:
            _, forgotten = self._runs.popitem(last=False)
            recorder.running.end(forgotten.operation)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return operation

    def _skip(self, job: Any, run_times: Sequence[datetime], hook: Hook) -> None:
        """Record the runs that were skipped because the run before had not ended."""
        try:
            for due in run_times:
                run = self._runs.pop(_key(job, due), None)
                if run is not None:
                    self._known[_key(job, due)[:2]].miss(due)
                    self._add(run, Outcome.ERROR, "skipped: the run before had not ended", at_once=True)
        except Exception as error:  # noqa: BLE001 - APScheduler's own exception must be raised
            hook.fault(error)

    def _end(self, event: Any) -> None:
        run = self._runs.pop((event.jobstore, event.job_id, event.scheduled_run_time), None)
        if run is None:  # cogmeter's own, or begun before the hooks
            return
        known = self._known.get((event.jobstore, event.job_id))  # forgotten when its last run is submitted
        if event.code & self._missed:
            if known is not None:
                known.miss(event.scheduled_run_time)
            self._add(run, Outcome.ERROR, "missed: it was too late to begin", at_once=True)
            return
        if known is not None:
            known.ran()
        error = None if event.exception is None else cause_of(event.exception)
        text = None if error is None else error_text(error)
        self._add(run, outcome_of(event.exception), text, failure=error)

    def _forget(self, event: Any) -> None:
        """Forget a job that was replaced, paused, rescheduled or removed."""
        if event.code & self._changed:
            self._known.pop((event.jobstore, event.job_id), None)
            return
        for key in list(self._known):
            if event.alias in {None, key[0]}:
                self._known.pop(key, None)

    def _add(
        self,
        run: Run,
        outcome: Outcome,
        error: str | None,
        *,
        failure: BaseException | None = None,
        at_once: bool = False,
    ) -> None:
        """Record a run that ends now, or at once when it began."""
        operation, recorder = run.operation, self.context.recorder
        recorder.running.end(operation)
        values = {"late_ms": run.late_ms, "logged_errors": operation.logged_errors}
        noted = {name: value for name, value in values.items() if value}
        metadata = {**noted, **operation.known_metadata()} or None
        end_ns = operation.start_ns if at_once else now_ns()
        recorder.add_timed(
            run.series, operation.start_ns, end_ns, outcome, error=error, failure=failure, metadata=metadata
        )


def _key(job: Any, due: datetime) -> tuple[str, str, datetime]:
    return job._jobstore_alias, job.id, due  # noqa: SLF001 - what its events call jobstore
