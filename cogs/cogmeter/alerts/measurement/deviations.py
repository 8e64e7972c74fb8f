"""Learns the usual figures of the busiest services in small steps, and scores how far each deviates."""

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
from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.history import THREE_DAYS_S
from cogmeter.recording.service_names import in_background, is_dependency
from cogmeter.startup import DamagedStateError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.alerts.measurement.snapshot import Snapshot

MOST_SERVICES: Final = 100
BUDGET_S: Final = 0.0005  # the loop's time that one step may use
RATE: Final = "rate"  # the figures of a service; each has a baseline that is stored under this name
P95: Final = "p95"
ERROR_RATE: Final = "error_rate"
KNOWN_DAYS: Final = 1.0  # earlier, a first morning would differ from all that is known
P95_KNOWN_DAYS: Final = 1 / 24  # until a usual p95 is compared with several times it

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(frozen=True, slots=True)
class Deviation:
    """The deviation of a service from its usual figures at this time of the week."""

    score: float  # 0 to 1, of the figure that deviates most
    figure: str  # RATE, P95 (in milliseconds) or ERROR_RATE
    value: float
    usual: float  # at this time
    operations: int  # in the window
    usual_p95_ms: float | None = None  # at this time; None: it is not known yet


class Deviations:
    """The baselines of each figure of each service. Once a minute all are due; ``learn`` updates those that are due."""

    def __init__(self, min_operations: int) -> None:
        """Learn durations and error rates only from at least ``min_operations`` in the window."""
        self.by_service: dict[str, Deviation] = {}
        self.faults = 0  # internal errors
        self._min_operations = min_operations
        self._baselines: dict[str, dict[str, Baseline]] = {}
        self._due: deque[tuple[int, str]] = deque()
        self._minute = -1

    @property
    def due(self) -> bool:
        """True if a baseline is still due in this minute."""
        return bool(self._due)

    def new_minute(self, now_us: int) -> bool:
        """Return whether a minute has begun since the last plan."""
        return now_us // MINUTE_US != self._minute

    def plan(self, snapshot: Snapshot) -> None:
        """Mark the busiest services as due, if a minute has begun since the last call."""
        if not self.new_minute(snapshot.now_us):
            return
        self._minute = snapshot.now_us // MINUTE_US
        operations, _ = snapshot.history.totals(THREE_DAYS_S)
        front = np.array([not in_background(service) for service in snapshot.services], dtype=np.bool_)
        called = np.array([is_dependency(service) for service in snapshot.services], dtype=np.bool_)
        volume = np.where(front | called, operations, 0)
        # The busiest come first, and dependencies after all others.
        order: list[int] = np.lexsort((-volume, called))[:MOST_SERVICES].tolist()
        busiest = [place for place in order if volume[place]]
        self._due = deque((place, snapshot.services[place]) for place in busiest)
        chosen = {service for _, service in self._due}
        others = [service for service in self._baselines if service not in chosen]
        for place, service in enumerate(others):  # an idle service keeps its baselines if there is room
            self.by_service.pop(service, None)
            if place < len(others) + len(chosen) - MOST_SERVICES:
                del self._baselines[service]

    def learn(self, snapshot: Snapshot, budget_s: float = BUDGET_S) -> None:
        """Update baselines that are due, for at most ``budget_s``."""
        until_s = time.perf_counter() + budget_s
        while self._due:
            place, service = self._due.popleft()
            try:
                self._learn(snapshot, place, service)
            except Exception as error:  # a fault in one service must not end the check
                self.faults += 1
                level = logging.ERROR if self.faults == 1 else logging.DEBUG
                _logger.log(level, "Learning the baselines of %s again: %r", service, error, exc_info=self.faults == 1)
                self._baselines.pop(service, None)
                self.by_service.pop(service, None)
            if time.perf_counter() >= until_s:
                break

    async def dump(self) -> bytes:
        """Return all baselines, one line of JSON each; the loop can run after each of them."""
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

    def _learn(self, snapshot: Snapshot, place: int, service: str) -> None:
        figures = self._figures(snapshot, place)
        baselines = self._baselines.setdefault(service, {})
        time_s = snapshot.now_us / 1e6
        scores = {}
        for figure, value in figures.items():
            baseline = baselines.get(figure)
            if baseline is None:
                baseline = baselines[figure] = Baseline()
            score = baseline.update(time_s, value)
            news = value or figure != ERROR_RATE  # no failure is no deviation
            scores[figure] = score if news and baseline.days >= KNOWN_DAYS else 0.0
        figure = max(scores, key=lambda name: scores[name])
        count = int(snapshot.by_service.operations[place])
        usual = max(baselines[figure].usual, 0.0)
        p95 = baselines.get(P95)
        usual_p95_ms = p95.usual if p95 is not None and p95.days >= P95_KNOWN_DAYS else None
        self.by_service[service] = Deviation(scores[figure], figure, figures[figure], usual, count, usual_p95_ms)

    def _figures(self, snapshot: Snapshot, place: int) -> Mapping[str, float]:
        """Return the figures of a service in the window."""
        at = slice(place, place + 1)
        counts = snapshot.by_service
        figures = {RATE: float(values.per_minute(counts.operations[at], snapshot.span_s)[0])}
        if counts.operations[place] >= self._min_operations:
            figures[P95] = float(values.quantiles_ms(snapshot.buckets[place], 0.95))
            figures[ERROR_RATE] = float(values.error_rates(counts.operations[at], counts.failures[at])[0])
        return figures
