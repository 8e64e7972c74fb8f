"""Simulated live traffic, recorded as in a real bot, with an incident every few minutes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import cogmeter
from cogmeter.recording.error_batches import merge
from cogmeter.recording.service_names import COMMANDS, REST, TASKS
from cogmeter_bot.demo.errors import ASKED, error_group, live_error, live_logged_error
from cogmeter_bot.demo.incidents import RETRIES_PER_S, SLOW_RELEASE, Incident, live_incidents, main_operation
from cogmeter_bot.demo.live_traces import LiveTraces
from cogmeter_bot.demo.profiles import (
    CALLBACKS,
    FIRST_RESPONSES,
    PROFILES,
    Profile,
    activity,
    person_hashes,
    random_live_user,
)
from cogmeter_bot.demo.traces import EndedRun, late_response_us, with_response
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import ERROR_GROUP, FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cogmeter_storage.errors import ErrorBatch, ErrorKind
    from cogmeter_storage.model import TraceRecord

STEP_S: Final = 0.5
LOGGED_SHARE: Final = 0.08  # of the runs of ASKED; the alert about logged errors begins at 0.1 of a service


class Traffic:
    """A task that records operations at the rates of the profiles, and stores the errors of those that fail."""

    def __init__(
        self,
        seed: int,
        *,
        record: Callable[..., None] = cogmeter.record,
        store_errors: Callable[[Sequence[ErrorBatch]], Awaitable[object]] | None = None,
        count_user: Callable[[str, str, int], object] | None = None,
        add_trace: Callable[[TraceRecord], object] = lambda _: None,
    ) -> None:
        """``count_user`` gets service, operation and number of the user of each command."""
        self._traces, self._add_trace = LiveTraces(), add_trace
        self._rng = np.random.default_rng(seed + 1)  # other numbers than the history's
        self._record, self._store_errors, self._count_user = record, store_errors, count_user
        self._errors: dict[tuple[str, ErrorKind], ErrorBatch] = {}  # of the present step
        self._incidents = live_incidents(self._rng)
        self._incident: Incident = next(self._incidents)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, in an empty context, so that the simulator does not count this task as work of the bot."""
        self._task = contextvars.Context().run(asyncio.create_task, self._run())

    async def stop(self) -> None:
        """Stop; a second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def step(self, elapsed_s: float, length_s: float, now_us: int) -> None:
        """Record the operations of ``length_s`` seconds that end ``elapsed_s`` after the start."""
        if elapsed_s >= self._incident.end:
            self._incident = next(self._incidents)
        incident = self._incident if elapsed_s >= self._incident.start else None
        for trace in self._traces.ended(now_us):
            details = {} if trace.error is None else {"outcome": trace.outcome, "error": trace.error}
            failed = next((span for span in trace.spans if span.outcome in FAILURES), None)
            if failed is not None:
                details["metadata"] = _group_metadata((failed.service, failed.operation), trace.error)
            self._record_command(trace.operation, trace.duration_us / 1000, details)
            self._record_first_response(trace.operation, incident, now_us, trace)
        load = float(activity(now_us))
        for profile in PROFILES:
            if profile.steady or profile is CALLBACKS or FIRST_RESPONSES.get(profile.operation) is profile:
                continue  # the loop itself runs, and these are recorded with the command
            per_s = profile.per_minute * load / 60
            if incident is not None and profile is main_operation(incident.service):
                per_s += RETRIES_PER_S
            for _ in range(self._rng.poisson(per_s * length_s)):
                if profile.service != COMMANDS or not self._traces.takes_place_of(profile.operation):
                    self._record_one(profile, incident, now_us)

    def _record_command(self, command: str, duration_ms: float, details: Mapping[str, Any]) -> None:
        self._record(COMMANDS, command, duration_ms=duration_ms, **details)
        if self._count_user is not None:
            self._count_user(COMMANDS, command, random_live_user(self._rng))

    def _record_first_response(
        self, command: str, incident: Incident | None, now_us: int, trace: TraceRecord | None
    ) -> None:
        """Record the first response to a command, and add the trace of the command, which shows it."""
        if command in FIRST_RESPONSES:
            profile, late_us = FIRST_RESPONSES[command], None if trace is None else late_response_us(trace)
            if trace is not None:  # the command ends after its first response
                profile = replace(profile, max_ms=min(profile.max_ms, trace.duration_us / 1000))
            response = self._record_one(profile, incident, now_us, late_us)
            sent = response.outcome is Outcome.OK
            if sent:
                self._record_one(CALLBACKS, None, now_us)
            trace = trace and with_response(trace, response.duration_us if sent else None)
        if trace is not None:
            self._add_trace(trace)

    def _record_one(
        self, profile: Profile, incident: Incident | None, now_us: int, duration_us: int | None = None
    ) -> EndedRun:
        """Record and return an operation, of this duration a successful one."""
        active = incident if incident is not None and incident.affects(profile) else None
        # A low rate without an incident: in a short window, two failures of twenty would raise an alert.
        failure_rate = active.failure_rate if active else profile.failure_rate / 4
        if profile.service == REST:
            failure_rate = 0.0  # the watch of the bot would have counted the rate limit, and no request was sent
        slowdown = (active.slowdown if active else 1.0) * SLOW_RELEASE.factor(profile)
        duration_ms = profile.median_ms * slowdown * float(self._rng.lognormal(0.0, profile.spread))
        duration_ms = min(duration_ms, profile.max_ms) if duration_us is None else duration_us / 1000
        details: dict[str, Any] = {}
        person: dict[str, str] = {}
        if self._rng.random() < failure_rate and duration_us is None:
            outcome, text = profile.failures[int(self._rng.integers(len(profile.failures)))]
            details = {"outcome": outcome, "error": text}
            duration_ms = profile.failed_ms or duration_ms
            person = person_hashes(random_live_user(self._rng))
            error = live_error(profile, text, now_us, person) if outcome in FAILURES else None
            if error is not None:
                merge(self._errors, error)
        metadata = {} if profile.metadata is None else profile.metadata(self._rng, duration_ms)
        if "user" in metadata:
            metadata = {key: value for key, value in metadata.items() if key != "guild"}
            metadata.update(person_hashes(random_live_user(self._rng)))
        if (profile.service, profile.operation) == ASKED and self._rng.random() < LOGGED_SHARE:
            merge(self._errors, live_logged_error(now_us, self._rng))
            metadata["logged_errors"] = 1
        if details.get("outcome") in FAILURES:
            metadata.update(_group_metadata((profile.service, profile.operation), details["error"]))
            if profile.service not in {TASKS, REST}:  # the watch names the person of each failure inside an interaction
                metadata = {key: value for key, value in metadata.items() if key != "guild"} | person
        if metadata:
            details["metadata"] = metadata
        run = EndedRun(now_us, int(duration_ms * 1000), details.get("outcome", Outcome.OK), details.get("error"))
        if profile.service == COMMANDS:
            trace = self._traces.plain(profile.operation, run)
            self._record_command(profile.operation, duration_ms, details)
            self._record_first_response(profile.operation, incident, now_us, trace)
        else:
            self._traces.enclose(profile, run, incident=active is not None)
            self._record(profile.service, profile.operation, duration_ms=duration_ms, **details)
        return run

    async def _run(self) -> None:
        start = last = time.perf_counter()
        while True:
            await asyncio.sleep(STEP_S)
            now = time.perf_counter()
            self.step(now - start, now - last, time.time_ns() // 1000)
            last = now
            errors, self._errors = list(self._errors.values()), {}
            if errors and self._store_errors is not None:
                with contextlib.suppress(StorageError):  # the monitor reports it
                    await self._store_errors(errors)


def _group_metadata(names: tuple[str, str], error: str | None) -> dict[str, str]:
    """Return the metadata that names the error group of a failure, as the recorder adds it to one with an exception."""
    group = error_group(names, error)
    return {} if group is None else {ERROR_GROUP: group}
