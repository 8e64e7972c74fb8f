"""Scheduled jobs of the host's APScheduler: how long each run takes, how late it begins, which ones were missed."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.alerts.model import LoopState
from cogmeter.recording import tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.service_names import TASKS
from cogmeter.watch.background.overdue import overdue
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST: Final = 1_000  # runs under way, and jobs, that are remembered
MISSED: Final = 3  # runs in a row
LATE_MS: Final = 50.0  # see loops.py


class Run(NamedTuple):
    """One run of a job, from its submission on."""

    series: int
    start_ns: int
    late_ms: float


class JobState:
    """One job that has come to run at least once while we watched."""

    __slots__ = ("_began_ns", "_job", "_scheduler", "due", "interval_s", "missed", "missed_since", "name")

    def __init__(self, job: Any, name: str) -> None:
        self.name = name
        self.due: datetime | None = None  # of the last run that was begun
        self._began_ns = now_ns()  # when that was
        self.interval_s = 0.0  # between the last two
        self.missed = 0  # runs that were due one after the other and did not take place
        self.missed_since: datetime | None = None
        # A job that is kept in a database is read anew for each run; one that is kept in memory stays.
        self._job, self._scheduler = weakref.ref(job), weakref.ref(job._scheduler)  # noqa: SLF001 - it has no public way to it

    def begin(self, due: datetime) -> None:
        """A run is due."""
        if self.due is not None:
            self.interval_s = (due - self.due).total_seconds()
        self.due, self._began_ns = due, now_ns()

    def miss(self, due: datetime) -> None:
        """The run that was due then did not take place."""
        self.missed += 1
        self.missed_since = self.missed_since or due

    def ran(self) -> None:
        """A run has ended, well or not."""
        self.missed, self.missed_since = 0, None

    def state(self, now: datetime, running: int) -> LoopState | None:
        """How it stands if it is overdue. ``running`` is the state of a scheduler that is neither paused nor ended."""
        if getattr(self._scheduler(), "state", None) != running:
            return None
        late_s, interval_s, text = self._lateness(now)
        if not overdue(late_s, interval_s):
            return None
        return LoopState(self.name, dead=False, overdue_s=late_s, text=text)

    def _lateness(self, now: datetime) -> tuple[float, float, str]:
        """By how many seconds it is late, the seconds between two runs, and what is the matter."""
        if self.missed >= MISSED and self.missed_since is not None:
            late_s = (now - self.missed_since).total_seconds()
            return late_s, self.interval_s, f"its last {self.missed} runs did not take place"
        next_run = getattr(self._job(), "next_run_time", None)  # None for one that is paused, too
        if next_run is None or self.due is None:
            return 0.0, 0.0, ""
        interval_s = (next_run - self.due).total_seconds()
        # A clock that went forward, or a machine that slept, has not made it late.
        passed_s = (now_ns() - self._began_ns) / 1e9
        late_s = min((now - next_run).total_seconds(), passed_s - interval_s)
        return late_s, interval_s, "its scheduler does not begin it"


class Jobs(Surface):
    """Each run of a job is one operation, named by the function: ids and names of jobs may be as many as users.

    All schedulers of the process are seen, running ones too, without a search for them. A run in a pool of threads
    counts from its submission; runs that were due together count until the last one ends. Our own jobs are left out.
    Without these hooks, jobs are not recorded.
    """

    name = "scheduled jobs"
    setting = "watch_tasks"

    def __init__(self, ground: WatchContext) -> None:
        super().__init__(ground)
        self._runs: OrderedDict[tuple[str, str, datetime], Run] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], JobState] = OrderedDict()

    def prepare(self) -> None:
        """Hook APScheduler, if anybody in this process has imported it; that alone shows that it is used."""
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
        """Also forget what is under way."""
        await super().remove()
        self._runs.clear()
        self._known.clear()

    def loops(self) -> list[LoopState]:
        """Jobs that are overdue. One that fails is not, nor one whose scheduler was paused or shut down."""
        now = datetime.now(UTC)
        states = (one.state(now, self._running) for one in list(self._known.values()))
        return [state for state in states if state is not None]

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
        followed = endings | self._changed | self._cleared

        def dispatch_event(scheduler: Any, event: Any) -> Any:
            if hook.active and event.code & followed:
                try:
                    if event.code & endings:
                        self._end(event)
                    else:
                        self._forget(event)
                except Exception as error:  # noqa: BLE001 - the host's own listeners must hear of the event
                    hook.fault(error)
            return original(scheduler, event)

        return dispatch_event

    def _begin(self, job: Any, run_times: Sequence[datetime]) -> None:
        name = fitted(qualified(job.func))
        series = self.ground.recorder.series(TASKS, name)
        start_ns, now = now_ns(), datetime.now(UTC)
        known = self._known.setdefault(_key(job, now)[:2], JobState(job, name))
        for due in run_times:
            known.begin(due)
            late_ms = (now - due).total_seconds() * 1000
            self._runs[_key(job, due)] = Run(series, start_ns, round(late_ms, 1) if late_ms >= LATE_MS else 0.0)
        for remembered in (self._runs, self._known):
            while len(remembered) > MOST:
                remembered.popitem(last=False)

    def _skip(self, job: Any, run_times: Sequence[datetime], hook: Hook) -> None:
        """Record the runs that were left out because the one before was still under way."""
        try:
            for due in run_times:
                run = self._runs.pop(_key(job, due), None)
                if run is not None:
                    self._known[_key(job, due)[:2]].miss(due)
                    self._add(run, Outcome.ERROR, "skipped: the run before had not ended", run.start_ns)
        except Exception as error:  # noqa: BLE001 - APScheduler's own exception must go on
            hook.fault(error)

    def _end(self, event: Any) -> None:
        run = self._runs.pop((event.jobstore, event.job_id, event.scheduled_run_time), None)
        if run is None:  # ours, or begun before we came
            return
        known = self._known.get((event.jobstore, event.job_id))  # it is forgotten when its last run is submitted
        if event.code & self._missed:
            if known is not None:
                known.miss(event.scheduled_run_time)
            self._add(run, Outcome.ERROR, "missed: it was too late to begin", run.start_ns)
            return
        if known is not None:
            known.ran()
        error = event.exception
        self._add(run, outcome_of(error), None if error is None else error_text(cause_of(error)), now_ns())

    def _forget(self, event: Any) -> None:
        """A job was replaced, paused, given other times or removed: what it did before counts no more."""
        if event.code & self._changed:
            self._known.pop((event.jobstore, event.job_id), None)
            return
        for key in list(self._known):
            if event.alias in {None, key[0]}:
                self._known.pop(key, None)

    def _add(self, run: Run, outcome: Outcome, error: str | None, end_ns: int) -> None:
        metadata = {"late_ms": run.late_ms} if run.late_ms else None
        self.ground.recorder.add_timed(run.series, run.start_ns, end_ns, outcome, error=error, metadata=metadata)


def _key(job: Any, due: datetime) -> tuple[str, str, datetime]:
    return job._jobstore_alias, job.id, due  # noqa: SLF001 - what its events call jobstore
