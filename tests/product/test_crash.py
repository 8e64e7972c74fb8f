"""kill -9 at random moments, again and again on one database: what was committed is there, once, and adds up."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cogmeter_storage import Outcome, Tier, open_store
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import MINUTE_US

PROGRAM = Path(__file__).with_name("recording_bot.py")
ROUNDS = 6
SPEED = 600  # ten minutes a second
PACE_S = 0.002  # between two operations, at least
MOST_LOST_S = 1.5
DATABASE = "performance.db"


@dataclass(frozen=True)
class Life:
    """What one process said before it was killed: its first and last operation, and how many were committed."""

    first: int
    last: int
    committed: int


@pytest.fixture
def live(host_folder, clean_environment):
    """Starts the bot, kills it ``seconds`` after its start, or after its first word, and tells what it said."""

    def live_and_die(epoch_s, first, seconds, *, young):
        environment = clean_environment(PERFORMANCE_DATABASE_URL=f"sqlite:///{DATABASE}")
        command = [sys.executable, PROGRAM, str(epoch_s), str(SPEED), str(first), str(PACE_S)]
        with (
            Path("errors").open("wb") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, bufsize=0) as process,
        ):
            said = b"" if young else process.stdout.readline()
            said += read_until(process.stdout.fileno(), time.perf_counter() + seconds)
            process.kill()
            said += process.stdout.read()
        assert Path("errors").read_text() == ""
        lines = [line.split() for line in said.decode().splitlines()]
        if not lines:
            return Life(first, first - 1, 0)
        return Life(first, int(lines[-1][0]), int(lines[-1][1]))

    return live_and_die


def read_until(descriptor, deadline):
    """What comes until the deadline."""
    said = b""
    while (left := deadline - time.perf_counter()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            said += os.read(descriptor, 65536)
    return said


def stored_numbers():
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        rows = database.execute("SELECT metadata FROM operations WHERE service = 'crash' ORDER BY id").fetchall()
    return [json.loads(metadata)["number"] for (metadata,) in rows]


def raw_columns():
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        rows = database.execute("SELECT end_us, series, duration_us, outcome FROM operation ORDER BY id").fetchall()
    return np.array(rows, dtype=np.int64)


def counts_of_tiers():
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        return Counter(dict(database.execute("SELECT tier, count(*) FROM slot GROUP BY tier")))


async def compare_slots_with_rows(folded):
    """Every figure that the store gives, minute by minute and as a whole, against the raw rows."""
    rows = raw_columns()
    end_us, series, duration_us, outcome = rows.T
    since_us = int(end_us.min()) // MINUTE_US * MINUTE_US
    until_us = int(end_us.max()) // MINUTE_US * MINUTE_US + MINUTE_US
    store = await open_store(f"sqlite:///{DATABASE}")
    try:
        if folded:
            await store.append([], now_us=until_us)
            await store.fold(now_us=until_us)
        for step_us in (MINUTE_US, None):
            groups = {number: number - 1 for number in range(1, int(series.max()) + 1)}
            totals = await store.totals(since_us, until_us, groups=groups, step_us=step_us)
            shape = totals.counts.shape
            place = ((end_us - since_us) // step_us if step_us else np.zeros_like(end_us), series - 1)
            expected = np.zeros((*shape, len(Outcome)), dtype=np.int64)
            np.add.at(expected, (*place, outcome), 1)
            np.testing.assert_array_equal(totals.outcomes, expected)
            for found, add in ((totals.sum_us, np.add), (totals.max_us, np.maximum)):
                expected = np.zeros(shape, dtype=np.int64)
                add.at(expected, place, duration_us)
                np.testing.assert_array_equal(found, expected)
            expected = np.zeros((*shape, BUCKETS), dtype=np.int64)
            np.add.at(expected, (*place, bucket_of(duration_us)), 1)
            np.testing.assert_array_equal(totals.buckets, expected)
    finally:
        await store.close()


async def test_kill_9_loses_no_committed_operation_doubles_none_and_the_slots_agree_with_the_rows(live, monkeypatch):
    seed = random.randrange(2**32)
    print("seed", seed)  # shown when it fails
    moments, epoch_s, number, kept = random.Random(seed), time.time(), 0, []
    for round_number in range(ROUNDS):
        # Every third one dies young: while it opens and rebuilds, or around its first flush.
        young = round_number % 3 == 2
        seconds = moments.uniform(0.4, 2.0) if young else moments.uniform(1.5, 3.5)
        life = live(epoch_s, number, seconds, young=young)
        print(life, f"killed after {seconds:.3f} s")
        numbers = stored_numbers()
        own = numbers[len(kept) :]
        assert numbers[: len(kept)] == kept, "what was there before has changed"
        assert own == list(range(life.first, life.first + len(own))), "lost in the middle, out of order, or doubled"
        assert len(own) >= life.committed, "committed, and lost"
        assert life.last + 1 - life.first - len(own) <= MOST_LOST_S / PACE_S, "lost more than the last moments"
        kept, number = numbers, life.last + 1
    tiers = counts_of_tiers()
    assert tiers[Tier.MINUTE]
    assert tiers[Tier.HOUR]
    assert len(kept) > ROUNDS
    # Read with the clock of the bots: by the true one, the operations lie in the future and would be set apart.
    real_ns, epoch_ns = time.time_ns, int(epoch_s * 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: epoch_ns + (real_ns() - epoch_ns) * SPEED)
    for folded in (False, True):
        await compare_slots_with_rows(folded)
    assert stored_numbers() == kept
