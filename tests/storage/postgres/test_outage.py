"""PostgreSQL goes away, and comes back: everything is there once, in order, and the loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from cutting_proxy import CuttingProxy
from postgres_server import PROGRAMS, Server, server

from cogmeter.recording import flusher as flusher_module
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.model import DAY_US, BatchId, Retention
from cogmeter_storage.postgres import connection as connection_module
from cogmeter_storage.process import Process
from cogmeter_storage.spool import Spool
from cogmeter_storage.usage import UsageBatch

MB = 1_000_000
ALL = (-(2**60), 2**60)
KILLS = int(os.environ.get("COGMETER_OUTAGE_KILLS", "8"))
RANGE = 1_000_000  # of the numbers of one start of the process
# Records operations with successive numbers until its standard input ends, and prints up to which number they are safe.
PROCESS = """
import asyncio, sys
from pathlib import Path
from cogmeter.recording import flusher as module
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.process import Process
from cogmeter_storage.spool import Spool

module.INTERVAL_S = module.PATIENCE_S = module.FIRST_RETRY_S = 0.05
module.LAST_SERVER_RETRY_S = 0.2

async def main(url, folder, first):
    while True:
        try:
            store = await open_store(url, process=Process("bot"))
            break
        except StorageError:
            await asyncio.sleep(0.05)
    recorder = Recorder(Buffer(2_000))
    flusher = Flusher(recorder, store, spool=await Spool.open(Path(folder), "bot", 100_000_000))
    flusher.start()
    stopping = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    number = first
    while not stopping.done():
        for _ in range(10):
            number += 1
            recorder.record("load", f"series {number % 7}", duration_ms=number)
        await asyncio.sleep(0.005)
        safe = number - flusher.pending - len(recorder.buffer)
        assert recorder.buffer.dropped == 0
        print(safe, flusher.backlog.spooled, flush=True)
    while flusher.backlog.spooled or flusher.pending or recorder.buffer.rows:
        await asyncio.sleep(0.05)
    await flusher.stop()
    await store.close()
    print(number, 0, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
# A committed transaction must survive a kill of the server's processes, which these tests do.
OPTIONS = ("fsync=off", "full_page_writes=off", "synchronous_commit=on", "max_connections=50", "shared_buffers=32MB")


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server | None]:
    """A server that these tests may stop."""
    if not PROGRAMS:
        yield None
        return
    with server(OPTIONS) as running:
        yield running


@pytest.fixture
def database(own_server, needed):
    needed(own_server, "PostgreSQL")
    own_server.clear("postgres")
    return own_server


@pytest.fixture
def proxy(database):
    proxy = CuttingProxy(database.port)
    yield proxy
    proxy.close()


