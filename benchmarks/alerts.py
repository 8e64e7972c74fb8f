"""What one check of the alert thresholds costs for 500 services, beside the SQL that would find the same.

Run ``python benchmarks/alerts.py [--short]``. The window is full: five minutes at a hundred operations a second.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time

from timing import Spread, at_most, interleaved, parser, ratio, row, seconds

from cogmeter.alerts.rules import Thresholds, breaches
from cogmeter.alerts.window import Window

SERVICES, WINDOW_S, PER_SECOND = 500, 300, 100
THRESHOLDS = Thresholds(error_rate=0.05, response_time_ms=5000, operations_per_minute=1000)
SQL = """
    SELECT service, count(*), avg(duration_us), avg(outcome IN (1, 2))
    FROM operation WHERE end_us >= ? GROUP BY service
"""

Second = list[tuple[int, int, int, int, None]]


def traffic() -> list[Second]:
    """The buffer's operations, second by second: one in a hundred fails, so that no service is in breach for long."""
    return [
        [
            (random.randrange(SERVICES), second * 10**9, int(random.lognormvariate(17, 1)), int(number == 0), None)
            for number in range(PER_SECOND)
        ]
        for second in range(WINDOW_S)
    ]


async def filled(quantile: float | None, history: list[Second]) -> Window:
    names = [(f"service-{number}", "query") for number in range(SERVICES)]
    window = Window(names, length_s=WINDOW_S, quantile=quantile)
    for second, operations in enumerate(history):
        await window.add([atom for operation in operations for atom in operation], float(second))
    return window


def database(history: list[Second]) -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:")
    raw.execute("CREATE TABLE operation (service TEXT, end_us INTEGER, duration_us INTEGER, outcome INTEGER)")
    raw.execute("CREATE INDEX ended ON operation (end_us)")
    rows = (
        (f"service-{service}", end_ns // 1000, duration_ns // 1000, outcome)
        for operations in history
        for service, end_ns, duration_ns, outcome, _ in operations
    )
    raw.executemany("INSERT INTO operation VALUES (?, ?, ?, ?)", rows)
    return raw


async def cpu_of_counting(history: list[Second]) -> float:
    """Processor seconds that the flusher spends on one operation to keep the window up to date."""
    names = [(f"service-{number}", "query") for number in range(SERVICES)]
    window = Window(names, length_s=WINDOW_S)
    atoms = [atom for operations in history[:10] for operation in operations for atom in operation]
    start = time.thread_time()
    for second in range(10):
        await window.add(atoms, float(second))
    return (time.thread_time() - start) / (10 * 10 * PER_SECOND)


def main() -> None:
    short = parser(__doc__).parse_args().short
    history = traffic()
    means, p95s = (asyncio.run(filled(quantile, history)) for quantile in (None, 0.95))
    p95 = Thresholds(error_rate=0.05, response_time_ms=5000, operations_per_minute=1000, statistic="p95")
    raw, now_s = database(history), WINDOW_S - 0.5

    def check(window: Window, thresholds: Thresholds) -> float:
        return seconds(lambda: list(breaches(window.totals(now_s), thresholds)))

    cases = {
        "threshold check, 500 services": lambda: check(means, THRESHOLDS),
        "threshold check, 500 services, p95": lambda: check(p95s, p95),
        "SQL": lambda: seconds(lambda: raw.execute(SQL, (0,)).fetchall()),
    }
    results = interleaved(cases, 201 if short else 2001)
    sql = results.pop("SQL")
    for name, taken in results.items():
        middle = Spread.of(taken).median * 1e3
        goal = at_most(middle, 0.5, " ms") if name == "threshold check, 500 services" else None
        peer = f"SQL GROUP BY {Spread.of(sql).median * 1e3:.1f} ms"
        row(name, f"{middle:.3f} ms", peer=peer, ratio=f"{ratio(taken, sql):.4f}", goal=goal)
    costs = [asyncio.run(cpu_of_counting(history)) for _ in range(21)]
    row("alert totals, CPU an operation", f"{Spread.of(costs).median * 1e9:.0f} ns")


if __name__ == "__main__":
    main()
