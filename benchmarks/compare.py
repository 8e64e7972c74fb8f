"""Measure how often a comparison of two periods is false, and how often it finds a regression.

Run ``python benchmarks/compare.py [--short | --smoke] [--seed N]``. Operations are simulated with four distributions
of durations; each case has 300 operations in the day before and in the day after a deploy:

* ``nothing changed``: a comparison that calls anything slower, faster, more or less reliable is false
* ``all 30% slower``: every operation takes 1.3 times as long, so p95 does, too
* ``slowest tenth 30% slower``: only those above the 90th percentile do; p50 stays, and p95 is 1.3 times as long
* ``error rate 2% to 10%``

The same with a bot's database: hours with another load and another response time, several restarts with slow first
minutes, and quarters of an hour in which everything is slow. At last a check of 50 commands at once, of unequal size.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from typing import TYPE_CHECKING

import numpy as np
from timing import at_least, at_most, parser, row, sized

from cogmeter.query.change_tests import PeriodSample, stratified
from cogmeter.query.comparison import ChangeVerdict as Verdict
from cogmeter.query.comparison import Comparison, Tested, changes, compare, tested_strata, worse
from cogmeter.query.query import Query
from cogmeter_storage import open_store
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import DAY_US, MINUTE_US, Marker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

OPERATIONS, BINS, COMMANDS = 300, 96, 50
NOW_US = 1_800_025_200_000_000
DEPLOY_US = NOW_US - DAY_US


def narrow(rng: Generator, count: int) -> NDArray[np.float64]:
    """Return durations of a command whose p95 is 1.6 times its median, in microseconds."""
    return 2e5 * rng.lognormal(0, 0.3, count)


def wide(rng: Generator, count: int) -> NDArray[np.float64]:
    """Return durations whose p95 is 2.3 times their median."""
    return 2e5 * rng.lognormal(0, 0.5, count)


def cached(rng: Generator, count: int) -> NDArray[np.float64]:
    """Return durations of a command of which 70% are answered from a cache, 20 times as fast."""
    return np.where(rng.random(count) < 0.7, 3e4 * rng.lognormal(0, 0.3, count), 6e5 * rng.lognormal(0, 0.3, count))


def heavy(rng: Generator, count: int) -> NDArray[np.float64]:
    """Return durations of which 4% wait for something else, up to minutes."""
    slow = np.where(rng.random(count) < 0.04, rng.pareto(1.5, count) + 1, 1)
    return 2e5 * rng.lognormal(0, 0.4, count) * slow


SHAPES = {"narrow": narrow, "wide": wide, "cached": cached, "heavy": heavy}


def all_slower(durations: NDArray[np.float64]) -> NDArray[np.float64]:
    return durations * 1.3


def tail_slower(durations: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(durations >= np.quantile(durations, 0.9), durations * 1.3, durations)


def sample(rng: Generator, durations: NDArray[np.float64], *, failing: float = 0.02, bins: int = BINS) -> PeriodSample:
    """Return operations at random times of a day."""
    places = rng.integers(0, bins, durations.size)
    buckets = np.zeros((bins, BUCKETS), dtype=np.int64)
    np.add.at(buckets, (places, bucket_of(durations)), 1)
    failures = np.bincount(places[rng.random(durations.size) < failing], minlength=bins)
    hours = np.arange(bins) * 24 // bins
    return PeriodSample(hours, np.full(bins, DAY_US // bins, dtype=np.int64), failures, buckets)


def claims(tested: Tested) -> tuple[Verdict, Verdict]:
    """Return the verdicts on response times and error rate."""
    latency, errors, _ = changes(tested)
    return latency.verdict, errors.verdict


def share_text(times: int, runs: int) -> str:
    """Return a share with its 95% interval (Wilson, 1927)."""
    share, z2 = times / runs, 1.96**2
    middle = (share + z2 / (2 * runs)) / (1 + z2 / runs)
    half = 1.96 * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs**2)) / (1 + z2 / runs)
    return f"{share:.1%} of {runs} ({max(middle - half, 0):.1%} to {min(middle + half, 1):.1%})"


def of_operations(rng: Generator, runs: int) -> None:
    """Print the shares of false and of found changes of single comparisons."""
    cases: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]] | None] = {
        "nothing changed": None,
        "all 30% slower": all_slower,
        "slowest tenth 30% slower": tail_slower,
    }
    for case, change in cases.items():
        for name, shape in SHAPES.items():
            times = 0
            for _ in range(runs):
                later = shape(rng, OPERATIONS)
                before, after = sample(rng, shape(rng, OPERATIONS)), sample(rng, change(later) if change else later)
                verdicts = claims(tested_strata(stratified(before, after)))
                times += set(verdicts) != {Verdict.UNCHANGED} if change is None else verdicts[0] is Verdict.WORSE
            goal = at_most(times / runs, 0.05) if change is None else at_least(times / runs, 0.9)
            row(f"compare, {case}: {name}", share_text(times, runs), goal=goal)
    times = 0
    for _ in range(runs):
        earlier, later = (sample(rng, wide(rng, OPERATIONS), failing=failing) for failing in (0.02, 0.1))
        times += claims(tested_strata(stratified(earlier, later)))[1] is Verdict.WORSE
    row("compare, error rate 2% to 10%", share_text(times, runs), goal=at_least(times / runs, 0.9))


def simulated(rng: Generator, *, spells: float = 0.0, restarts: int = 3) -> tuple[NDArray[np.int64], list[int]]:
    """Return (end, duration, outcome) of eight days, and the times of restarts; the last one is the deploy.

    Nights are busy and slow, and after a start the first minutes are five times as slow. ``spells`` is the share of
    quarters of an hour in which everything takes twice as long.
    """
    quarters = np.arange(NOW_US - 8 * DAY_US, NOW_US, 15 * MINUTE_US)
    rhythm = np.sin(2 * np.pi * (quarters % DAY_US) / DAY_US)
    counts = rng.poisson(6 * (1.2 + rhythm))
    ends = np.repeat(quarters, counts) + rng.integers(0, 15 * MINUTE_US, counts.sum())
    level = np.where(rng.random(quarters.size) < spells, 2.0, 1.0) * (1 + 0.6 * rhythm)
    durations = wide(rng, ends.size) * np.repeat(level, counts)
    starts = [*rng.integers(NOW_US - 7 * DAY_US, DEPLOY_US, restarts).tolist(), DEPLOY_US]
    for start_us in starts:
        durations[(ends >= start_us) & (ends < start_us + 8 * MINUTE_US)] *= 5
    failed = rng.random(ends.size) < 0.02
    table = np.column_stack([ends, durations.astype(np.int64), failed])
    return table[np.argsort(table[:, 0])], starts


async def compared(table: NDArray[np.int64], starts: list[int], *periods: str | None) -> Comparison:
    """Return the comparison of what a database with these operations has."""
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(f"sqlite:///{folder}/performance.db")
        try:
            (series,) = await store.series_ids([("discord.commands", "ask")])
            rows = [(series, end, duration, outcome, None, None) for end, duration, outcome in table.tolist()]
            await store.append([rows], now_us=NOW_US)
            for start_us in starts:
                await store.add_marker(Marker(start_us, "start", "bot started"))
            await store.add_marker(Marker(DEPLOY_US, "version", "version 2"))
            before, after = periods
            return await compare(Query(store, clock=lambda: NOW_US), "/ask", before=before, after=after)
        finally:
            await store.close()


def of_databases(rng: Generator, runs: int) -> None:
    """Print the shares of false changes with a daily rhythm, cold starts and slow spells."""
    cases = {
        "rhythm and cold starts, around a deploy": (0.0, (None, "version 2")),
        "rhythm and cold starts, last 5 h": (0.0, (None, "5h")),
        "rhythm, cold starts, slow spells": (0.06, (None, "version 2")),
    }
    for name, (spells, periods) in cases.items():
        times = 0
        for _ in range(runs):
            found = asyncio.run(compared(*simulated(rng, spells=spells), *periods))
            times += found.verdict in {Verdict.WORSE, Verdict.BETTER}
        row(f"compare, {name}", share_text(times, runs), goal=at_most(times / runs, 0.05))


def of_checks(rng: Generator, runs: int) -> None:
    """Print the shares of checks of many commands with a false finding, and of those that find a slow command."""
    false = slow = errors = 0
    for _ in range(runs):
        pairs = []
        for number in range(COMMANDS):
            shape = list(SHAPES.values())[number % len(SHAPES)]
            sizes = (int(rng.integers(60, 2_000)), int(rng.integers(60, 300)))
            pairs.append([sample(rng, shape(rng, size)) for size in sizes])
        tested = [tested_strata(stratified(*pair)) for pair in pairs]
        false += any(map(any, worse(tested)))
        changed = sample(rng, all_slower(wide(rng, OPERATIONS)))
        failing = sample(rng, wide(rng, OPERATIONS), failing=0.12)
        more = [tested_strata(stratified(sample(rng, wide(rng, OPERATIONS)), later)) for later in (changed, failing)]
        found = worse([*tested[2:], *more])
        slow, errors = slow + found[-2][0], errors + found[-1][1]
    row(f"check of {COMMANDS} commands, nothing changed", share_text(false, runs), goal=at_most(false / runs, 0.05))
    row(f"check of {COMMANDS}, one 30% slower", share_text(slow, runs), goal=at_least(slow / runs, 0.9))
    row(f"check of {COMMANDS}, one fails 2% to 12%", share_text(errors, runs), goal=at_least(errors / runs, 0.9))


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seed", type=int, default=1, help="of all random numbers")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)
    of_operations(rng, sized(options, 600, 60, 2))
    of_databases(rng, sized(options, 60, 5, 1))
    of_checks(rng, sized(options, 100, 6, 1))


if __name__ == "__main__":
    main()
