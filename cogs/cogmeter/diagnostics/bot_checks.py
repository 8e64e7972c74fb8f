"""Health checks of the bot: gateway connection, event loop, flusher, database and jobs."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.rules.process import STALL
from cogmeter.diagnosis import BAD, Check, Status
from cogmeter.diagnostics.damage import damage_text
from cogmeter.diagnostics.judgement import LOOP, lag_status, with_blocks
from cogmeter.monitor.clock_watch import clock_text
from cogmeter.recording.background import detached
from cogmeter.recording.flusher import STALE_S
from cogmeter.recording.operation import now_ns
from cogmeter.render import formatting
from cogmeter.watch.background.overdue import overdue
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.gateway import connection_problems
from cogmeter_storage.alerting import SENT
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from apscheduler.job import Job

    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import StoreStatus

LOST_S: Final = 60.0  # discord.py reconnects by itself, and Discord requests reconnects now and then
ANSWER_S: Final = 2.0  # timeout of the database
REOPENED_S: Final = 3600.0  # a database that had to be opened again is degraded for this long
VITAL_JOBS: Final = frozenset({"alerts", "samples"})
HEARTBEAT: Final = "gateway.heartbeat_age_s."


def gateway(monitor: Monitor, lost_s: float) -> Check:
    """Check the connection to Discord; ``lost_s`` is how long every shard has been lost, 0 if any is connected."""
    age_s = max((age for name, age in monitor.gauges.items() if name.startswith(HEARTBEAT)), default=None)
    if age_s is not None:
        age_s += _since_s(monitor.sampled_ns)
    if not monitor.bot.is_ready():
        return Check("gateway", Status.UNKNOWN, "the bot is not connected to Discord yet")
    problems, shards = connection_problems(monitor.bot)
    if not problems:
        return Check("gateway", Status.HEALTHY, f"{formatting.part(shards, shards, 'shard')} connected", age_s)
    count = len(problems)
    reason = f"{formatting.part(count, shards, 'shard')} {formatting.are(count)} unhealthy: {problems[0]}"
    gone = len(problems) >= shards and lost_s >= LOST_S
    return Check("gateway", Status.UNHEALTHY if gone else Status.DEGRADED, reason, age_s)


def all_lost(monitor: Monitor) -> bool:
    """Return whether every shard is unhealthy."""
    problems, shards = connection_problems(monitor.bot)
    return len(problems) >= max(shards, 1)


def loop(monitor: Monitor) -> Check:
    """Check the event loop by its lag and by the alerts about blocks of it; ``/perf doctor`` uses this, too."""
    active = monitor.alerting.engine.active
    check = with_blocks(lag(monitor), [one.severity for one in active if one.rule == STALL.name and one.state in SENT])
    named = any(isinstance(one, StallWatch) and one.names_cause for one in monitor.watcher.surfaces)
    if check.status not in BAD or not named:
        return check
    return replace(check, reason=f"{check.reason}; /perf doctor names what blocks it")


def lag(monitor: Monitor) -> Check:
    """Check the event loop by its lag in the newest sample alone. That this function runs shows that the loop does."""
    lag_ms, age_s = monitor.gauges.get("loop.lag_p99_ms"), None
    status, reason = Status.HEALTHY, "running; lag not measured yet"
    if lag_ms is not None:
        age_s = _since_s(monitor.sampled_ns)
        reason = f"p99 lag at most {formatting.duration(max(math.ceil(lag_ms), 1) * 1000)}"
        status = lag_status(lag_ms)
    return Check(LOOP, status, reason, age_s)


def flusher(monitor: Monitor) -> Check:
    """Check that recorded operations are stored, by the flusher's own judgement, which heartbeat and doctor use too."""
    flush = monitor.flusher
    age_s = flush.age_s
    if not flush.problem():
        assert age_s is not None, "it has flushed"
        written = formatting.counted(flush.written, "operation")
        return Check("flusher", Status.HEALTHY, f"{written} stored since the start", age_s)
    if age_s is None and flush.last_error is None and _since_s(monitor.began_ns) < STALE_S:
        return Check("flusher", Status.UNKNOWN, "no operations stored yet")
    waiting = flush.pending + flush.backlog.spooled + len(monitor.recorder.buffer)
    attempts = formatting.counted(flush.failures, "attempt")
    reason = f"{formatting.waiting(waiting, 'operation')}, {attempts} to store them failed; /perf doctor shows why"
    fresh = age_s is not None and age_s <= STALE_S
    return Check("flusher", Status.DEGRADED if fresh else Status.UNHEALTHY, reason, age_s)


