"""What waits for a store that fails: measured at once, bounded, in order. tests/storage/postgres has real outages."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cogmeter.recording import backlog as backlog_module
from cogmeter.recording import flusher as flusher_module
from cogmeter.recording.backlog import Backlog
from cogmeter.recording.buffer import FIELDS, Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.process import Process
from cogmeter_storage.spool import Spool

AWAY = StorageError("cannot be reached", permanent=False)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
async def spool(tmp_path):
    spool = await Spool.open(tmp_path, "bot", 10_000_000)
    yield spool
    with contextlib.suppress(StorageError):
        await spool.close()


@pytest.fixture
def recorder():
    return Recorder(Buffer(1_000))


class Server:
    """A real store that behaves like one on a server: it may be away, or hang, and is given the ids of batches."""

    process = Process("bot")

    def __init__(self, store):
        self._store = store
        self.error = None
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.ids = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def append(self, slices, *, now_us, batch=None):
        await self.hangs.wait()
        if self.error is not None:
            next(iter(slices), None)
            raise self.error
        self.ids.append(batch)
        return await self._store.append(slices, now_us=now_us)


def record(recorder, numbers):
    for number in numbers:
        recorder.record("a", f"{number % 3}", duration_ms=number)


def number_of(duration):
    """Return the number of an atom's duration: the first one of a series is in nanoseconds, others as recorded."""
    return duration // 1_000_000 if duration >= 1_000_000 else duration


