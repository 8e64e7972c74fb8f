from __future__ import annotations

import random
import subprocess
import sys
import time

from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

WRITER = """
import asyncio, sys
from cogmeter_storage import open_store

async def main():
    store = await open_store(sys.argv[1])
    a, b = await store.series_ids([("a", "one"), ("b", "two")])
    status = await store.status()
    count, at_us = status.operations, status.last_end_us or 1_750_075_200_000_000
    print("stored", count, flush=True)
    while True:
        rows = []
        for i in range(60):
            at_us += 400_000 + 7919 * i
            number = count + i
            rows.append((a if number % 3 else b, at_us, 1 + number * 37 % 5_000_000, number % 5, None, None))
        await store.append([rows[:25], rows[25:]], now_us=at_us)
        count += 60
        print("stored", count, flush=True)
        await store.fold(now_us=at_us)

asyncio.run(main())
"""


def write_and_kill(url, after_s):
    """Let a child write for a while, kill it, and return what it said it had committed last."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    said = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    # A line that was cut short is no claim.
    return int(said[-1]) if len(said) >= 2 and len(said) % 2 == 0 else 0


async def test_after_kill_9_no_committed_operation_is_lost_or_counted_twice(path, url, slots_agree_with_rows):
    committed = 0
    for seed in range(6):
        committed = max(write_and_kill(url, random.Random(seed).uniform(0.02, 0.4)), committed)
        slots_agree_with_rows(path)
        store = await open_store(url)
        count = (await store.status()).operations
        totals = await store.totals(0, 1_750_075_200_000_000 + 1000 * DAY_US, groups={1: 0, 2: 0})
        newest = await store.recent([1, 2], 0, 2**60, limit=count + 1)
        await store.close()
        # The last commit may have come through without being told of.
        assert committed <= count
        assert count % 60 == 0
        assert totals.counts.tolist() == [[count]]
        assert totals.sum_us.tolist() == [[sum(1 + i * 37 % 5_000_000 for i in range(count))]]
        assert [one.id for one in newest] == list(range(count, 0, -1))
        slots_agree_with_rows(path)
        committed = count
    assert committed > 0
