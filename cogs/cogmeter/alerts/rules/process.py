"""Rules about the bot's process: a blocked event loop, loops that died, memory that grows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.gauges import MEMORY
from cogmeter.alerts.measurement.gauges import MEMORY_LIMIT as MEMORY_LIMIT_BYTES
from cogmeter.alerts.model import CRITICAL, INFO, WARNING, Reading
from cogmeter.alerts.rules.rule import AT_LEAST, LOOP, WHOLE_BOT, GaugeCurve, Replay, Rule, duration, percent
from cogmeter.recording.service_names import STALLS, TASKS
from cogmeter.recording.stall_places import stall_advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits

QUARTERS: Final = 4
ENDS: Final = 3  # medians of five minutes at either end
LEAST: Final = 12  # medians: an hour
AHEAD_S: Final = 600.0  # for which a rapid growth of memory is continued
SUSPECTS: Final = 3  # named in the message
STEADY: Final = 0.05  # share of the whole growth that each quarter must add


def stall(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the longest block of the event loop in the window."""
    subject = STALL.subject()
    limit = limits.of(subject)
    if snapshot.longest_stall is None:
        return
    longest_ms, place = snapshot.longest_stall
    if STALL.beyond_recovery(longest_ms, limit):
        yield STALL.reading(subject, longest_ms, limit, f"Event-loop block of {duration(longest_ms)} at {place}")


def dead_loops(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find background loops that are dead or overdue; they are breached if their number reaches the threshold."""
    for loop in snapshot.loops:
        subject = DEAD_LOOPS.subject(TASKS, loop.name)
        limit = limits.of(subject)
        if limit.threshold:
            what = "has died" if loop.dead else f"is overdue by {loop.overdue_s / 60:.0f} min"
            text = f"Loop {loop.name} {what}: {loop.text}" if loop.text else f"Loop {loop.name} {what}"
            level = limit.severity or (CRITICAL if loop.dead else WARNING)
            count = len(snapshot.loops)
            yield Reading(subject, float(count), limit.threshold, text, level, count >= limit.threshold)


def memory_limit(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the memory in ten minutes, if its present growth continues, with its limit."""
    subject = MEMORY_LIMIT.subject()
    limit = limits.of(subject)
    per_second, seconds = snapshot.gauges.rapid_growth()
    if not per_second:
        return
    memory, allowed = snapshot.gauges.values[MEMORY], snapshot.gauges.values[MEMORY_LIMIT_BYTES]
    share = (memory + AHEAD_S * per_second) / allowed
    if MEMORY_LIMIT.beyond_recovery(share, limit):
        grown, megabytes = per_second * seconds / 1e6, (memory / 1e6, allowed / 1e6)
        what = (
            f"Memory grew by {grown:,.0f} MB in {seconds:.0f} s, to {megabytes[0]:,.0f} MB;"
            f" in {AHEAD_S / 60:.0f} min it is {percent(share)} of its limit of {megabytes[1]:,.0f} MB, which"
        )
        yield _with_suspects(MEMORY_LIMIT.reading(subject, share, limit, what), snapshot)


def memory_growth(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the steady growth of memory within six hours, and name the live objects that grew."""
    subject = MEMORY_GROWTH.subject()
    limit = limits.of(subject)
    if not limit.threshold:
        return
    medians = snapshot.gauges.memory()
    growth = steady_growth(medians)
    if MEMORY_GROWTH.beyond_recovery(growth, limit):
        hours, megabytes = len(medians) / 12, float(np.median(medians[-ENDS:])) / 1e6
        what = f"Memory growth of {percent(growth)} in {hours:.1f} h, to {megabytes:,.0f} MB,"
        level = WARNING if growth >= 2 * limit.threshold else INFO
        yield _with_suspects(MEMORY_GROWTH.reading(subject, growth, limit, what, level=level), snapshot)


def _with_suspects(reading: Reading, snapshot: Snapshot) -> Reading:
    """Return a reading about memory whose message names the objects that grew."""
    suspects = snapshot.grown.text(SUSPECTS) if snapshot.grown is not None else ""
    return replace(reading, message=f"{reading.message}; {suspects}") if suspects else reading


def steady_growth(medians: values.Values) -> float:
    """Return by which share the last values are above the first; 0 if they did not grow steadily.

    Robust at both ends by the median of three. Steadily: the median of each quarter is above that of the one before, by
    at least a twentieth of the whole; a cache that is filled once, or a peak, is no growth.
    """
    if len(medians) < LEAST:
        return 0.0
    first, last = float(np.median(medians[:ENDS])), float(np.median(medians[-ENDS:]))
    quarters = [float(np.median(part)) for part in np.array_split(medians, QUARTERS)]
    if first <= 0 or last <= first or min(np.diff(quarters)) < STEADY * (last - first):
        return 0.0
    return last / first - 1.0


STALL: Final = Rule(
    name="stall",
    title="Blocked event loop",
    value_name="Longest block",
    unit="ms",
    setting="alert_threshold_stall",
    find=stall,
    about=WHOLE_BOT,
    next_step=stall_advice(),
    next_step_by_message=stall_advice,
    leads_to="doctor",
    page="discord#blockers",
    harms_everyone=True,
    chart=GaugeCurve("longest block of the loop", "duration", "loop.lag_max_ms", factor=1000, threshold_factor=1000),
    replay=Replay(lambda counts: values.longest_ms(counts.buckets), buckets=True),
    min_operations=0,
    source=STALLS,
    counted="block",
    slowest=True,
    degrades=True,
)
DEAD_LOOPS: Final = Rule(
    name="dead_loops",
    title="Background loop",
    unit="loops",
    compares=AT_LEAST,
    setting="alert_threshold_dead_loops",
    find=dead_loops,
    about=LOOP,
    next_step="Handle errors inside of the loop, and start it again",
    leads_to="errors",
    chart="timeline",
    replay=None,
    min_operations=0,
    degrades=True,
    own_process=True,
)
MEMORY_LIMIT: Final = Rule(
    name="memory_limit",
    title="Memory limit",
    unit="share",
    setting="alert_threshold_memory_limit",
    find=memory_limit,
    about=WHOLE_BOT,
    harms_everyone=True,
    next_step="Raise the memory limit of the host or container, or lower what the bot keeps in memory",
    leads_to="doctor",
    page="resources#growth-title",
    chart=GaugeCurve("memory", "bytes", "resources.memory_bytes", threshold_factor=None),
    replay=None,
    min_operations=0,
    own_process=True,
)
MEMORY_GROWTH: Final = Rule(
    name="memory_growth",
    title="Memory growth",
    unit="growth",
    setting="alert_threshold_memory_growth",
    find=memory_growth,
    about=WHOLE_BOT,
    next_step="Give caches and histories a maximum size",
    leads_to="doctor",
    page="resources#growth-title",
    chart=GaugeCurve("memory", "bytes", "resources.memory_bytes", threshold_factor=None),
    replay=None,
    min_operations=0,
    own_process=True,
)