async def stored(store):
    return [one.duration_us // 1000 async for chunk in store.stream(None, 0, 2**60) for one in chunk]


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def hurry(monkeypatch):
    for name in ("INTERVAL_S", "PATIENCE_S", "FIRST_RETRY_S", "LAST_SERVER_RETRY_S"):
        monkeypatch.setattr(flusher_module, name, 0.01)


async def test_operations_are_measured_once_and_at_once_while_the_store_fails(recorder, store, monkeypatch):
    hurry(monkeypatch)
    server, seen = Server(store), []
    server.error = AWAY

    async def watch(atoms):
        seen.extend(number_of(duration) for duration in atoms[2::FIELDS])

    flusher = Flusher(recorder, server, watch=watch)
    flusher.start()
    for start in (1, 11, 21):
        record(recorder, range(start, start + 10))
        await until(lambda start=start: len(seen) == start + 9)
    assert flusher.written == 0
    server.error = None
    await until(lambda: flusher.written == 30)
    await flusher.stop()
    assert seen == list(range(1, 31))
    assert await stored(store) == list(range(1, 31))


async def test_what_hangs_in_the_store_does_not_keep_others_from_being_measured(recorder, store, monkeypatch):
    hurry(monkeypatch)
    server, seen = Server(store), []

    async def watch(atoms):
        seen.extend(number_of(duration) for duration in atoms[2::FIELDS])

    server.hangs.clear()
    flusher = Flusher(recorder, server, watch=watch)
    flusher.start()
    record(recorder, range(1, 6))
    await until(lambda: len(seen) == 5)
    record(recorder, range(6, 11))
    await until(lambda: len(seen) == 10)
    server.hangs.set()
    await until(lambda: flusher.written == 10)
    await flusher.stop()
    assert await stored(store) == list(range(1, 11))


async def test_what_was_taken_during_a_long_attempt_is_stored_at_the_stop(recorder, store, spool, monkeypatch):
    server = Server(store)
    flusher = Flusher(recorder, server, spool=spool)
    monkeypatch.setattr(flusher_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(flusher_module, "PATIENCE_S", 0.01)
    server.hangs.clear()
    flusher.start()
    record(recorder, range(5))
    await until(lambda: flusher.pending)
    record(recorder, range(5, 10))
    await until(lambda: flusher.pending == 10)
    monkeypatch.setattr(flusher_module, "INTERVAL_S", 3_600.0)
    server.hangs.set()
    await until(lambda: flusher.written == 5)
    await flusher.stop()
    assert await stored(store) == list(range(10))


async def test_waiting_operations_join_a_batch_that_nobody_tried_to_store(recorder):
    backlog = Backlog(recorder)
    record(recorder, range(5))
    await backlog.collect()
    backlog.first.tried = True
    for _ in range(3):
        record(recorder, range(10))
        await backlog.collect_waiting()
    assert backlog.first.operations == 5
    assert backlog.operations == 35
    assert recorder.buffer.fits == 1_000 - 35
    backlog.remove_first()
    assert backlog.first.operations == 30
    assert not backlog.more
    backlog.remove_first()
    assert recorder.buffer.limit == Buffer(1_000).limit


async def test_a_waiting_batch_is_not_longer_than_others(recorder, monkeypatch):
    monkeypatch.setattr(backlog_module, "BATCH", 100)
    backlog = Backlog(recorder)
    for _ in range(5):
        record(recorder, range(50))
        await backlog.collect_waiting()
    sizes = []
    while backlog.first is not None:
        sizes.append(backlog.first.operations)
        backlog.remove_first()
    assert sizes == [100, 100, 50]


async def test_batches_go_to_the_spool_when_a_quarter_of_the_memory_is_used(recorder, spool):
    backlog = Backlog(recorder, spool=spool)
    record(recorder, range(250))
    await backlog.collect_waiting()
    await backlog.relieve()
    assert (backlog.operations, spool.operations) == (250, 0)
    record(recorder, range(1))
    await backlog.collect_waiting()
    await backlog.relieve()
    assert (backlog.operations, spool.operations) == (0, 251)
    assert recorder.buffer.limit == Buffer(1_000).limit


async def test_a_batch_that_is_being_stored_does_not_go_to_the_spool(recorder, spool):
    backlog = Backlog(recorder, spool=spool)
    record(recorder, range(500))
    await backlog.collect_waiting()
    async with backlog.writing:
        await backlog.relieve()
    assert (backlog.operations, spool.operations) == (500, 0)


async def test_the_spool_is_stored_before_newer_operations_with_the_ids_of_its_batches(recorder, store, spool):
    server = Server(store)
    flusher = Flusher(recorder, server, spool=spool)
    for start in (0, 300):
        record(recorder, range(start, start + 300))
        await flusher.backlog.collect_waiting()
        await flusher.backlog.move_to_spool()
    record(recorder, range(600, 700))
    await flusher.flush()
    assert await stored(store) == list(range(700))
    assert flusher.written == 700
    assert len({batch.source for batch in server.ids}) == 1
    assert [batch.number for batch in server.ids] == [1, 2, 3]
    await flusher.stop()


async def test_a_permanent_error_leaves_operations_in_memory(recorder, store, spool, monkeypatch):
    hurry(monkeypatch)
    server = Server(store)
    server.error = StorageError("the server refuses the user", permanent=True)
    flusher = Flusher(recorder, server, spool=spool)
    flusher.start()
    record(recorder, range(600))
    await until(lambda: flusher.failures > 3)
    assert (flusher.pending, spool.operations) == (600, 0)
    server.error = None
    await until(lambda: flusher.written == 600)
    await flusher.stop()


async def test_a_bot_that_stops_while_the_server_hangs_leaves_its_operations_in_the_spool(
    recorder, store, spool, tmp_path, monkeypatch
):
    hurry(monkeypatch)
    monkeypatch.setattr(flusher_module, "STOP_S", 0.05)
    server = Server(store)
    server.hangs.clear()
    flusher = Flusher(recorder, server, spool=spool)
    flusher.start()
    record(recorder, range(10))
    await until(lambda: flusher.pending)
    record(recorder, range(10, 20))
    await flusher.stop()
    server.hangs.set()
    assert not recorder.buffer.rows
    again = await Spool.open(tmp_path, "bot", 10_000_000)
    after = Flusher(Recorder(Buffer(100)), server, spool=again)
    await after.flush()
    await after.stop()
    assert await stored(store) == list(range(20))


async def test_a_spooled_batch_that_cannot_be_stored_does_not_block_the_others(recorder, store, spool, monkeypatch):
    hurry(monkeypatch)
    server = Server(store)
    flusher = Flusher(recorder, server, spool=spool)
    record(recorder, range(10))
    await flusher.backlog.collect_waiting()
    await flusher.backlog.move_to_spool()
    server.error = ZeroDivisionError("our fault")
    flusher.start()
    await until(lambda: not spool.batches)
    server.error = None
    record(recorder, range(10, 15))
    await until(lambda: flusher.written == 5)
    await flusher.stop()
    assert recorder.buffer.dropped == 10
    assert await stored(store) == list(range(10, 15))


async def test_a_spool_that_cannot_be_read_is_left_for_the_next_start(recorder, store, spool, caplog):
    flusher = Flusher(recorder, Server(store), spool=spool)
    record(recorder, range(10))
    await flusher.backlog.collect_waiting()
    await flusher.backlog.move_to_spool()
    await spool.close()
    record(recorder, range(10, 15))
    await flusher.flush()
    assert flusher.backlog.lost == 10
    assert await stored(store) == list(range(10, 15))
    assert "10 operations stay in the spool until the next start" in caplog.text


def test_a_server_is_tried_again_within_seconds_however_long_it_is_away(recorder):
    flusher = Flusher(recorder, Server(None))
    delays = []
    for failures in range(1, 9):
        flusher.failures = failures
        delays.append(flusher._delay_s())
    assert delays == [1, 2, 4, 5, 5, 5, 5, 5]
