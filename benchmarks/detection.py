"""Compare what finds incidents, how soon, and with how many false alarms: rules, baseline, plain thresholds.

Run ``python benchmarks/detection.py [--short]``. Five days of simulated traffic of 16 services with ten labelled
incidents (``tests/traffic``), once for each seed, judged three times:

* ``rules``: the product's rules and engine with their defaults, and a target for the one service that burns slowly
* ``baseline``: ``Baseline`` alone, on each service's operations, p95 and error rate by minute; it alerts from 0.95
* ``thresholds``: what an operator writes for Prometheus: the usual rules over 5 minutes with ``for: 5m``

An alert that fires in an incident of its service, or within ten minutes after, has found it; any other is false. One
that fires again within an hour of the last is the same alert. Delays count from the start of the incident.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from timing import Goal, at_least, at_most, parser, row, sized

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from traffic import START_S, Incident, Minutes, Traffic, fired_s, simulate

from cogmeter.alerts.anomaly.baseline import ALERT_FROM, Baseline
from cogmeter.alerts.model import INFO, WARNING
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

GRACE_S, AGAIN_S, WEEK_S = 600.0, 3_600.0, 7 * 86_400.0
WINDOW, FOR = 5, 5  # minutes


class Alert(NamedTuple):
    """An alert of one judge about a service; times in seconds from the start."""

    service: str
    at_s: float
    severity: str = WARNING


def by_rules(traffic: Traffic) -> Iterator[Alert]:
    async def told() -> list[Alert]:
        with tempfile.TemporaryDirectory() as folder:
            store = await open_store(f"sqlite:///{folder}/performance.db")
            try:
                found = await simulate(traffic, store)
                return [Alert(one.service, fired_s(one), one.severity) for one in found.alerts]
            finally:
                await store.close()

    yield from asyncio.run(told())


def by_baseline(traffic: Traffic) -> Iterator[Alert]:
    for service in traffic.services:
        minutes = traffic.minutes(service.name)
        for values in (minutes.per_minute, minutes.p95_ms, minutes.error_rate):
            baseline = Baseline()
            for time_s, value in zip(minutes.times_s.tolist(), values.tolist(), strict=True):
                if baseline.update(time_s, value) >= ALERT_FROM:
                    yield Alert(service.name, time_s - START_S)


def by_thresholds(traffic: Traffic) -> Iterator[Alert]:
    for service in traffic.services:
        minutes = traffic.minutes(service.name)
        for breached in plain_rules(minutes):
            # `for: 5m`: it has held at this minute and at the five before.
            held = np.lib.stride_tricks.sliding_window_view(breached, FOR + 1).all(axis=1)
            for place in np.flatnonzero(held).tolist():
                yield Alert(service.name, float(minutes.times_s[place + FOR]) - START_S)


def plain_rules(minutes: Minutes) -> Iterator[NDArray[np.bool_]]:
    """Yield alerts for errors above 5%, p95 above 5 s, and missing traffic; each needs at least 20 operations."""
    counts = rolling(minutes.per_minute)
    failures = rolling(np.nan_to_num(minutes.error_rate * minutes.per_minute))
    yield (failures / np.maximum(counts, 1) > 0.05) & (counts >= 20)
    yield (np.nan_to_num(minutes.p95_ms) > 5_000) & (counts >= 20)
    yield (counts == 0) & (np.concatenate([np.zeros(60), counts[:-60]]) >= 20)


def rolling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the last five minutes."""
    sums = np.cumsum(values)
    sums[WINDOW:] -= sums[:-WINDOW].copy()
    return sums


JUDGES = {"rules": by_rules, "baseline": by_baseline, "thresholds": by_thresholds}


class Score:
    """The result of one judge over all seeds."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []
        self.missed: list[str] = []
        self.false: Counter[str] = Counter()  # by severity
        self.weeks = 0.0

    def add(self, traffic: Traffic, alerts: Iterable[Alert]) -> None:
        alerts = sorted(alerts, key=lambda one: one.at_s)
        for incident in traffic.incidents:
            found = [one.at_s for one in alerts if one.service == incident.service and during(incident, one.at_s)]
            if found:
                self.delays_s.append(found[0] - incident.since_s)
            else:
                self.missed.append(incident.kind)
        last: dict[str, float] = {}
        for service, at_s, severity in alerts:
            if not any(one.service == service and during(one, at_s) for one in traffic.incidents):
                self.false[severity] += at_s - last.get(service, -AGAIN_S) >= AGAIN_S
                last[service] = at_s
        self.weeks += traffic.days * 86_400 / WEEK_S

    @property
    def recall(self) -> float:
        return len(self.delays_s) / (len(self.delays_s) + len(self.missed))

    @property
    def false_a_week(self) -> float:
        return self.false.total() / self.weeks

    @property
    def loud_a_week(self) -> float:
        """Return the false alarms per week above the severity info, which is delivered silently."""
        return (self.false.total() - self.false[INFO]) / self.weeks

    @property
    def delay_min(self) -> float:
        return statistics.median(self.delays_s) / 60 if self.delays_s else float("nan")


def during(incident: Incident, at_s: float) -> bool:
    return incident.since_s <= at_s <= incident.until_s + GRACE_S


def main() -> None:
    seeds = sized(parser(__doc__).parse_args(), 4, 1, 1)
    scores = {name: Score() for name in JUDGES}
    for seed in range(11, 11 + seeds):  # not those of the tests
        traffic = Traffic(seed)
        for name, judge in JUDGES.items():
            scores[name].add(traffic, judge(traffic))
    plain = scores["thresholds"]
    for name in ("rules", "baseline"):
        one, own = scores[name], name == "rules"  # no goal for the baseline alone: the rules limit it
        recall, alarms = at_least(one.recall, 1), at_most(one.false_a_week, 2)
        said(f"{name}: recall", f"{one.recall:.0%}", f"{plain.recall:.0%}", recall if own else None)
        figures = (f"{one.false_a_week:.1f}", f"{plain.false_a_week:.1f}")
        said(f"{name}: false alarms a week, 16 services", *figures, alarms if own else None)
        if own:
            loud = (f"{one.loud_a_week:.1f}", f"{plain.loud_a_week:.1f}")
            said(f"{name}: of them warnings or worse", *loud, at_most(one.loud_a_week, 0.5))
        said(f"{name}: median delay", f"{one.delay_min:.1f} min", f"{plain.delay_min:.1f} min")
        said(f"{name}: missed", kinds(one.missed), kinds(plain.missed))


def kinds(missed: list[str]) -> str:
    return ", ".join(f"{kind} ({times}x)" for kind, times in Counter(missed).items()) or "none"


def said(name: str, figure: str, plain: str, goal: Goal | None = None) -> None:
    row(name, figure, peer=f"thresholds {plain}", goal=goal)


if __name__ == "__main__":
    main()
