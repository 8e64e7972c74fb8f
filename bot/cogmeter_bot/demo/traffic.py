"""Live traffic: made-up operations, recorded as a bot records its own, with an incident now and then."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import cogmeter
from cogmeter_bot.demo.incidents import RETRIES_PER_S, Incident, live, main_operation
from cogmeter_bot.demo.profiles import PROFILES, Profile, activity

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S: Final = 0.5


class Traffic:
    """Calls ``record`` (by default cogmeter's) as often as the profiles say."""

    def __init__(self, seed: int, *, record: Callable[..., None] = cogmeter.record) -> None:
        self._rng = np.random.default_rng(seed + 1)  # not the history's numbers again
        self._record = record
        self._incidents = live(self._rng)
        self._incident: Incident = next(self._incidents)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; in an empty context, so that nothing takes this task for a part of the bot."""
        self._task = contextvars.Context().run(asyncio.create_task, self._run())

    async def stop(self) -> None:
        """End; calling it again does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def step(self, elapsed_s: float, length_s: float, now_us: int) -> None:
        """Record the operations of ``length_s`` seconds, the last of them ``elapsed_s`` after the beginning."""
        if elapsed_s >= self._incident.end:
            self._incident = next(self._incidents)
        incident = self._incident if elapsed_s >= self._incident.start else None
        busy = float(activity(now_us))
        for profile in PROFILES:
            per_s = profile.per_minute * busy / 60
            if incident is not None and profile is main_operation(incident.service):
                per_s += RETRIES_PER_S
            for _ in range(self._rng.poisson(per_s * length_s)):
                self._one(profile, incident)

    def _one(self, profile: Profile, incident: Incident | None) -> None:
        ill = incident if incident is not None and incident.affects(profile) else None
        # Otherwise little fails: in a short window, two failures of twenty would be an alert of their own.
        rate = ill.failure_rate if ill else profile.failure_rate / 4
        took_ms = profile.median_ms * (ill.slowdown if ill else 1.0) * float(self._rng.lognormal(0.0, profile.spread))
        took_ms = min(took_ms, profile.most_ms)
        details: dict[str, Any] = {}
        if self._rng.random() < rate:
            outcome, text = profile.failures[int(self._rng.integers(len(profile.failures)))]
            details = {"outcome": outcome, "error": text}
            took_ms = profile.failed_ms or took_ms
        if profile.note is not None:
            details["metadata"] = profile.note(self._rng, took_ms)
        self._record(profile.service, profile.operation, duration_ms=took_ms, **details)

    async def _run(self) -> None:
        start = last = time.perf_counter()
        while True:
            await asyncio.sleep(STEP_S)
            now = time.perf_counter()
            self.step(now - start, now - last, time.time_ns() // 1000)
            last = now
