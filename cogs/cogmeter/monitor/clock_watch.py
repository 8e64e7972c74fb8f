"""Detects steps of the wall clock with a monotonic clock, and decides whether the present time can be trusted.

A suspended machine causes no step if the system has a monotonic clock that counts the suspension (Linux).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.diagnosis import Finding
from cogmeter.recording.background import detached
from cogmeter.render import formatting
from cogmeter_storage.clock import RELEASED_US, clock
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter_storage.model import ClockSteps

INTERVAL_S: Final = 0.5
STEP_NS: Final = 2_000_000_000  # a smaller difference is an adjustment, or comes from reading two clocks
READ_NS: Final = 20_000_000  # two clocks are read at the same moment if it takes no longer
READINGS: Final = 5  # attempts; the fastest counts
FORWARD_US: Final = DAY_US  # a step, or a gap before the start, from which the time has to be confirmed
APART_S: Final = 3_600.0  # how far the clock may be ahead of Discord's while stored data is removed
SETTLED_NS: Final = 7 * DAY_US * 1000  # trusted after this time without a step, if Discord sends no time

_logger = logging.getLogger("cogmeter.clock")


class ClockStep(NamedTuple):
    """A step in microseconds: of the wall clock, and of the time that cogmeter uses."""

    wall_us: int
    time_us: int


class ClockWatch:
    """Compares the wall clock with a monotonic clock twice a second while it runs."""

    def __init__(
        self,
        stepped: Callable[[ClockStep], Awaitable[object]],
        *,
        ahead_s: Callable[[], float | None],
        steady_ns: Callable[[], int] | None = None,
    ) -> None:
        """Call ``stepped`` with each step.

        ``ahead_s`` returns how far the clock is ahead of Discord's since the last step, None if unknown. ``steady_ns``
        is a monotonic clock.
        """
        self.back = 0  # steps
        self.forward = 0
        self.last_us = 0  # the last step
        self._stepped = stepped
        self._ahead_s = ahead_s
        self._steady_ns = _steady_ns if steady_ns is None else steady_ns
        self._doubtful = False  # the time has to be confirmed before data is removed
        self._known: tuple[int, int, int] | None = None  # monotonic clock, wall clock and time at the last check
        self._settled_ns = 0  # the last step, by the monotonic clock
        self._task: asyncio.Task[None] | None = None

    def start(self, last_us: int | None) -> None:
        """Start watching; ``last_us`` is the end of the newest stored operation."""
        now_us = clock.now_us()
        if not clock.credible and last_us is not None and last_us > now_us:
            clock.set_known_time(last_us * 1000)
            _logger.error("The clock shows %s, which is wrong: time continues from the last stored operation", _wall())
        elif last_us is not None and now_us - last_us >= FORWARD_US:
            self._doubtful = True
        self._known = self._read()
        self._settled_ns = self._known[0]
        self._task = detached(self._run(), name="cogmeter-clock")

    async def stop(self) -> None:
        """Stop watching."""
        clock.clear_known_time()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def look(self) -> ClockStep | None:
        """Compare the clocks now; return the step that was detected and handled, or None."""
        before, now = self._known, self._read()
        self._known = now
        if before is None:
            return None
        steady_ns, wall_ns, time_ns = (new - old for new, old in zip(now, before, strict=True))
        step = ClockStep((wall_ns - steady_ns) // 1000, (time_ns - steady_ns) // 1000)
        if max(abs(step.wall_us), abs(step.time_us)) * 1000 < STEP_NS:
            return None
        self._note(step, now[0])
        await self._stepped(step)
        return step

    def doubt(self) -> str:
        """Return why stored data must not be removed by the present time; empty if it may."""
        if not clock.credible:
            return f"the clock shows {_wall()}, a time before this version was released"
        ahead_s = self._ahead_s()
        if ahead_s is not None:
            return f"the clock is {formatting.duration(ahead_s * 1e6)} ahead of Discord's" if ahead_s > APART_S else ""
        if not self._doubtful or self._steady_ns() - self._settled_ns >= SETTLED_NS:
            return ""
        return "the clock went forward by more than a day, and no answer of Discord has confirmed it yet"

    def findings(self, stored: ClockSteps) -> list[Finding]:
        """Return the doctor's lines about the clock."""
        findings = [clock_finding(stored)]
        if doubt := self.doubt():
            text = f"nothing is removed from the database: {doubt}"
            findings.append(Finding("clean-up", well=False, text=text, advice=NTP))
        if self.back or self.forward:
            direction = "back" if self.last_us < 0 else "forward"
            text = (
                f"the clock was set back {formatting.counted(self.back, 'time')} and forward "
                f"{formatting.counted(self.forward, 'time')} since the start, "
                f"the last time by {formatting.duration(abs(self.last_us))} {direction}; jobs ran on time"
            )
            findings.append(Finding("clock steps", well=False, text=text, advice=NTP))
        return findings

    def _note(self, step: ClockStep, steady_ns: int) -> None:
        self.back += step.wall_us < 0
        self.forward += step.wall_us > 0
        self.last_us = step.wall_us
        self._settled_ns = steady_ns
        if step.time_us >= FORWARD_US:
            self._doubtful = True
        elif step.time_us <= -FORWARD_US:
            self._doubtful = False  # the clock was wrong and was corrected
        direction = "back" if step.wall_us < 0 else "forward"
        _logger.warning("The clock was set %s by %s", direction, formatting.duration(abs(step.wall_us)))

    def _read(self) -> tuple[int, int, int]:
        """Return the monotonic clock, the wall clock and the time at one moment."""
        reading = self._reading()
        for _ in range(READINGS - 1):
            if reading[0] < READ_NS:
                break
            reading = min(reading, self._reading())
        _, steady_ns, wall_ns, time_ns = reading
        if clock.credible:
            clock.set_known_time(time_ns)
        return steady_ns, wall_ns, time_ns

    def _reading(self) -> tuple[int, int, int, int]:
        """Return how long the reading took, and the three clocks."""
        began_ns = self._steady_ns()
        wall_ns, time_ns = time.time_ns(), clock.now_ns()
        steady_ns = self._steady_ns()
        return steady_ns - began_ns, steady_ns, wall_ns, time_ns

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look()
            except Exception:
                _logger.exception("A part of the monitor did not handle a step of the clock")


