"""The incidents, one row for each: when it is there, how soon it has to be found, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Incident:
    """What is wrong with a service, or with one of its operations, for a while. Times in seconds from the beginning."""

    kind: str
    service: str
    since_s: float
    until_s: float
    within_s: float  # it has to be found so soon after it began
    rules: frozenset[str]  # that may find it
    operation: str = ""  # empty: all
    failing: float = 0.0  # share that fails, where it is fully there
    logging: float = 0.0  # share that logs errors
    error: str = ""  # the name of the new group of its errors, one every half minute
    unhandled: bool = False  # these errors are of tasks that nobody awaits
    slower: float = 1.0  # times
    volume: float = 1.0  # share of the usual
    hangs: bool = False  # one of its operations runs from its beginning to its end
    dead: bool = False  # its operation is a loop that has ended
    grows: bool = False  # from nothing at the beginning to its full strength at the end
    on_s: float = 0.0  # if not 0: it comes for so long, ...
    off_s: float = 0.0  # ... and goes for so long
    most_alerts: int = 1  # of one rule that may be reported

    def strength(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of it is there at these times, 0 to 1."""
        there = ((times_s >= self.since_s) & (times_s < self.until_s)).astype(np.float64)
        if self.grows:
            there *= (times_s - self.since_s) / (self.until_s - self.since_s)
        if self.on_s:
            there *= (times_s - self.since_s) % (self.on_s + self.off_s) < self.on_s
        return there


def _at(day: int, hour: float, minutes: float) -> tuple[float, float]:
    since_s = day * DAY + hour * HOUR
    return since_s, since_s + minutes * MINUTE


def _rules(*names: str) -> frozenset[str]:
    return frozenset(names)


INCIDENTS = (
    Incident("error burst", "sentiment-analysis", *_at(1, 14, 20), 180, _rules("error_rate"), failing=0.2),
    Incident("worse than ever", "payments", *_at(3, 10, 60), 15 * MINUTE, _rules("error_rate"), failing=0.1),
    Incident("outage", "web-crawling", *_at(2, 11, 25), 90, _rules("error_rate"), failing=1.0),
    Incident("step", "multimodal-processing", *_at(2, 16, 45), 300, _rules("response_time"), slower=3.5),
    Incident(
        "slow creep",
        "context-memory",
        *_at(3, 9, 360),
        4 * HOUR,
        _rules("response_time", "deviation"),
        slower=8.0,
        grows=True,
    ),
    Incident("low step", "knowledge-graph", *_at(3, 13, 60), 15 * MINUTE, _rules("deviation"), slower=4.0),
    Incident("silence", "core-intelligence", *_at(2, 19, 30), 7 * MINUTE, _rules("low_traffic"), volume=0.0),
    Incident(
        "flapping",
        "link-preview",
        *_at(1, 18, 180),
        180,
        _rules("error_rate"),
        failing=0.6,
        on_s=3 * MINUTE,
        off_s=11 * MINUTE,
        most_alerts=3,
    ),
    Incident(
        "slow burn", "translation", *_at(0, 12, 80 * 60), 34 * HOUR, _rules("burn_rate", "deviation"), failing=0.014
    ),
    Incident("hung", "transcripts", *_at(2, 13, 40), 90, _rules("hung"), operation="query", hangs=True),
    Incident("caught errors", "answers", *_at(2, 10, 40), 240, _rules("logged_errors"), logging=0.3),
    Incident(
        "new error",
        "reminders",
        *_at(1, 16, 30),
        150,
        _rules("new_error"),
        error="KeyError in Graph.remind (error 2)",
        most_alerts=1,
    ),
    Incident("lost tasks", "(bot)", *_at(3, 12, 20), 60, _rules("unhandled_errors"), error="lost", unhandled=True),
    Incident("failing dependency", "http.weather.example", *_at(1, 10, 30), 180, _rules("dependency"), failing=0.3),
    Incident("hanging dependency", "http.models.example", *_at(2, 14, 40), 300, _rules("dependency"), slower=12.0),
    Incident(
        "bad operation",
        "image-search",
        *_at(3, 17, 30),
        8 * MINUTE,
        _rules("error_rate"),
        operation="ocr",
        failing=0.3,
    ),
)
