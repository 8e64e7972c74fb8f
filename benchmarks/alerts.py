"""Measure one check of all alert rules for 500 services against the SQL that finds the guide's three.

Run ``python benchmarks/alerts.py [--short]``. The window is full: five minutes at a hundred operations a second, with
gauges, costs, stalls and a week of hourly history.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import tempfile
import time
from typing import TYPE_CHECKING

from timing import Spread, at_most, interleaved, parser, ratio, row, seconds, sized

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.measurement.window import Window
from cogmeter.alerts.model import WARNING, Limit, Reading, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import Calibrated
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, STALLS
from cogmeter.settings import Settings
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cogmeter_storage.base import Store

SERVICES, WINDOW_S, PER_SECOND = 500, 300, 100
GUIDE = ("error_rate", "response_time", "throughput")
SQL = """
    SELECT service, count(*), avg(duration_us), avg(outcome IN (1, 2))
    FROM operation WHERE end_us >= ? GROUP BY service
"""
GAUGES = {
    **{f"gateway.latency_ms.shard_{shard}": 120.0 for shard in range(16)},
    **{f"gateway.heartbeat_age_s.shard_{shard}": 20.0 for shard in range(16)},
    **{f"rest.rate_limited.{scope}": 2.0 for scope in ("user", "shared", "global", "proxy")},
    "gateway.shards_connected": 16.0,
    "gateway.disconnects": 1.0,
    "rest.invalid_share": 0.01,
    "resources.memory_bytes": 3e8,
}
NAMES = [
    *((f"service-{number}", name) for number in range(SERVICES - 2) for name in ("query", "store")),
    (ACKNOWLEDGEMENT, "ask"),
    (STALLS, "cog.py:7 parse"),
]

Second = list[tuple[int, int, int, int, object]]


class Clock:
    """A clock in seconds that moves only when it is set."""

    now_s = 0.0
    began_us = time.time_ns() // 1000

    def seconds(self) -> float:
        return self.now_s

    def wall(self) -> int:
        return self.began_us + int(self.now_s * 1e6)


def traffic() -> list[Second]:
    """Yield the buffer's operations second by second: one in a hundred fails, one in fifty has a cost."""
    return [
        [
            (
                random.randrange(len(NAMES)),
                second * 10**9,
                int(random.lognormvariate(17, 1)),
                int(number == 0),
                (None, {"cost_usd": 0.001}) if number < 2 else None,
            )
            for number in range(PER_SECOND)
        ]
        for second in range(WINDOW_S)
    ]


def flat(operations: Second) -> list[object]:
    return [atom for operation in operations for atom in operation]


def calibration() -> dict[Subject, Calibrated]:
    """Return a calibrated threshold of its own for each service and operation."""
    subjects = [(service, operation) for names in NAMES for service, operation in (names, (names[0], ""))]
    values = {
        name: Calibrated({"average": 5_000.0 + number, "p95": 9_000.0 + number}, 1_000, 0, 1, settled=True)
        for number, name in enumerate(dict.fromkeys(subjects))
    }
    rules = ("response_time", "throughput")
    return {Subject(rule, *name): value for rule in rules for name, value in values.items()}


async def filled(
    clock: Clock,
    history: list[Second],
    settings: Settings,
    known: dict[Subject, Calibrated] | None = None,
    *,
    checks: int = SERVICES,
) -> Evaluator:
    """Return an evaluator with some hours of history and full five minutes; SERVICES checks learn all of a minute."""
    limits = Limits(settings, {}, known)
    evaluator = Evaluator(NAMES, limits, window_s=WINDOW_S, clock_s=clock.seconds, wall=clock.wall)
    for _ in range(7 * 12):
        clock.now_s += 300
        evaluator.sampled(clock.wall(), GAUGES)
        await evaluator.watch([atom for operations in history[:60] for atom in flat(operations)])
    for operations in history:
        clock.now_s += 1
        await evaluator.watch(flat(operations))
    for _ in range(checks):
        await evaluator.evaluate(clock.wall())
    return evaluator


