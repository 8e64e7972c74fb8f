"""PostgreSQL goes away, and comes back: everything is there once."""

import asyncio
import contextlib
import random
import time
from collections import Counter

import pytest
from cutting_proxy import CuttingProxy
from postgres_server import PROGRAMS, server

from cogmeter.recording import flusher as flusher_module
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.model import BatchId
from cogmeter_storage.process import Process
from cogmeter_storage.spool import Spool

MB = 1_000_000
ALL = (-(2**60), 2**60)


@pytest.fixture(scope="module")
def own_server():
    """A server that these tests may stop."""
    if not PROGRAMS:
        yield None
        return
    with server() as running:
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


async def open_at(place, name="bot"):
    return await open_store(place.url("postgres"), process=Process(name))


async def numbers(store):
    """The numbers in the names of the stored operations, in order."""
    names = {one.id: one.operation for one in await store.series()}
    return [int(names[one.series]) async for chunk in store.stream(None, *ALL) for one in chunk]


async def counted(store):
    """The number of operations in the slots."""
    groups = {one.id: 0 for one in await store.series()}
    return sum((await store.totals(0, 2**52, groups=groups)).groups[0].counts) if groups else 0


def rows(ids, start, count):
    return [(ids[0], 1_750_075_200_000_000 + number * 1000, number, 0, None, None) for number in range(start, start + count)]


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
