"""Opening and closing a SQLite connection: no thread or lock is left, also when cancelled."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading

import pytest

from cogmeter_storage import StorageError, open_store
from cogmeter_storage.sqlite.connection import Connection


def threads():
    """The running threads. One of an earlier test may end at any time, so that their number proves nothing."""
    return set(threading.enumerate())


async def no_thread_left(before):
    for _ in range(6_000):
        if threads() <= before:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_closing_ends_both_threads_and_may_be_repeated(url):
    before = threads()
    store = await open_store(url)
    assert len(threads() - before) == 2
    await store.close()
    assert threads() <= before
    await store.close()


async def test_an_opening_that_fails_leaves_no_thread(path, url):
    before = threads()
    path.write_bytes(b"no database")
    with pytest.raises(StorageError):
        await open_store(url)
    assert await no_thread_left(before)


async def test_an_opening_that_is_cancelled_leaves_no_thread_and_no_lock(url):
    before = threads()
    for turns in range(12):
        task = asyncio.create_task(open_store(url))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(result, asyncio.CancelledError):
            await result.close()
        assert await no_thread_left(before)
    await (await open_store(url)).close()


async def test_a_closing_that_is_cancelled_still_ends_the_threads(url):
    before = threads()
    store = await open_store(url)
    task = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await no_thread_left(before)
    await (await open_store(url)).close()


async def cancel_twice(task, blocked):
    while not blocked.is_set():
        await asyncio.sleep(0.001)
    for _ in range(2):
        for _ in range(3):  # the task reaches its next wait
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@pytest.mark.parametrize("step", ["open", "run", "end"])
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_a_thread_that_outlives_its_event_loop_still_closes_the_file_and_ends_silently(path, step, fails, monkeypatch):
    blocked, released, closed, failures = threading.Event(), threading.Event(), threading.Event(), []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def block(*_):
        blocked.set()
        released.wait()
        if fails:
            raise sqlite3.OperationalError("disk I/O error")

    def opener(stack):
        raw = sqlite3.connect(path, check_same_thread=False)
        stack.callback(closed.set)
        stack.callback(raw.close)
        if step == "open":
            block()
        return raw

    async def cancelled_twice():
        if step == "open":
            await cancel_twice(asyncio.create_task(connection.open()), blocked)
            return
        await connection.open()
        running = asyncio.create_task(connection.run(block))
        if step == "run":
            await cancel_twice(running, blocked)
        await cancel_twice(asyncio.create_task(connection.end()), blocked)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    connection = Connection(path, opener)
    before = set(threading.enumerate())
    asyncio.run(cancelled_twice())
    (thread,) = set(threading.enumerate()) - before
    released.set()  # only now, when the event loop is closed
    thread.join()
    assert closed.is_set()
    assert not failures
    with pytest.raises(StorageError, match="closed"):  # and does not wait for a thread that has ended
        asyncio.run(connection.run(block))
    asyncio.run(connection.end())


async def test_closing_waits_for_an_append_that_is_on_its_way(url):
    store = await open_store(url)
    await store.series_ids([("a", "b")])
    rows = [(1, i, 5, 0, None, None) for i in range(5000)]
    append = asyncio.create_task(store.append([rows[i : i + 100] for i in range(0, 5000, 100)], now_us=5000))
    await asyncio.sleep(0.001)
    await store.close()
    assert await append == 5000
    store = await open_store(url)
    assert (await store.status()).operations == 5000
    await store.close()


def test_a_host_that_never_closes_the_store_still_ends(url):
    script = """
import asyncio, sys
from cogmeter_storage import open_store
kept = []
async def main():
    kept.append(await open_store(sys.argv[1]))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script, url], timeout=30, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