@pytest.fixture
def quick(monkeypatch):
    """Flush and retry after a fraction of the time, so that a second of an outage is a long one."""
    monkeypatch.setattr(flusher_module, "INTERVAL_S", 0.05)
    monkeypatch.setattr(flusher_module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(flusher_module, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(flusher_module, "LAST_SERVER_RETRY_S", 0.2)


async def open_at(place, name="bot"):
    return await open_store(place.url("postgres"), process=Process(name))


async def stored(place):
    """Return the numbers of the stored operations in order, and the count and sum of the slots."""
    store = await open_store(place.url("postgres"), read_only=True)
    try:
        numbers = [one.duration_us // 1000 async for chunk in store.stream(None, *ALL) for one in chunk]
        groups = {one.id: 0 for one in await store.series()}
        totals = await store.totals(0, 2**52, groups=groups)
        return numbers, int(totals.counts.sum()), int(totals.sum_us.sum()) // 1000
    finally:
        await store.close()


class Load:
    """Records operations with successive numbers as their durations.

    It measures the lag of the loop, and the CPU time of the loop's thread between two turns: that is the part of the
    lag which other programs of the machine do not cause.
    """

    def __init__(self, recorder, *, each=20, pause_s=0.005):
        self.recorded = 0
        self.lags_s, self.busy_s = [], []
        self._recorder, self._each, self._pause_s = recorder, each, pause_s
        self._task = asyncio.create_task(self._run())

    async def _run(self):
        while True:
            for _ in range(self._each):
                self.recorded += 1
                self._recorder.record("load", f"series {self.recorded % 7}", duration_ms=self.recorded)
            began_s, cpu_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(self._pause_s)
            self.lags_s.append(time.perf_counter() - began_s - self._pause_s)
            self.busy_s.append(time.thread_time() - cpu_s)

    def measured(self):
        """Return the lag since the last call as text."""
        lags_s, busy_s, self.lags_s, self.busy_s = self.lags_s, self.busy_s, [], []
        return ", ".join(
            f"{name} p50 {np.quantile(values, 0.5) * 1e3:.2f} p99 {np.quantile(values, 0.99) * 1e3:.2f}"
            f" max {max(values) * 1e3:.1f} ms"
            for name, values in (("lag", lags_s), ("CPU between turns", busy_s))
        )

    async def end(self):
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def until(condition, *, limit_s=60):
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def writing(place, folder, *, capacity=4_000, spool_bytes=100 * MB):
    """A flusher into the database, under load."""
    store = await open_at(place)
    recorder = Recorder(Buffer(capacity))
    flusher = Flusher(recorder, store, spool=await Spool.open(folder, "bot", spool_bytes))
    flusher.start()
    load = Load(recorder)
    try:
        yield flusher, load
    finally:
        await load.end()
        await flusher.stop()
        await store.close()


def rows(ids, start, count):
    start_us = 1_750_075_200_000_000
    return [(ids[0], start_us + number * 1000, number, 0, None, None) for number in range(start, start + count)]


@pytest.mark.parametrize("cut", ["lost", "unanswered"])
async def test_a_batch_whose_commit_was_cut_is_stored_once_when_it_comes_again(proxy, cut):
    store = await open_at(proxy)
    ids = await store.series_ids([("a", "1")])
    proxy.cuts.append(cut)
    first = rows(ids, 0, 300)
    slices = [first[:100], first[100:200], first[200:]]
    with pytest.raises(StorageError) as caught:
        await store.append(slices, now_us=first[-1][1], batch=BatchId("x", 1))
    assert not caught.value.permanent
    assert proxy.done == [cut]
    assert await store.append(slices, now_us=first[-1][1], batch=BatchId("x", 1)) == 300
    second = rows(ids, 300, 50)
    assert await store.append([second], now_us=second[-1][1], batch=BatchId("x", 2)) == 50
    durations = [one.duration_us async for chunk in store.stream(None, *ALL) for one in chunk]
    assert durations == list(range(350))
    await store.close()


async def test_a_batch_counts_as_stored_only_when_a_synchronous_standby_has_it(proxy, database, monkeypatch):
    """An old primary that was cut off has commits of its own, which were not acknowledged."""
    store = await open_at(proxy)
    ids = await store.series_ids([("a", "1")])
    first, batch = rows(ids, 0, 10), rows(ids, 10, 100)
    await store.append([first], now_us=first[-1][1], batch=BatchId("x", 1))
    proxy.cuts.append("unanswered")
    with pytest.raises(StorageError):
        await store.append([batch], now_us=batch[-1][1], batch=BatchId("x", 2))
    with psycopg.connect(database.url("postgres")) as raw:
        assert raw.execute("SELECT count(*) FROM cogmeter.operation").fetchone() == (110,)
    monkeypatch.setattr(connection_module, "CALL_LIMIT_S", 0.3)
    async with no_standby(database):
        with pytest.raises(StorageError) as caught:
            await store.append([batch], now_us=batch[-1][1], batch=BatchId("x", 2))
        assert not caught.value.permanent
    monkeypatch.setattr(connection_module, "CALL_LIMIT_S", 15.0)
    assert await store.append([batch], now_us=batch[-1][1], batch=BatchId("x", 2)) == 100
    await store.close()
    numbers, count, _ = await stored(database)
    assert (len(numbers), count) == (110, 110)


@contextlib.asynccontextmanager
async def no_standby(database):
    """Commits wait for a standby that there is not."""
    ended = threading.Event()

    def commit_until_ended():
        with psycopg.connect(database.url("postgres"), autocommit=True) as raw:
            while not ended.is_set():
                raw.execute("CREATE TABLE IF NOT EXISTS probe (id int)")
                raw.execute("INSERT INTO probe VALUES (1)")

    def require(raw, name):
        raw.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        raw.execute("SELECT pg_reload_conf()")

    committing = asyncio.create_task(asyncio.to_thread(commit_until_ended))
    with psycopg.connect(database.url("postgres"), autocommit=True) as raw:
        require(raw, "missing")
        try:
            async with asyncio.timeout(30):
                while not raw.execute("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchall():
                    await asyncio.sleep(0.01)
            yield
        finally:
            ended.set()
            require(raw, "")
            await committing
            raw.execute("DROP TABLE probe")


async def test_another_start_does_not_store_again_what_a_killed_one_had_stored(proxy, database):
    store = await open_at(proxy)
    ids = await store.series_ids([("a", "1")])
    proxy.cuts.append("unanswered")
    with pytest.raises(StorageError):
        await store.append([rows(ids, 0, 100)], now_us=0, batch=BatchId("x", 1))
    again = await open_at(database)
    assert await again.append([rows(ids, 0, 60), rows(ids, 60, 40)], now_us=0, batch=BatchId("x", 1)) == 100
    assert await again.append([rows(ids, 100, 10)], now_us=0, batch=BatchId("x", 2)) == 10
    durations = [one.duration_us async for chunk in again.stream(None, *ALL) for one in chunk]
    assert durations == list(range(110))
    await again.close()
    await store.close()


async def test_the_ids_of_batches_are_removed_with_their_operations(database):
    store = await open_at(database)
    ids = await store.series_ids([("a", "1")])
    now_us = int(time.time() * 1e6)
    await store.append([[(ids[0], now_us, 1, 0, None, None)]], now_us=now_us, batch=BatchId("x", 1))
    retention = Retention(raw_hours=1, hour_hours=1, day_hours=1, error_hours=1)
    for days, left in ((0, 1), (3, 0)):
        await store.append([], now_us=now_us + days * DAY_US)
        await store.fold(now_us=now_us + days * DAY_US)
        await store.clean(retention, now_us=now_us + days * DAY_US)
        with psycopg.connect(database.url("postgres")) as raw:
            assert raw.execute("SELECT count(*) FROM cogmeter.stored_batch").fetchone() == (left,)
    await store.close()


@pytest.mark.parametrize("cut", ["lost", "unanswered"])
async def test_errors_and_usage_are_counted_once_when_their_commit_was_cut(proxy, make_errors, cut):
    store = await open_at(proxy)
    usage = UsageBatch(1_750_075_200_000_000, np.array([], np.int64), np.array([], np.uint64), {("command", "ask"): 3})
    for add in (
        lambda: store.errors.add([make_errors("a", count=2)], batch=BatchId("x", 1)),
        lambda: store.usage.add(usage, batch_id=BatchId("x", 2)),
    ):
        proxy.cuts.append(cut)
        with pytest.raises(StorageError):
            await add()
        await add()
    (group,) = await store.errors.groups(0, 2**53)
    assert group.count == 2
    assert await store.usage.counts(0, 2**53, ["command"]) == {("command", "ask"): 3}
    await store.close()


async def test_commits_that_are_cut_under_load_lose_and_double_nothing(proxy, database, tmp_path, quick):
    choose = random.Random(19)
    async with writing(proxy, tmp_path) as (flusher, load):
        for _ in range(12):
            proxy.cuts.extend(["pass"] * choose.randrange(3) + [choose.choice(["lost", "unanswered"])])
            await until(lambda: not proxy.cuts)
        await until(lambda: flusher.last_error is None)
    assert len(proxy.done) == 12
    numbers, count, total = await stored(database)
    assert numbers == list(range(1, load.recorded + 1))
    assert (count, total) == (load.recorded, sum(numbers))


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_everything_recorded_while_the_server_is_away_is_stored_once_when_it_is_back(
    database, tmp_path, quick, caplog, kill
):
    async with writing(database, tmp_path) as (flusher, load):
        await until(lambda: flusher.written)
        await asyncio.to_thread(database.stop, kill=kill)
        await until(lambda: flusher.backlog.spooled > 4_000)
        assert flusher.dropped == 0
        await asyncio.to_thread(database.start)
        await until(lambda: not flusher.backlog.spooled and flusher.last_error is None)
    numbers, count, total = await stored(database)
    assert numbers == list(range(1, load.recorded + 1))
    assert (count, total) == (load.recorded, sum(numbers))
    assert not list(tmp_path.iterdir())
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name == "cogmeter.flusher" and record.levelno > logging.DEBUG
    ]
    assert len(lines) == 2
    assert "cannot be reached" in lines[0]
    assert "works again" in lines[1]
    assert lines[1].endswith("; 0 operations were dropped")


async def test_a_full_spool_leaves_operations_in_memory_and_then_drops_and_counts_them(
    database, tmp_path, quick, caplog
):
    async with writing(database, tmp_path, capacity=2_000, spool_bytes=150_000) as (flusher, load):
        await until(lambda: flusher.written)
        await asyncio.to_thread(database.stop)
        await until(lambda: flusher.dropped > 1_000)
        assert flusher.backlog.spool.full
        await load.end()
        await asyncio.to_thread(database.start)
        await until(lambda: not flusher.backlog.spooled and not flusher.pending and flusher.last_error is None)
        dropped = flusher.recorder.buffer.dropped
    numbers, count, _ = await stored(database)
    assert len(numbers) == len(set(numbers)) == count == load.recorded - dropped
    assert numbers == sorted(numbers)
    assert "spool-bot.db is full. To fix it: raise PERFORMANCE_SPOOL_MB." in caplog.text


async def test_a_stop_during_an_outage_leaves_the_operations_to_the_next_start(database, tmp_path, quick):
    async with writing(database, tmp_path) as (flusher, load):
        await until(lambda: flusher.written)
        await asyncio.to_thread(database.stop)
        await until(lambda: flusher.failures > 1)
        recorded = load.recorded
    assert load.recorded >= recorded
    assert list(tmp_path.glob("spool-bot.db"))
    await asyncio.to_thread(database.start)
    store = await open_at(database)
    after = Flusher(Recorder(Buffer(100)), store, spool=await Spool.open(tmp_path, "bot", MB))
    await after.flush()
    await after.stop()
    await store.close()
    numbers, count, _ = await stored(database)
    assert numbers == list(range(1, load.recorded + 1))
    assert count == load.recorded


class Start:
    """A process that records, and the last number that it reported as stored or spooled."""

    def __init__(self, database: Server, folder: Path, number: int) -> None:
        self.first = number * RANGE
        self.safe = self.first
        self.spooled = 0
        command = [sys.executable, "-c", PROCESS, database.url("postgres"), str(folder), str(self.first)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.endswith("\n"):  # the last line of a killed process may be a part of one
                self.safe, self.spooled = map(int, line.split())

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Close its standard input, and wait for it."""
        self.process.stdin.close()
        code = self.process.wait(60)
        self._reading.join()
        self.process.stdout.close()
        return code


@pytest.mark.slow
def test_processes_and_the_server_may_be_killed_at_any_moment(database, tmp_path):
    choose = random.Random(4)
    starts: list[Start] = []
    for number in range(1, KILLS + 1):
        starts.append(Start(database, tmp_path, number))
        wait_for_true(lambda start=starts[-1]: start.safe > start.first)
        database.stop(kill=choose.random() < 0.5)
        if choose.random() < 0.7:
            wait_for_true(lambda start=starts[-1]: start.spooled > 500)
        if choose.random() < 0.4:  # it is killed before the server is back
            starts[-1].kill()
            database.start()
        else:
            database.start()
            time.sleep(choose.random() * 0.4)  # in the middle of the replay
            starts[-1].kill()
    starts.append(Start(database, tmp_path, KILLS + 1))
    wait_for_true(lambda: starts[-1].safe > starts[-1].first)
    assert starts[-1].end() == 0

    numbers, count, total = asyncio.run(stored(database))
    assert len(numbers) == len(set(numbers)) == count
    assert sum(numbers) == total
    for start in starts:
        own = [number for number in numbers if start.first < number <= start.first + RANGE]
        assert own == list(range(start.first + 1, start.first + 1 + len(own)))
        assert own[-1] >= start.safe
    assert not list(tmp_path.iterdir())


def wait_for_true(condition, limit_s=30.0):
    until_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_long_time_without_the_server_under_load(database, tmp_path, record_property):
    """The lag of the loop is reported, not asserted."""
    outage_s = float(os.environ.get("COGMETER_OUTAGE_SECONDS", "20"))
    lags = {}
    capacity = int(outage_s * 2_000)  # a quarter of it is recorded in a part of the outage
    async with writing(database, tmp_path, capacity=capacity) as (flusher, load):
        await until(lambda: flusher.written)
        await asyncio.sleep(outage_s / 4)
        lags["before"] = load.measured()
        await asyncio.to_thread(database.stop)
        load.measured()
        await asyncio.sleep(outage_s)
        lags["away"] = load.measured()
        assert flusher.backlog.spooled
        assert flusher.dropped == 0
        spooled, size_bytes, began_s = flusher.backlog.spooled, flusher.backlog.spool.size_bytes, time.perf_counter()
        await asyncio.to_thread(database.start)
        await until(lambda: not flusher.backlog.spooled and flusher.last_error is None)
        replayed_s = time.perf_counter() - began_s
        lags["replay"] = load.measured()
        await asyncio.sleep(outage_s / 4)
        lags["after"] = load.measured()
    numbers, count, total = await stored(database)
    assert numbers == list(range(1, load.recorded + 1))
    assert (count, total) == (load.recorded, sum(numbers))
    text = "\n".join(f"{name}: {text}" for name, text in lags.items())
    print(f"\n{count} operations, {spooled} spooled in {size_bytes} bytes, replayed in {replayed_s:.1f} s\n{text}")
    record_property("lag", text)