async def database(monitor: Monitor) -> Check:
    """Check that the store answers, and that its data is intact."""
    status_task = detached(_status(monitor.store), name="cogmeter-health")
    done, _ = await asyncio.wait({status_task}, timeout=ANSWER_S)
    if not done:
        return Check("database", Status.DEGRADED, f"no answer within {ANSWER_S:g} s")
    status = status_task.result()
    if status is None:
        return Check("database", Status.UNHEALTHY, "cannot be read; /perf doctor shows why")
    age_s = None if status.last_write_us is None else max(clock.now_us() - status.last_write_us, 0) / 1e6
    stored = f"answers; {formatting.counted(status.operations, 'operation')} stored"
    if monitor.reopened and _since_s(monitor.reopened_ns) < REOPENED_S:
        reason = "its file was damaged, deleted or replaced, and was opened again; /perf doctor shows details"
        return Check("database", Status.DEGRADED, reason, age_s)
    problems, intact = _data_problems(monitor, status)
    return Check("database", Status.HEALTHY if intact else Status.DEGRADED, "; ".join([stored, *problems]), age_s)


def _data_problems(monitor: Monitor, status: StoreStatus) -> tuple[list[str], bool]:
    """Return texts about damage and clock steps, and whether the stored data is intact."""
    problems = [damage_text(status.damage)] if status.damage else []
    if status.clock or status.clock.clamped:
        problems.append(clock_text(status.clock))
    doubt = monitor.clock_watch.doubt()
    if doubt:
        problems.append(f"nothing is removed: {doubt}")
    return problems, not (status.damage or status.clock or doubt)


async def _status(store: Store) -> StoreStatus | None:
    try:
        return await store.status()
    except StorageError:
        return None


def jobs(monitor: Monitor) -> Check:
    """Check the scheduled jobs: threshold checks, samples, roll-up, clean-up."""
    schedule = monitor.schedule
    late = {job.id: late_s for job in schedule.jobs if overdue(late_s := _late_s(monitor, job), _interval_s(job))}
    ages = [_since_s(ended_ns) for ended_ns in schedule.ended_ns.values()]
    age_s = min(ages, default=None)
    if schedule.broken:
        runs = ", ".join(
            f"{formatting.counted(schedule.failing[name].runs, 'run')} of {name}" for name in schedule.broken
        )
        is_vital = not VITAL_JOBS.isdisjoint(schedule.broken)
        reason = f"the last {runs} failed; /perf doctor shows why"
        return Check("jobs", Status.UNHEALTHY if is_vital else Status.DEGRADED, reason, age_s)
    if late:
        name = max(late, key=lambda job: (job in VITAL_JOBS, late[job]))
        reason = f"the {name} job is late by {formatting.duration(late[name] * 1e6)}"
        return Check("jobs", Status.UNHEALTHY if name in VITAL_JOBS else Status.DEGRADED, reason, age_s)
    if schedule.failing:
        reason = f"the last run of {', '.join(sorted(schedule.failing))} failed; see the log"
        return Check("jobs", Status.DEGRADED, reason, age_s)
    return Check(
        "jobs",
        Status.HEALTHY,
        f"{formatting.counted(len(schedule.jobs), 'job')} {formatting.verb(len(schedule.jobs), 'run')} on time",
        age_s,
    )


def _late_s(monitor: Monitor, job: Job) -> float:
    """Return by how many seconds the job's next end is overdue; negative if it is not."""
    return _since_s(monitor.schedule.ended_ns.get(job.id, monitor.began_ns)) - _interval_s(job)


def _interval_s(job: Job) -> float:
    return float(job.trigger.interval.total_seconds())


def _since_s(at_ns: int) -> float:
    return (now_ns() - at_ns) / 1e9
