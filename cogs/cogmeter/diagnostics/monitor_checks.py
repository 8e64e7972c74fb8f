"""Health checks of the monitor itself: lost operations, alert delivery, hooks, commands and overhead."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Check, Status
from cogmeter.diagnostics.doctor import BUSY_PERCENT
from cogmeter.render import formatting
from cogmeter.watch.hook import HookState

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

FULL: Final = 0.8  # fill level of the buffer that is degraded
MANY_FAILURES: Final = 3  # attempts to push in a row: a single one is nothing, it is repeated


def buffer(monitor: Monitor, *, dropping: bool) -> Check:
    """Check the buffer between recording and the flusher; ``dropping``: it dropped operations recently."""
    state = monitor.recorder.buffer
    reason = f"{state.level()}, {formatting.exact(state.dropped)} dropped since the start"
    if dropping:
        return Check("buffer", Status.UNHEALTHY, reason)
    return Check("buffer", Status.DEGRADED if state.used > FULL else Status.HEALTHY, reason)


def jobs(monitor: Monitor, vital: Check) -> Check:
    """Return the bot's check of the jobs; for the monitor itself, a job that always fails is unhealthy."""
    return replace(vital, status=Status.UNHEALTHY) if monitor.schedule.broken else vital


def alerts(monitor: Monitor) -> Check:
    """Check that alerts can be delivered to every target of the settings."""
    delivery = monitor.alerting.delivery
    names = delivery.names
    bad = [name for name in names if not delivery.finding(name).well]
    if not bad:
        return Check("alerts", Status.HEALTHY, f"sent to {', '.join(names) or 'no target'}")
    status = Status.UNHEALTHY if len(delivery.stopped) == len(names) else Status.DEGRADED
    return Check("alerts", status, f"not delivered: {', '.join(bad)}; /perf doctor shows why")


def pushes(monitor: Monitor) -> list[Check]:
    """Check that metrics are pushed to each target of the settings; no check without targets."""
    pushers = monitor.pushing.pushers
    bad = [pusher.target.name for pusher in pushers if pusher.failures > MANY_FAILURES or pusher.stopped]
    if bad:
        return [Check("push", Status.DEGRADED, f"not pushed: {', '.join(bad)}; /perf doctor shows why")]
    names = ", ".join(pusher.target.name for pusher in pushers)
    return [Check("push", Status.HEALTHY, f"pushed to {names}")] if pushers else []


def hooks(monitor: Monitor) -> Check:
    """Check the hooks on discord.py and on the host."""
    watcher = monitor.watcher
    states = [hook for surface in watcher.surfaces for hook in surface.hooks]
    bad = sorted({hook.name for hook in states if hook.state is HookState.FAILED or hook.faults} | set(watcher.failed))
    if bad:
        return Check("hooks", Status.DEGRADED, f"failed: {', '.join(bad)}; /perf doctor shows why")
    return Check("hooks", Status.HEALTHY, f"{len(states)} in place")


def commands(monitor: Monitor) -> list[Check]:
    """Return a degraded check if the command group is unavailable; measurements do not depend on it."""
    findings = [finding for report in monitor.reporters for finding in report()]
    reason = "the slash commands of the monitor cannot be used; the log and the doctor show why"
    unavailable = any(finding.name == "commands" and not finding.well for finding in findings)
    return [Check("commands", Status.DEGRADED, reason)] if unavailable else []


async def overhead(monitor: Monitor) -> Check:
    """Check the CPU time that the monitor uses."""
    percent = await asyncio.to_thread(monitor.overhead.percent)
    status = Status.HEALTHY if percent < BUSY_PERCENT else Status.DEGRADED
    return Check("overhead", status, f"about {formatting.percent(percent / 100)} of a core")
