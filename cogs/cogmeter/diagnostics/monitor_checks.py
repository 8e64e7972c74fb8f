"""The monitor itself: what it loses, whom it cannot tell, which hooks fell back, and what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Check, Status
from cogmeter.diagnostics.doctor import BUSY_PERCENT
from cogmeter.watch.hook import HookState

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

FULL: Final = 0.8  # of the buffer


def buffer(monitor: Monitor, *, dropping: bool) -> Check:
    """The buffer between recording and the flusher; ``dropping``: it was full a short while ago."""
    one = monitor.recorder.buffer
    reason = f"{one.level()}, {one.dropped} were dropped since the start"
    if dropping:
        return Check("buffer", Status.UNHEALTHY, reason)
    return Check("buffer", Status.DEGRADED if one.used > FULL else Status.HEALTHY, reason)


def jobs(monitor: Monitor, vital: Check) -> Check:
    """The jobs, as the bot's health sees them; for the monitor itself, one that always fails is worse."""
    return replace(vital, status=Status.UNHEALTHY) if monitor.schedule.broken else vital


def alerts(monitor: Monitor) -> Check:
    """Whether alerts can be told to those whom the settings name."""
    delivery = monitor.alerting.delivery
    names = delivery.names
    bad = [name for name in names if not delivery.finding(name).well]
    if not bad:
        return Check("alerts", Status.HEALTHY, f"sent to {', '.join(names) or 'nobody'}")
    status = Status.UNHEALTHY if len(delivery.stopped) == len(names) else Status.DEGRADED
    return Check("alerts", status, f"not delivered: {', '.join(bad)}; /perf doctor says why")


def hooks(monitor: Monitor) -> Check:
    """What is watched without code in the host."""
    watcher = monitor.watcher
    states = [hook for surface in watcher.surfaces for hook in surface.hooks]
    bad = sorted({hook.name for hook in states if hook.state is HookState.FAILED or hook.faults} | set(watcher.failed))
    if bad:
        return Check("hooks", Status.DEGRADED, f"not as they should be: {', '.join(bad)}; /perf doctor says why")
    return Check("hooks", Status.HEALTHY, f"{len(states)} in place")


def commands(monitor: Monitor) -> list[Check]:
    """The command group, if it is not offered or not known to Discord; its absence is no loss of measurements."""
    found = [one for report in monitor.reporters for one in report() if one.name == "commands" and not one.well]
    reason = "the slash commands of the monitor cannot be used; the log and the doctor say why"
    return [Check("commands", Status.DEGRADED, reason)] if found else []


async def overhead(monitor: Monitor) -> Check:
    """What the monitor costs the bot."""
    percent = await asyncio.to_thread(monitor.overhead.percent)
    status = Status.HEALTHY if percent < BUSY_PERCENT else Status.DEGRADED
    return Check("overhead", status, f"about {percent:.1f}% of a core")
