"""What a bot needs to serve: its connection, its event loop, the flusher, the database and the jobs."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Check, Status
from cogmeter.diagnostics.damage import damage_text
from cogmeter.monitor.clock_watch import clock_text
from cogmeter.recording.background import detached
from cogmeter.recording.flusher import STALE_S
from cogmeter.recording.operation import now_ns
from cogmeter.watch.background.overdue import overdue
from cogmeter.watch.gateway import troubles_of
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from apscheduler.job import Job

    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import StoreStatus

LOST_S: Final = 60.0  # discord.py comes back by itself; Discord itself asks for it now and then
SLOW_S: Final = 0.2  # of 100 callbacks on the loop one is late by so much: people notice
LATE_S: Final = 1.0  # and by so much: of the three seconds to answer an interaction, not enough is left
ANSWER_S: Final = 2.0  # for the database to answer
REOPENED_S: Final = 3600.0  # a database that had to be opened again is degraded for so long
VITAL_JOBS: Final = frozenset({"alerts", "samples"})
HEARTBEAT: Final = "gateway.heartbeat_age_s."


def gateway(monitor: Monitor, lost_s: float) -> Check:
    """The connection to Discord, which has been lost for ``lost_s`` (0: it is not, or not as a whole)."""
    age_s = max((age for name, age in monitor.gauges.items() if name.startswith(HEARTBEAT)), default=None)
    if age_s is not None:
        age_s += _since_s(monitor.sampled_ns)
    if not monitor.bot.is_ready():
        return Check("gateway", Status.UNKNOWN, "the bot is not connected to Discord yet")
    troubles, shards = troubles_of(monitor.bot)
    if not troubles:
        return Check("gateway", Status.HEALTHY, f"{shards} of {shards} shards connected", age_s)
    reason = f"{len(troubles)} of {shards} shards are unhealthy: {troubles[0]}"
    gone = len(troubles) >= shards and lost_s >= LOST_S
    return Check("gateway", Status.UNHEALTHY if gone else Status.DEGRADED, reason, age_s)


def all_lost(monitor: Monitor) -> bool:
    """Whether no shard is well."""
    troubles, shards = troubles_of(monitor.bot)
    return len(troubles) >= max(shards, 1)


def loop(monitor: Monitor) -> Check:
    """The event loop. That it is asked shows that the loop runs; the newest sample tells how late."""
    age_s = _since_s(monitor.sampled_ns)
    lag_ms = monitor.gauges.get("loop.lag_p99_ms")
    if lag_ms is None:
        return Check("loop", Status.HEALTHY, "it runs; how late has not been measured")
    reason = f"99 of 100 callbacks are late by no more than {max(math.ceil(lag_ms), 1)} ms"
    if lag_ms >= LATE_S * 1000:
        return Check("loop", Status.UNHEALTHY, f"{reason}; /perf doctor says what blocks it", age_s)
    return Check("loop", Status.DEGRADED if lag_ms >= SLOW_S * 1000 else Status.HEALTHY, reason, age_s)


def flusher(monitor: Monitor) -> Check:
    """Whether what is recorded is stored; the heartbeat and the doctor judge by the same word of the flusher."""
    one = monitor.flusher
    age_s = one.age_s
    if not one.trouble():
        assert age_s is not None, "it has flushed"
        return Check("flusher", Status.HEALTHY, f"{one.written} operations stored since the start", age_s)
    if age_s is None and one.last_error is None and _since_s(monitor.began_ns) < STALE_S:
        return Check("flusher", Status.UNKNOWN, "nothing has been stored yet")
    waiting = one.pending + len(monitor.recorder.buffer)
    reason = f"{waiting} operations wait, {one.failures} attempts to store them failed; /perf doctor says why"
    fresh = age_s is not None and age_s <= STALE_S
    return Check("flusher", Status.DEGRADED if fresh else Status.UNHEALTHY, reason, age_s)


async def database(monitor: Monitor) -> Check:
    """Whether the store answers."""
    asked = detached(_status(monitor.store), name="cogmeter-health")
    done, _ = await asyncio.wait({asked}, timeout=ANSWER_S)
    if not done:
        return Check("database", Status.DEGRADED, f"it has not answered within {ANSWER_S:g} s")
    status = asked.result()
    if status is None:
        return Check("database", Status.UNHEALTHY, "it cannot be read; /perf doctor says why")
    age_s = None if status.last_write_us is None else max(clock.now_us() - status.last_write_us, 0) / 1e6
    kept = f"it answers; {status.operations} operations are kept"
    if monitor.reopened and _since_s(monitor.reopened_ns) < REOPENED_S:
        reason = "its file was damaged, deleted or replaced, and was opened again; /perf doctor says more"
        return Check("database", Status.DEGRADED, reason, age_s)
    said, well = _about_data(monitor, status)
    return Check("database", Status.HEALTHY if well else Status.DEGRADED, "; ".join([kept, *said]), age_s)


def _about_data(monitor: Monitor, status: StoreStatus) -> tuple[list[str], bool]:
    """What there is to say about the stored data, and whether it is as it should be."""
    said = [damage_text(status.damage)] if status.damage else []
    if status.clock or status.clock.clamped:
        said.append(clock_text(status.clock))
    doubt = monitor.clock_watch.doubt()
    if doubt:
        said.append(f"nothing is removed: {doubt}")
    return said, not (status.damage or status.clock or doubt)


async def _status(store: Store) -> StoreStatus | None:
    try:
        return await store.status()
    except StorageError:
        return None


def jobs(monitor: Monitor) -> Check:
    """What is done again and again: threshold checks, samples, roll-up, clean-up."""
    schedule = monitor.schedule
    late = {job.id: late_s for job in schedule.jobs if overdue(late_s := _late_s(monitor, job), _interval_s(job))}
    ages = [_since_s(ended_ns) for ended_ns in schedule.ended_ns.values()]
    age_s = min(ages, default=None)
    if schedule.broken:
        runs = ", ".join(f"{schedule.failing[name].runs} runs of {name}" for name in schedule.broken)
        vital = not VITAL_JOBS.isdisjoint(schedule.broken)
        reason = f"the last {runs} failed; /perf doctor says why"
        return Check("jobs", Status.UNHEALTHY if vital else Status.DEGRADED, reason, age_s)
    if late:
        name = max(late, key=lambda job: (job in VITAL_JOBS, late[job]))
        reason = f"the {name} job is late by {late[name]:.0f} s"
        return Check("jobs", Status.UNHEALTHY if name in VITAL_JOBS else Status.DEGRADED, reason, age_s)
    if schedule.failing:
        reason = f"the last run of {', '.join(sorted(schedule.failing))} failed; see the log"
        return Check("jobs", Status.DEGRADED, reason, age_s)
    return Check("jobs", Status.HEALTHY, f"{len(schedule.jobs)} jobs run in time", age_s)


def _late_s(monitor: Monitor, job: Job) -> float:
    """How long ago the job should have ended again; below 0 while there is time."""
    return _since_s(monitor.schedule.ended_ns.get(job.id, monitor.began_ns)) - _interval_s(job)


def _interval_s(job: Job) -> float:
    return float(job.trigger.interval.total_seconds())


def _since_s(at_ns: int) -> float:
    return (now_ns() - at_ns) / 1e9
