"""A store with a week of operations of 2,000 services, and a bot's load; a part of ``responsiveness.py``."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.recording.recorder import Recorder
    from cogmeter_storage import Row

SERVICES, LETTERS, OPERATIONS = 2_000, 100, 700_000
HOSTILE = 6_000  # letters of an input
LOAD_PER_S, FAILING = 200, 100  # operations; services that fail
COSTS = 100  # services and models with costs on each of 90 days
WORDS = ("fetch", "discord", "commands", "knowledge", "graph", "query", "sentiment", "analysis", "user", "profile")


def name_of(number: int) -> str:
    """Return a service's name: words, 100 letters, unique."""
    chance = random.Random(number)
    return f"{number:04}-{'-'.join(chance.choice(WORDS) for _ in range(20))}"[:LETTERS]


def hostile(letters: int = HOSTILE) -> str:
    """Return a long text of the same words that is similar to every name and equal to none."""
    chance = random.Random(7)
    return "-".join(chance.choice(WORDS) for _ in range(letters // 4))[:letters]


def rows(until_us: int) -> Iterator[list[Row]]:
    numbers = np.random.default_rng(7)
    ends = until_us - 7 * DAY_US + np.arange(OPERATIONS) * (7 * DAY_US) // OPERATIONS
    series = numbers.integers(0, SERVICES, OPERATIONS) + 1
    durations = (numbers.lognormal(3.5, 1.0, OPERATIONS) * 1000).astype(np.int64)
    outcomes = numbers.choice(5, OPERATIONS, p=(0.96, 0.02, 0.005, 0.01, 0.005))
    failed = np.isin(outcomes, (1, 2)).tolist()
    errors = [f"could not reach the server, try {number % 500}" if one else None for number, one in enumerate(failed)]
    columns = [series.tolist(), ends.tolist(), durations.tolist(), outcomes.tolist(), errors, [None] * OPERATIONS]
    made = list(zip(*columns, strict=True))
    for start in range(0, OPERATIONS, 50_000):
        yield made[start : start + 50_000]


async def build(path: Path) -> None:
    if path.exists():
        return
    store = await open_store(f"sqlite:///{path.absolute()}")
    await store.series_ids([(name_of(number), "run") for number in range(SERVICES)])
    until_us = time.time_ns() // 1000
    for batch in rows(until_us):
        await store.append((batch[at : at + 1_000] for at in range(0, len(batch), 1_000)), now_us=batch[-1][1])
    await store.fold(now_us=until_us)
    await store.close()


def spend(monitor: Monitor) -> None:
    now_us = time.time_ns() // 1000
    for day in range(90):
        for number in range(COSTS):
            metadata = {"model": f"model-{number % 7}", "cost_usd": 0.01, "tokens_in": 10, "tokens_out": 20}
            monitor.alerting.evaluator.spending.add(name_of(number), now_us - day * DAY_US, metadata)


async def load(recorder: Recorder) -> None:
    chance, number = random.Random(3), 0
    while True:
        for _ in range(LOAD_PER_S // 20):
            number += 1
            failing = number % 10 == 0
            service = name_of(chance.randrange(FAILING) if failing else chance.randrange(SERVICES))
            error = f"broken {number % 50}" if failing else None
            recorder.record(service, "run", duration_ms=chance.lognormvariate(3.5, 1.0), error=error)
        await asyncio.sleep(0.05)
