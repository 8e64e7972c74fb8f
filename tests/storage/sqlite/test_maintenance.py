"""Checkpoints: which data is in the database, and which is only in its write-ahead log."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading

import pytest

from cogmeter_storage import Retention, StorageError, open_store
from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.sqlite import maintenance


@pytest.fixture
async def filled(url, append, make_rows, noon):
    """A store with 3000 sealed operations that are only in the log."""
    store = await open_store(url)
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    await append(store, make_rows(3000, noon))
    await store.append([], now_us=noon + 2 * HOUR_US)
    yield store
    await store.close()


@pytest.fixture
def count_without_log(path, tmp_path):
    """Return the number of operations in the database without its log."""

    def count():
        copy = shutil.copy(path, tmp_path / "copy.db")
        with contextlib.closing(sqlite3.connect(copy)) as raw:
            return raw.execute("SELECT count(*) FROM operation").fetchone()[0]

    return count


async def test_folding_writes_the_log_into_the_database(filled, count_without_log, noon):
    assert count_without_log() == 0
    await filled.fold(now_us=noon + 2 * HOUR_US)
    assert count_without_log() == 3000


async def test_a_clean_up_writes_its_changes_into_the_database(filled, count_without_log, noon):
    assert (await filled.clean(Retention(), now_us=noon + 30 * DAY_US)).operations == 3000
    await filled.append([[(1, noon + 31 * DAY_US, 5, 0, None, None)]], now_us=noon + 31 * DAY_US)
    assert count_without_log() == 0
    await filled.clean(Retention(), now_us=noon + 31 * DAY_US)
    assert count_without_log() == 1


async def test_checkpoints_on_the_way_are_made_now_and_then(filled, count_without_log, monkeypatch):
    async with maintenance.Checkpointer(filled._writer) as checkpointer:
        monkeypatch.setattr(maintenance, "_CHECKPOINT_INTERVAL_S", 3600.0)
        await checkpointer.checkpoint_if_due()
        assert count_without_log() == 0
        monkeypatch.setattr(maintenance, "_CHECKPOINT_INTERVAL_S", 0.0)
        await checkpointer.checkpoint_if_due()
        assert count_without_log() == 3000


async def test_a_job_that_failed_makes_no_last_checkpoint_and_keeps_its_error(filled, count_without_log):
    with pytest.raises(StorageError, match="of the job"):
        async with maintenance.Checkpointer(filled._writer):
            raise StorageError("of the job", permanent=False)
    assert count_without_log() == 0


async def test_upkeep_waits_for_no_reader_and_leaves_no_thread(filled, path, append, make_rows, noon):
    before = set(threading.enumerate())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM operation").fetchone() == (3000,)
        await append(filled, make_rows(10, noon + 3 * HOUR_US))
        await filled.fold(now_us=noon + 30 * DAY_US)
        assert (await filled.clean(Retention(), now_us=noon + 30 * DAY_US)).operations == 3000
        assert reader.execute("SELECT count(*) FROM operation").fetchone() == (3000,)
    assert set(threading.enumerate()) <= before


async def test_without_any_upkeep_the_log_does_not_grow_for_ever(filled, path, noon):
    at_us, text = noon + 2 * HOUR_US, "x" * 500
    for _ in range(50):
        rows = [(1, at_us, 5, 1, text, None)] * 2000
        await filled.append([rows], now_us=at_us)
    assert path.stat().st_size > 30_000_000
    assert path.with_name(f"{path.name}-wal").stat().st_size < 20_000_000
