from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from cogmeter_storage import StorageError, open_store


async def no_thread_left(before):
    for _ in range(200):
        if threading.active_count() <= before:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_closing_ends_both_threads_and_may_be_repeated(url):
    before = threading.active_count()
    store = await open_store(url)
    assert threading.active_count() == before + 2
    await store.close()
    assert threading.active_count() == before
    await store.close()


async def test_an_opening_that_fails_leaves_no_thread(path, url):
    before = threading.active_count()
    path.write_bytes(b"no database")
    with pytest.raises(StorageError):
        await open_store(url)
    assert await no_thread_left(before)


async def test_an_opening_that_is_cancelled_leaves_no_thread_and_no_lock(url):
    before = threading.active_count()
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
    before = threading.active_count()
    store = await open_store(url)
    task = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await no_thread_left(before)
    await (await open_store(url)).close()


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
