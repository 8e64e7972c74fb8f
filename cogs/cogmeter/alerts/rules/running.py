"""The rule about operations that do not end: commands, listeners and tracked operations that hang."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import CRITICAL, WARNING, Reading
from cogmeter.alerts.rules.rule import OPERATION, Rule, beyond, duration
from cogmeter.recording.service_names import LISTENERS, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits

TIMES_P99: Final = 10  # an operation hangs from this many times its own 99th percentile on
CRITICAL_FROM: Final = 10  # times the threshold
STARTS: Final = ("on_ready", "on_connect")  # events whose listeners often run as long as the bot


def hung(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find operations that run for longer than the threshold and than ten times their own 99th percentile.

    An operation inside another one that hangs has no reading: it is the same incident.
    """
    overdue = {loop.name for loop in snapshot.loops}  # the rule dead_loops reports these
    reported: set[tuple[str, str]] = set()
    for running in snapshot.running:  # the oldest first
        names = (running.service, running.operation)
        subject = HUNG.subject(*names)
        limit = limits.of(subject)
        known = running.operations >= limit.min_operations
        threshold_s = max(limit.threshold, TIMES_P99 * running.p99_s if known else 0.0)
        if not limit.threshold or running.age_s <= threshold_s or running.outer in reported:
            continue
        if not known and _may_run_for_ever(*names):
            continue
        if running.for_user or (running.service == TASKS and running.operation in overdue):
            continue
        reported.add(names)
        where = f" at {running.line}" if running.line else ""
        threshold = _time(threshold_s)
        text = f"Running for {beyond(_time(running.age_s), threshold)}{where} exceeds threshold of {threshold}"
        level = limit.severity or (CRITICAL if running.age_s >= CRITICAL_FROM * threshold_s else WARNING)
        yield Reading(subject, running.age_s, threshold_s, text, level)


def _may_run_for_ever(service: str, operation: str) -> bool:
    """Return whether an operation without a history may run as long as the bot by design."""
    return service == TASKS or (service == LISTENERS and operation.partition(" ")[0] in STARTS)


def _time(seconds: float) -> str:
    """Format as minutes from two minutes on: 75s, 12 min."""
    return duration(seconds * 1000) if seconds < 120 else f"{seconds / 60:.0f} min"


HUNG: Final = Rule(
    name="hung",
    title="Hanging operation",
    unit="seconds",
    setting="alert_threshold_hung",
    find=hung,
    about=OPERATION,
    next_step="Give what it waits for a timeout: asyncio.timeout(30)",
    leads_to="running",
    chart="timeline",
    replay=None,
    degrades=True,
    own_process=True,
)
