"""The monitor's own cost includes the threads of the store."""

from __future__ import annotations

import threading

from cogmeter.monitor.overhead import OWN_THREADS
from cogmeter_storage import open_store


async def test_the_threads_of_the_store_count_as_overhead(tmp_path):
    before = set(threading.enumerate())
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    threads = set(threading.enumerate()) - before
    await store.close()
    assert len(threads) == 2
    assert all(thread.name.startswith(OWN_THREADS) for thread in threads)