NTP: Final = "Set the machine's clock by NTP; see docs/metrics.md"


def clock_text(stored: ClockSteps) -> str:
    """Return a text about the effects of clock steps on stored data."""
    parts = []
    if stored:
        span = ""
        if stored.first_us is not None and stored.last_us is not None:
            span = f" (from {_minute(stored.first_us)} to {_minute(stored.last_us)})"
        parts.append(
            f"{formatting.counted(stored.operations, 'operation')} and"
            f" {formatting.counted(stored.others, 'other record')} from the"
            f" future{span} were set apart: the clock was ahead when they were recorded"
        )
    if stored.clamped:
        parts.append(f"{formatting.counted(stored.clamped, 'operation')} moved forward because the clock jumped back")
    return "; ".join(parts) or "no jump of the clock changed stored data"


def clock_finding(stored: ClockSteps) -> Finding:
    """Return the doctor's finding about stored data and the clock."""
    advice = f"{NTP}. What was set apart is in the table set_apart until PERFORMANCE_RETENTION_HOURS have passed"
    return Finding("clock", not stored and not stored.clamped, clock_text(stored), advice if stored else NTP)


def impossible_finding() -> Finding | None:
    """Return the doctor's finding about a clock that is certainly wrong; None if it may be right."""
    if clock.credible:
        return None
    text = f"the clock shows {_wall()}, before {_minute(RELEASED_US)}: it is wrong"
    return Finding("clock", well=False, text=text, advice=NTP)


def _wall() -> str:
    return _minute(time.time_ns() // 1000)


def _minute(at_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_us // 1_000_000))


def _steady_ns() -> int:
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.perf_counter_ns() if boot is None else time.clock_gettime_ns(boot)
