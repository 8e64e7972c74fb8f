"""Learns what is usual for the busiest services, a little at a time, and how far each is from it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.anomaly.baseline import Baseline
from cogmeter.alerts.measurement.history import THREE_DAYS_S
from cogmeter.alerts.rules import values
from cogmeter.alerts.rules.message_format import duration, number, percent
from cogmeter.recording.service_names import BACKGROUND
from cogmeter.startup import DamagedStateError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.alerts.measurement.snapshot import Snapshot

MOST_SERVICES: Final = 100
BUDGET_S: Final = 0.0005  # of the loop's time in one go
P95: Final = 0.95
ERROR_RATE: Final = "error_rate"
KNOWN_DAYS: Final = 1.0  # before, a first morning would be unlike all that was seen

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a service is from what is usual for it at this time of the week."""

    score: float  # 0 to 1, of the figure that is farthest off
    figure: str  # that figure, for people
    usual: str  # what it usually is at this time
    operations: int  # in the window


class Deviations:
    """A baseline for each figure of each service. Once a minute all are due; ``learn`` works off what is due."""

    def __init__(self, min_operations: int) -> None:
        """Durations and error rates of fewer operations in the window are not learned."""
        self.found: dict[str, Deviation] = {}
        self.faults = 0  # of our own
        self._min_operations = min_operations
        self._baselines: dict[str, dict[str, Baseline]] = {}
        self._due: deque[tuple[int, str]] = deque()
        self._minute = -1

    @property
    def due(self) -> bool:
        """Whether anything is left to learn of this minute."""
        return bool(self._due)

    def new_minute(self, now_us: int) -> bool:
        """Whether a minute has begun since the last plan."""
        return now_us // MINUTE_US != self._minute

    def plan(self, view: Snapshot) -> None:
        """Let the busiest services be due, if a minute has begun since the last time."""
        if not self.new_minute(view.now_us):
            return
        self._minute = view.now_us // MINUTE_US
        operations, _ = view.history.totals(THREE_DAYS_S)
        front = np.array([service not in BACKGROUND for service in view.services], dtype=np.bool_)
        volume = np.where(front, operations, 0)
        order: list[int] = np.argsort(-volume, kind="stable")[:MOST_SERVICES].tolist()
        busiest = [place for place in order if volume[place]]
        self._due = deque((place, view.services[place]) for place in busiest)
        chosen = {service for _, service in self._due}
        others = [service for service in self._baselines if service not in chosen]
        for place, service in enumerate(others):  # a service that is idle today keeps what it taught, if there is room
            self.found.pop(service, None)
            if place < len(others) + len(chosen) - MOST_SERVICES:
                del self._baselines[service]

    def learn(self, view: Snapshot, budget_s: float = BUDGET_S) -> None:
        """Work for so long on what is due."""
        until_s = time.perf_counter() + budget_s
        while self._due:
            place, service = self._due.popleft()
            try:
                self._learn(view, place, service)
            except Exception as error:  # what one service has must not end the check
                self.faults += 1
                level = logging.ERROR if self.faults == 1 else logging.DEBUG
                _logger.log(level, "The baselines of %s begin anew: %r", service, error, exc_info=self.faults == 1)
                self._baselines.pop(service, None)
                self.found.pop(service, None)
            if time.perf_counter() >= until_s:
                break

    async def dump(self) -> bytes:
        """All baselines, one line of JSON for each; the loop has its turn after each."""
        lines = []
        for service, baselines in list(self._baselines.items()):
            for figure, baseline in list(baselines.items()):
                lines.append(json.dumps([service, figure, base64.b64encode(baseline.state()).decode()]))
                await asyncio.sleep(0)
        return "\n".join(lines).encode()

    async def load(self, dumped: bytes) -> None:
        """Restore what ``dump`` returned.

        Raises:
            DamagedStateError: some baselines cannot be read; all others are restored.
        """
        lines = dumped.decode(errors="replace").splitlines()
        damaged: list[str] = []
        for line in lines:
            try:
                service, figure, state = json.loads(line)
                baseline = Baseline.from_state(base64.b64decode(state))
                self._baselines.setdefault(str(service), {})[str(figure)] = baseline
            except (ValueError, TypeError, RecursionError) as error:
                damaged.append(str(error))
            await asyncio.sleep(0)
        if damaged:
            raise DamagedStateError(f"{len(damaged)} of {len(lines)} cannot be read, the first because: {damaged[0]}")

    def _learn(self, view: Snapshot, place: int, service: str) -> None:
        figures = self._figures(view, place)
        baselines = self._baselines.setdefault(service, {})
        time_s = view.now_us / 1e6
        scores = {}
        for figure, value in figures.items():
            baseline = baselines.setdefault(figure, Baseline())
            score = baseline.update(time_s, value)
            news = value or figure != ERROR_RATE  # that nothing fails is none
            scores[figure] = score if news and baseline.days >= KNOWN_DAYS else 0.0
        figure = max(scores, key=lambda one: scores[one])
        count = int(view.by_service.operations[place])
        text, usual = _texts(figure, figures[figure], max(baselines[figure].usual, 0.0))
        self.found[service] = Deviation(scores[figure], text, usual, count)

    def _figures(self, view: Snapshot, place: int) -> Mapping[str, float]:
        """What is learned of a service, from the window."""
        at = slice(place, place + 1)
        counts = view.by_service
        figures = {"rate": float(values.per_minute(counts.operations[at], view.span_s)[0])}
        if counts.operations[place] >= self._min_operations:
            figures["p95"] = float(values.quantiles_ms(view.buckets[place], P95))
            figures[ERROR_RATE] = float(values.error_rates(counts.operations[at], counts.failures[at])[0])
        return figures


def _texts(figure: str, value: float, usual: float) -> tuple[str, str]:
    """A figure for people, and what is usual of it."""
    return {
        "rate": (f"Traffic of {number(value)} operations/minute", number(usual)),
        "p95": (f"95th percentile response time of {duration(value)}", duration(usual)),
        ERROR_RATE: (f"Error rate of {percent(value)}", percent(usual)),
    }[figure]
