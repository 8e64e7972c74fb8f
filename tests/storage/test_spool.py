"""The spool: a queue in a file, in order, and each batch once, whenever the process or the server dies."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogmeter_storage.model import BatchId
from cogmeter_storage.spool import Spool, SpoolFullError, spool_name

MB = 1_000_000
NAMES = [("alpha", "one"), ("beta", "two")]


def row(number, series):
    return (series, 1_000_000 * number, number, 0, None if number % 3 else "late", None if number % 5 else '{"a": 1}')


async def add(spool, numbers, batch, *, names=NAMES):
    """Add operations with these numbers as their durations, in slices of two."""
    ids = await spool.series_ids(names)
    rows = [row(number, ids[number % len(ids)]) for number in numbers]
    slices = (rows[i : i + 2] for i in range(0, len(rows), 2))
    return await spool.append(slices, now_us=1_000_000 * numbers[-1], batch=BatchId("a start", batch))


def numbers_of(batch):
    return [values[2] for rows in batch.slices for values in rows]


@pytest.fixture
async def spool(tmp_path):
    spool = await Spool.open(tmp_path, "shards 0-3", MB)
    yield spool
    await spool.close()


async def test_batches_come_out_as_they_went_in_and_in_order(spool):
    assert await spool.first() is None
    assert await add(spool, [1, 2, 3], 1) == 3
    await add(spool, [4, 5], 2)
    assert (spool.batches, spool.operations) == (2, 5)
    batch = await spool.first()
    assert (batch.id, batch.now_us, batch.names) == (BatchId("a start", 1), 3_000_000, NAMES)
    assert [values for rows in batch.slices for values in rows] == [row(n, n % 2) for n in (1, 2, 3)]
    await spool.remove(batch)
    assert numbers_of(await spool.first()) == [4, 5]
    assert (spool.batches, spool.operations) == (1, 2)


async def test_names_of_series_are_kept_with_it(tmp_path):
    first = await Spool.open(tmp_path, "bot", MB)
    await add(first, [1], 1)
    await first.close()
    again = await Spool.open(tmp_path, "bot", MB)
    await add(again, [2, 3], 2, names=[("new", "one"), *NAMES])
    batch = await again.first()
    assert batch.names[batch.slices[0][0][0]] == NAMES[1]
    await again.remove(batch)
    batch = await again.first()
    assert [batch.names[values[0]] for rows in batch.slices for values in rows] == [NAMES[1], ("new", "one")]
    await again.close()


async def test_a_batch_that_does_not_fit_is_refused_as_a_whole_and_fits_after_others_were_removed(tmp_path):
    spool = await Spool.open(tmp_path, "bot", 100_000)
    stored = 0
    with pytest.raises(SpoolFullError, match="PERFORMANCE_SPOOL_MB"):
        for number in range(1_000):
            await add(spool, list(range(1, 500)), number)
            stored += 1
    assert stored > 1
    assert spool.full
    assert (spool.batches, spool.operations) == (stored, stored * 499)
    assert spool.path.stat().st_size <= 100_000
    await spool.remove(await spool.first())
    assert not spool.full
    await add(spool, list(range(1, 300)), 1_001)
    found = []
    while (batch := await spool.first()) is not None:
        found.append(len(numbers_of(batch)))
        await spool.remove(batch)
    assert found == [*[499] * (stored - 1), 299]
    assert spool.size_bytes < 50_000
    await spool.close()


async def test_an_empty_file_is_removed_and_one_with_operations_stays(tmp_path):
    spool = await Spool.open(tmp_path, "bot", MB)
    assert spool.path.exists()
    await spool.close()
    assert not list(tmp_path.iterdir())
    spool = await Spool.open(tmp_path, "bot", MB)
    await add(spool, [1], 1)
    await spool.close()
    assert spool.path.exists()


async def test_a_second_process_of_the_same_name_has_a_file_of_its_own(tmp_path):
    first, second = await Spool.open(tmp_path, "bot", MB), await Spool.open(tmp_path, "bot", MB)
    assert [first.path.name, second.path.name] == ["spool-bot.db", "spool-bot-2.db"]
    await first.close()
    await second.close()


async def test_a_damaged_file_is_set_aside(tmp_path, caplog):
    path = tmp_path / spool_name("bot")
    path.write_bytes(b"no database at all" * 100)
    spool = await Spool.open(tmp_path, "bot", MB)
    await add(spool, [1], 1)
    assert "damaged" in caplog.text
    assert len(list(tmp_path.glob("spool-bot.db.corrupt-*"))) == 1
    await spool.close()


def test_the_name_of_a_file_has_no_id_of_the_process_and_only_plain_characters():
    assert spool_name(f"host-{os.getpid()}") == "spool-host.db"
    assert spool_name("shards 0-3") == "spool-shards-0-3.db"
    assert spool_name("../../etc/cron") == "spool-etc-cron.db"
    assert spool_name("   ") == "spool-bot.db"


async def test_texts_that_sqlite_cannot_store_are_replaced(spool):
    await spool.series_ids([("a", "\ud800")])
    await spool.append([[(1, 1, 1, 1, "bad \ud800", None)]], now_us=1, batch=BatchId("a", 1))
    assert (await spool.first()).slices == [[(0, 1, 1, 1, "bad ?", None)]]


class ModelServer:
    """A server that records ids with what it stores, and may be away."""

    def __init__(self):
        self.away = False
        self.stored, self.last = [], 0

    def store(self, batch):
        if batch.id.number > self.last:
            self.stored += numbers_of(batch)
            self.last = batch.id.number


STEPS = st.one_of(
    st.tuples(st.just("record"), st.integers(1, 9)),
    st.tuples(st.sampled_from(["away", "back", "replay one", "replay", "killed", "killed after the commit"])),
    st.tuples(st.just("killed while adding"), st.integers(1, 9)),
)


async def follow(folder, steps):
    """Do the steps; return what should have been stored, what was, and the batches that are left."""
    server, recorded, batches = ModelServer(), [], 0
    spool = await Spool.open(folder, "bot", 10 * MB)
    for step, *values in [*steps, ("back",), ("replay",)]:
        if step in ("away", "back"):
            server.away = step == "away"
        elif step == "record":
            numbers = list(range(len(recorded) + 1, len(recorded) + 1 + values[0]))
            batches += 1
            recorded += numbers
            await add(spool, numbers, batches)
        elif step == "killed while adding":
            await kill_while_adding(spool, values[0])
            spool = await Spool.open(folder, "bot", 10 * MB)
        elif step == "killed":
            await spool._connection.end()
            spool = await Spool.open(folder, "bot", 10 * MB)
        else:
            while not server.away and (batch := await spool.first()) is not None:
                server.store(batch)
                if step == "killed after the commit":
                    await spool._connection.end()
                    spool = await Spool.open(folder, "bot", 10 * MB)
                    break
                await spool.remove(batch)
                if step == "replay one":
                    break
    left = spool.batches, spool.operations
    await spool.close()
    return recorded, server.stored, left


class KilledError(Exception):
    """Ends an append in the middle."""


async def kill_while_adding(spool, count):
    """Leave the files as they are while a part of a batch is written."""
    kept = {}

    def slices():
        yield [row(-1, 1)] * count
        yield [row(-1, 1)] * count
        kept.update((path, path.read_bytes()) for path in spool.path.parent.iterdir())
        raise KilledError

    await spool.series_ids(NAMES)
    with pytest.raises(KilledError):
        await spool.append(slices(), now_us=1, batch=BatchId("a start", 10**6))
    await spool._connection.end()
    for path in spool.path.parent.iterdir():
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_each_operation_is_stored_once_and_in_order(steps):
    with tempfile.TemporaryDirectory() as folder:
        recorded, stored, left = asyncio.run(follow(Path(folder), steps))
    assert stored == recorded
    assert left == (0, 0)