def database(history: list[Second]) -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:")
    raw.execute("CREATE TABLE operation (service TEXT, end_us INTEGER, duration_us INTEGER, outcome INTEGER)")
    raw.execute("CREATE INDEX ended ON operation (end_us)")
    rows = (
        (NAMES[series][0], end_ns // 1000, duration_ns // 1000, outcome)
        for operations in history
        for series, end_ns, duration_ns, outcome, _ in operations
    )
    raw.executemany("INSERT INTO operation VALUES (?, ?, ?, ?)", rows)
    return raw


async def cpu_of_counting(history: list[Second], window_alone: bool) -> float:
    """Return the CPU seconds that the flusher spends on one operation to update the totals."""
    clock = Clock()
    window = Window(NAMES, length_s=WINDOW_S)
    evaluator = Evaluator(NAMES, Limits(Settings(_env_file=None)), window_s=WINDOW_S, wall=clock.wall)
    atoms = [atom for operations in history[:10] for atom in flat(operations)]
    start = time.thread_time()
    for second in range(10):
        if window_alone:
            await window.add(atoms, float(second))
        else:
            await evaluator.watch(atoms)
    return (time.thread_time() - start) / (10 * 10 * PER_SECOND)


async def longest_block(work: Awaitable[object]) -> float:
    """Return the longest CPU time in seconds for which some work blocks the loop."""
    turns: list[float] = []

    async def turn() -> None:
        while True:
            turns.append(time.thread_time())
            await asyncio.sleep(0)

    ticker = asyncio.create_task(turn())
    await asyncio.sleep(0)
    await work
    ticker.cancel()
    return max(after - before for before, after in itertools.pairwise([*turns, time.thread_time()]))


class Engines:
    """Checks by the engine for 500 services on a real store: no breach, lasting breaches, all breaches at once.

    The CPU time is that of the loop's thread, so that other threads do not count.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._now_us = time.time_ns() // 1000
        self._rounds = 0
        self._active = self._engine()

    async def ready(self) -> None:
        await self._active.step(self._readings("active"), self._now_us)

    def next_check(self, case: str) -> tuple[AlertEngine, list[Reading]]:
        self._rounds += 1
        self._now_us += 30_000_000
        if case == "alerts stay active":
            return self._active, self._readings("active")
        return self._engine(), self._readings(f"round {self._rounds}") if case == "alerts fire at once" else []

    async def cpu(self, case: str) -> float:
        """Return the CPU seconds of one check."""
        engine, readings = self.next_check(case)
        start = time.thread_time()
        await engine.step(readings, self._now_us)
        return time.thread_time() - start

    async def block(self, case: str) -> float:
        """Return the longest time in seconds for which one check blocks the loop."""
        engine, readings = self.next_check(case)
        return await longest_block(engine.step(readings, self._now_us))

    def _engine(self) -> AlertEngine:
        limit = Limit(threshold=0.05, recovery=0.04, for_s=0, recovery_s=120, min_operations=20)
        return AlertEngine(self._store, lambda _: limit, Policy(), targets=lambda _: ("log",), wake=lambda: None)

    def _readings(self, prefix: str) -> list[Reading]:
        message = "Error rate of 7.8% exceeds threshold of 5%"
        subjects = (Subject("error_rate", f"{prefix} {number}") for number in range(SERVICES))
        return [Reading(subject, 0.078, 0.05, message, WARNING) for subject in subjects]


def outage_row(
    loop: asyncio.AbstractEventLoop, history: list[Second], settings: Settings, rounds: int, checks: int
) -> None:
    """Print how long a check blocks the loop when every series is in breach: a third of all operations fails."""
    clock = Clock()
    outage = [
        [(*one[:3], int(number % 3 == 0), one[4]) for number, one in enumerate(operations)] for operations in history
    ]
    evaluator = loop.run_until_complete(filled(clock, outage, settings, checks=checks))
    blocks = [loop.run_until_complete(longest_block(evaluator.evaluate(clock.wall()))) for _ in range(rounds)]
    middle = Spread.of(blocks).median * 1e3
    name = f"threshold check, longest block of the loop: all rules, {SERVICES} services in breach"
    row(name, f"{middle:.2f} ms", goal=at_most(middle, 2.0, " ms"))


def engine_rows(loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    """Print what a check costs in addition to the rules: alerts that fire, stay active and are stored."""
    with tempfile.TemporaryDirectory() as folder:
        store = loop.run_until_complete(open_store(f"sqlite:///{folder}/performance.db"))
        bench = Engines(store)
        loop.run_until_complete(bench.ready())
        works = {
            (case, of.__name__): lambda case=case, of=of: loop.run_until_complete(of(case))
            for case in ("services without alerts", "alerts stay active", "alerts fire at once")
            for of in (bench.cpu, bench.block)
        }
        for (case, of), taken in interleaved(works, rounds).items():
            middle = Spread.of(taken).median * 1e3
            goal = at_most(middle, 2.0, " ms") if of == "block" else None
            what = "longest block of the loop" if of == "block" else "CPU a check"
            row(f"alert engine, {what}: {SERVICES} {case}", f"{middle:.2f} ms", goal=goal)
        loop.run_until_complete(store.close())


def main() -> None:
    options = parser(__doc__).parse_args()
    history, clock = traffic(), Clock()
    off = dict.fromkeys((rule.setting for name, rule in RULES.items() if name not in GUIDE), 0)
    usual = {
        "alert_slo_target": 0.99,
        "alert_threshold_cost": 1_000.0,
        "alert_threshold_operations_per_minute": 1_000.0,
    }
    unset = {name: value for name, value in usual.items() if name != "alert_threshold_operations_per_minute"}
    loop = asyncio.new_event_loop()
    checks = sized(options, SERVICES, SERVICES, 5)

    def check(name: str, settings: Settings, known: dict[Subject, Calibrated] | None = None) -> tuple[str, object]:
        evaluator = loop.run_until_complete(filled(clock, history, settings, known, checks=checks))
        return name, lambda: seconds(lambda: loop.run_until_complete(evaluator.evaluate(clock.wall())))

    goals = {"guide's three": 0.5, "all rules": 2.0, "all rules, calibrated": 2.0}
    cases = dict(
        [
            check("guide's three", Settings(_env_file=None, **usual | off)),
            check("guide's three, p95", Settings(_env_file=None, alert_response_time_statistic="p95", **usual | off)),
            check("all rules", Settings(_env_file=None, **usual)),
            check("all rules, p95", Settings(_env_file=None, alert_response_time_statistic="p95", **usual)),
            check("all rules, calibrated", Settings(_env_file=None, **unset), calibration()),
            check(
                "all rules, calibrated p95",
                Settings(_env_file=None, alert_response_time_statistic="p95", **unset),
                calibration(),
            ),
        ]
    )
    raw = database(history)
    cases["SQL"] = lambda: seconds(lambda: raw.execute(SQL, (0,)).fetchall())
    results = interleaved(cases, sized(options, 2001, 201, 3))
    sql = results.pop("SQL")
    for name, taken in results.items():
        middle = Spread.of(taken).median * 1e3
        goal = at_most(middle, goals[name], " ms") if name in goals else None
        peer = f"SQL GROUP BY {Spread.of(sql).median * 1e3:.1f} ms"
        row(
            f"threshold check, 500 services: {name}",
            f"{middle:.3f} ms",
            peer=peer,
            ratio=f"{ratio(taken, sql):.4f}",
            goal=goal,
        )
    outage_row(loop, history, Settings(_env_file=None, **usual), sized(options, 201, 21, 2), checks)
    for name, alone in (("window", True), ("window, long windows, costs", False)):
        costs = [asyncio.run(cpu_of_counting(history, alone)) for _ in range(sized(options, 21, 21, 1))]
        row(f"alert totals, CPU an operation: {name}", f"{Spread.of(costs).median * 1e9:.0f} ns")
    engine_rows(loop, sized(options, 201, 21, 2))
    loop.close()


if __name__ == "__main__":
    main()
