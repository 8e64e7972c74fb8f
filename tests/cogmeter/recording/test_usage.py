"""Users and guilds on their way to the store: hashed, bounded, retried, and never stored as ids."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cogmeter.recording import usage
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.usage import MOST, UsageRecorder
from cogmeter.recording.usage_batches import batch_of, hashed
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.sketch import Sketches
from cogmeter_storage.usage import CONTEXT, JOINED, LOCALE, DistinctCounts, PeopleKind

KEY = bytes(range(16))
USER, GUILD = 175928847299117063, 197038439483310086
EVER = (0, 2**62)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "performance.db"


@pytest.fixture
async def store(path):
    store = await open_store(f"sqlite:///{path}")
    yield store
    await store.close()


@pytest.fixture
def recorder():
    recorder = Recorder()
    recorder.usage.begin(KEY)
    return recorder


@pytest.fixture
def flusher(recorder, store):
    return Flusher(recorder, store)


def test_a_batch_has_the_hashes_by_series_and_the_counts():
    recorder = UsageRecorder()
    recorder.begin(KEY)
    recorder.seen(2, str(USER), str(GUILD), "guild", "de")
    recorder.seen(1, USER, None, "dm")
    recorder.seen(2, USER + 1, GUILD, "guild", "de")
    recorder.seen(0, None, None)
    recorder.count(JOINED)
    batch = batch_of(recorder.take(), [10, 11, 12], KEY)
    users = hashed(np.array([USER, USER, USER + 1], np.uint64), KEY, PeopleKind.USER).tolist()
    guild = hashed(np.array([GUILD], np.uint64), KEY, PeopleKind.GUILD).tolist()
    assert batch.keys.tolist() == [24, 22, 24, 25, 25]  # users of the series 12, 11, 12, guilds of 12
    assert batch.hashes.tolist() == [*users, *guild * 2]
    assert batch.counts == {(CONTEXT, "guild"): 2, (CONTEXT, "dm"): 1, (LOCALE, "de"): 2, (JOINED, ""): 1}
    assert recorder.take() is None


def test_hashes_depend_on_the_key_and_on_the_kind_and_are_distributed_evenly():
    ids = np.arange(USER, USER + 200_000 * 4096, 4096, dtype=np.uint64)  # ids of Discord differ in their upper bits
    users = hashed(ids, KEY, PeopleKind.USER)
    assert np.unique(users).size == ids.size
    for other in (hashed(ids, KEY[::-1], PeopleKind.USER), hashed(ids, KEY, PeopleKind.GUILD)):
        assert not np.isin(users, other).any()
    estimate = Sketches.of(np.zeros(ids.size, np.int64), users).counts()[0]
    assert estimate == pytest.approx(ids.size, rel=0.03)


def test_nothing_is_recorded_before_it_begins_and_after_it_is_disabled():
    recorder = UsageRecorder()
    recorder.seen(0, USER, GUILD)
    recorder.count(JOINED)
    assert not recorder
    recorder.begin(KEY)
    recorder.seen(0, USER, GUILD)
    recorder.disable()
    recorder.seen(0, USER, GUILD)
    assert (len(recorder), recorder.dropped) == (0, 0)


def test_operations_beyond_the_bound_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(usage, "MOST_COUNTS", 3)
    recorder = UsageRecorder()
    recorder.begin(KEY)
    for number in range(MOST + 7):
        recorder.seen(0, number, None)
        recorder.count(JOINED)
    assert (len(recorder), recorder.dropped, recorder.is_filling) == (MOST + 3, 7, True)
    recorder.forked()
    assert (len(recorder), recorder.dropped) == (0, 0)


def test_threads_lose_nothing_and_tear_nothing_while_batches_are_taken():
    recorder = UsageRecorder()
    recorder.begin(KEY)

    def record(first):
        for number in range(first, first + 2_000):
            recorder.seen(number % 3, number, number, "guild")

    threads = [threading.Thread(target=record, args=(1 + number * 2_000,)) for number in range(4)]
    for thread in threads:
        thread.start()
    found = set()
    while any(thread.is_alive() for thread in threads) or recorder:
        taken = recorder.take()
        if taken is not None:
            found |= set(zip(*(taken.rows[at::5] for at in range(4)), strict=True))
    assert found == {(number % 3, number, number, "guild") for number in range(1, 8_001)}


async def test_a_flush_stores_users_guilds_and_counts_under_the_names_of_the_series(recorder, flusher, store):
    for number in range(3):
        series = recorder.series("discord.commands", f"c{number % 2}")
        recorder.usage.seen(series, USER + number, GUILD, "guild", "de")
    recorder.usage.count(JOINED)
    await flusher.flush()
    ids = await store.series_ids([("discord.commands", "c0"), ("discord.commands", "c1")])
    found = await store.usage.distinct(*EVER, groups=dict(zip(ids, (0, 1), strict=True)))
    assert found == [DistinctCounts(2, 1), DistinctCounts(1, 1)]
    assert await store.usage.counts(*EVER, [CONTEXT, LOCALE, JOINED]) == {
        (CONTEXT, "guild"): 3,
        (LOCALE, "de"): 3,
        (JOINED, ""): 1,
    }
    assert len(await store.usage.last_use(ids)) == 2
    assert not recorder.usage


async def test_no_id_is_in_the_files_of_the_database(recorder, flusher, store, path):
    users, guilds = range(USER, USER + 700), range(GUILD, GUILD + 30)
    for number, user in enumerate(users):
        recorder.usage.seen(recorder.series("discord.commands", f"c{number % 3}"), user, guilds[number % 30])
    await flusher.flush()
    await store.fold(now_us=2**60)
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"usage_slot" in content
    for number in (*users, *guilds):
        for form in (
            str(number).encode(),
            f"{number:x}".encode(),
            *(number.to_bytes(8, one) for one in ("big", "little")),
        ):
            assert form not in content


async def test_a_store_that_fails_gets_the_same_usage_later(recorder, flusher, store, monkeypatch):
    recorder.usage.seen(recorder.series("a", "b"), USER, GUILD)
    with monkeypatch.context() as failing:

        async def fail(_):
            raise StorageError("the disk is full", permanent=False)

        failing.setattr(store.usage, "add", fail)
        await flusher.flush()
        recorder.usage.seen(recorder.series("a", "c"), USER + 1, GUILD)
        await flusher.flush()
    await flusher.flush()
    (first, second) = await store.series_ids([("a", "b"), ("a", "c")])
    assert await store.usage.distinct(*EVER, groups={first: 0, second: 0}) == [DistinctCounts(2, 1)]


async def test_a_flush_does_not_wait_for_what_is_recorded_during_it(recorder, flusher, store, monkeypatch):
    series, add, batches = recorder.series("a", "b"), store.usage.add, []

    async def busy(batch):
        batches.append(batch)
        recorder.usage.seen(series, USER + len(batches), None)
        if len(batches) == 1:
            raise StorageError("the disk is full", permanent=False)
        await add(batch)

    monkeypatch.setattr(store.usage, "add", busy)
    recorder.usage.seen(series, USER, None)
    for stored in (1, 3, 4):  # the second flush stores the batch that failed, too
        await flusher.flush()
        assert (len(batches), len(recorder.usage)) == (stored, 1)


async def test_people_who_were_not_counted_are_reported_once(recorder, flusher, caplog):
    series = recorder.series("a", "b")
    for number in range(MOST + 7):
        recorder.usage.seen(series, USER + number, None)
    for _ in range(2):
        await flusher.flush()
        recorder.usage.seen(series, USER, None)
    assert caplog.messages == ["The users and guilds of 7 operations were not counted: too many waited"]


@pytest.mark.parametrize("strange", ["user 3", "1 2", "", " ", "3x", "-1", str(2**64), object(), 1.5e30])
def test_a_strange_id_costs_no_other_its_count(recorder, strange):
    for user in (USER, strange, str(GUILD), None):
        recorder.usage.seen(0, user, None)
    batch = batch_of(recorder.usage.take(), [1], KEY)
    wanted = hashed(np.array([USER, GUILD], np.uint64), KEY, PeopleKind.USER)
    assert batch.hashes.tolist() == wanted.tolist()


async def test_usage_that_cannot_be_converted_is_dropped_and_logged(recorder, flusher, caplog):
    recorder.usage.seen(recorder.series("a", "b"), USER, None, 5)  # type: ignore[arg-type]
    await flusher.flush()
    assert "Dropped the usage of some operations" in caplog.text
    assert flusher.lost_users == 1
    recorder.usage.seen(recorder.series("a", "b"), USER, None)
    await flusher.flush()
    assert not recorder.usage


async def test_the_flusher_stores_usage_every_few_seconds_and_at_its_end(recorder, flusher, store):
    series = recorder.series("a", "b")
    recorder.usage.seen(series, USER, None)
    await flusher._attempt()
    assert len(recorder.usage) == 1
    flusher._usage_s -= 11
    await flusher._attempt()
    assert not recorder.usage
    recorder.usage.seen(series, USER + 1, None)
    flusher.start()
    await flusher.stop()
    (number,) = await store.series_ids([("a", "b")])
    assert await store.usage.distinct(*EVER, groups={number: 0}) == [DistinctCounts(2, 0)]


async def test_usage_that_the_last_flush_could_not_store_waits_for_the_next_start(
    recorder, flusher, store, monkeypatch
):
    async def fail(_):
        raise StorageError("the disk is full", permanent=False)

    monkeypatch.setattr(store.usage, "add", fail)
    recorder.usage.seen(recorder.series("a", "b"), USER, None)
    flusher.start()
    await flusher.stop()
    assert len(recorder.usage) == 1
