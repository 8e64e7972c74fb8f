"""A cluster whose primary is killed or cut off under load: every process continues by itself, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Self

import pytest
from patroni_cluster import Cluster, cluster, missing_programs

from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("COGMETER_FAILOVER_KILLS", "1"))
WRITERS = 3
START_US = 1_750_032_000_000_000
# Appends 50 rows every 50 ms, and the same rows again after an error, as the flusher does. At the end it prints how
# many were accepted, and the longest time without an accepted append.
WRITER = """
import asyncio, sys, time
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.process import Process

async def main(url, number, start_us):
    store = await open_store(url, process=Process(f"writer {number}"))
    (series,) = await store.series_ids([("alpha", "one")])
    stopping = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print("ready", flush=True)
    accepted, last_s, longest_s = 0, time.monotonic(), 0.0
    while not stopping.done():
        rows = [(series, start_us + accepted * 1000 + n, 1000 + n, 0, None, None) for n in range(50)]
        while True:
            try:
                await store.append([rows[:25], rows[25:]], now_us=rows[-1][1])
            except StorageError as error:
                assert not error.permanent, error
                await asyncio.sleep(0.5)
            else:
                break
        accepted += len(rows)
        now_s = time.monotonic()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
        await asyncio.sleep(0.05)
    print(accepted, round(longest_s, 1), flush=True)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def running(request) -> Iterator[Cluster]:
    missing = missing_programs()
    if missing:
        report = pytest.fail if os.environ.get("COGMETER_TEST_ALL") == "1" else pytest.skip
        report(f"not on this machine: {missing}")
    with cluster() as made:
        yield made


class Load:
    """Writers in processes of their own."""

    def __init__(self, url: str, start_us: int) -> None:
        self._writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, str(number), str(start_us)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(WRITERS)
        ]
        for writer in self._writers:
            assert writer.stdout.readline() == "ready\n", writer.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.kill()
            writer.communicate()

    def end(self) -> tuple[int, float]:
        """Return how many operations were accepted, and the longest time without an accepted append in seconds."""
        results = []
        for writer in self._writers:
            output, errors = writer.communicate("\n", timeout=120)
            assert writer.returncode == 0, errors
            accepted, longest_s = output.split()
            results.append((int(accepted), float(longest_s)))
        return sum(accepted for accepted, _ in results), max(longest_s for _, longest_s in results)


async def stored(url: str, start_us: int) -> tuple[int, int]:
    """Return the operations in the totals, and the rows."""
    store = await open_store(url, read_only=True)
    try:
        totals = await store.totals(start_us, start_us + DAY_US, groups={1: 0})
        rows = [one.id async for chunk in store.stream(None, start_us, start_us + DAY_US) for one in chunk]
        assert len(set(rows)) == len(rows)
        return int(totals.counts.sum()), len(rows)
    finally:
        await store.close()


def test_a_killed_primary_loses_and_doubles_nothing(running, record_property):
    with Load(running.url, START_US) as load:
        for _ in range(KILLS):
            time.sleep(2.0)
            killed = running.primary()
            killed.kill()
            new = running.primary()
            killed.start()
            running.wait_for_standbys(2, new)
        time.sleep(2.0)
        accepted, longest_s = load.end()
    record_property("longest_s", longest_s)
    print(f"{KILLS} primaries killed: {accepted} operations, the longest time without an accepted append {longest_s} s")
    assert asyncio.run(stored(running.url, START_US)) == (accepted, accepted)


def test_a_primary_that_is_cut_off_accepts_nothing_that_counts(running, record_property):
    start_us = START_US + 2 * DAY_US
    with Load(running.url, start_us) as load:
        time.sleep(2.0)
        old = running.primary()
        old.pause()
        new = running.primary()
        assert new is not old
        time.sleep(1.0)
        old.resume()
        running.wait_for_standbys(2, new)
        accepted, longest_s = load.end()
    record_property("longest_s", longest_s)
    print(f"primary cut off: {accepted} operations, the longest time without an accepted append {longest_s} s")
    assert asyncio.run(stored(running.url, start_us)) == (accepted, accepted)
