"""A database of each earlier version is upgraded."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cogmeter_storage import Outcome, StorageError
from cogmeter_storage.alerting import AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.schema import SQLITE_MIGRATIONS, SQLITE_VERSION
from cogmeter_storage.usage import DistinctCounts, UsageBatch


def dump(path):
    """Return every table, index, view and row as SQL."""
    raw = sqlite3.connect(path)
    lines = set(raw.iterdump())
    raw.close()
    return lines


def add_alert_event(path, *event):
    """A row as versions 1 and 2 wrote it."""
    raw = sqlite3.connect(path)
    with raw:
        raw.execute(
            "INSERT INTO alert_event (rule, service, severity, state, message, threshold, current, at_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            event,
        )
    raw.close()


async def nothing(*_):
    """What an earlier version did with tables of later ones."""


def without_views(lines):
    """Return the lines of a dump without views: a view stores nothing, and a later version may replace it."""
    return {line for line in lines if not line.startswith("CREATE VIEW")}


@pytest.mark.parametrize("version", range(1, SQLITE_VERSION))
async def test_a_database_of_an_earlier_version_is_upgraded_and_nothing_is_lost(
    tmp_path, backend, append, make_rows, noon, monkeypatch, version
):
    with monkeypatch.context() as then:
        then.setattr("cogmeter_storage.sqlite.database_file.SQLITE_MIGRATIONS", SQLITE_MIGRATIONS[:version])
        then.setattr("cogmeter_storage.sqlite.database_file.SQLITE_VERSION", version)
        then.setattr(
            "cogmeter_storage.sqlite.database_file.has_future_rows", lambda *_: False
        )  # looks into tables of later versions
        if version < 7:
            then.setattr("cogmeter_storage.sql.usage.fold_all", nothing)
        if version < 8:
            then.setattr("cogmeter_storage.sql.costs.fold_all", nothing)
        async with backend.store() as store:
            await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
            await append(store, make_rows(3000, noon))
            await store.fold(now_us=noon + HOUR_US)
    path = tmp_path / "performance.db"
    if version >= 3:
        before = without_views(dump(path))
        async with backend.store() as store:
            assert before < dump(path)
            assert (await store.status()).schema_version == SQLITE_VERSION
            assert (await store.totals(noon, noon + HOUR_US, groups={1: 0, 2: 0, 3: 0})).counts.tolist() == [[3000]]
        return
    add_alert_event(path, "error_rate", "a", "critical", "firing", "High error rate", 0.05, 0.2, noon)
    add_alert_event(path, "throughput", "b", "warning", "firing", "Low throughput", 1, 0.5, noon + 1)
    before = {line for line in without_views(dump(path)) if "alert_event" not in line}
    with pytest.raises(StorageError, match="earlier version"):
        await backend.open(read_only=True)
    async with backend.store() as store:
        assert before < dump(path)
        assert (await store.status()).schema_version == SQLITE_VERSION
        assert (await store.totals(noon, noon + HOUR_US, groups={1: 0, 2: 0, 3: 0})).counts.tolist() == [[3000]]
        assert await append(store, make_rows(10, noon + HOUR_US)) == 10
        await store.add_samples(noon, {"gateway.latency_ms": 41.5})
        low, high = await store.alerting.alerts(list(AlertState))
        assert (low.id, low.rule, high.id, high.rule) == (2, "throughput", 1, "error_rate")
        assert (high.state, high.fired_us, high.resolved_us) == (AlertState.RESOLVED, noon, noon)
        assert (high.message, high.severity, high.threshold, high.worst) == ("High error rate", "critical", 0.05, 0.2)
        assert len({low.uid, high.uid}) == 2
        fired = AlertChange(
            high.uid, "fired", AlertState.FIRING, "critical", "High error rate", 0.2, 0.05, noon, id=high.id
        )
        assert await store.alerting.changes(high.uid) == [fired]
        # New ids go on behind the old ones.
        (new,) = await store.alerting.save([Step(replace(high, uid="new", id=0))])
        assert new.id == 3


# Written by databases/write_version_5.py with the last release of schema version 5.
VERSION_5 = Path(__file__).parent / "databases" / "version_5.db.gz"
FAILURES = [
    # service, operation, text, outcome, failures, id of the newest
    ("graph", "load", "KeyError: node # of page #", Outcome.ERROR, 60, 896),
    ("discord.commands", "ask", "KeyError: node # of page #", Outcome.ERROR, 60, 891),
    ("graph", "search", "KeyError: node # of page #", Outcome.ERROR, 60, 886),
    ("graph", "load", "HTTPException: # after # ms (request #)", Outcome.UPSTREAM, 35, 890),
    ("discord.commands", "ask", "HTTPException: # after # ms (request #)", Outcome.UPSTREAM, 34, 897),
    ("graph", "search", "HTTPException: # after # ms (request #)", Outcome.UPSTREAM, 34, 883),
]


@pytest.fixture
def version_5(tmp_path):
    """The path of a database of the release before error groups, with 283 failures of 900 operations."""
    path = tmp_path / "performance.db"
    path.write_bytes(gzip.decompress(VERSION_5.read_bytes()))
    return path


def rows_of(path, *queries):
    with contextlib.closing(sqlite3.connect(path)) as raw:
        return [raw.execute(query).fetchall() for query in queries]


async def test_failures_of_the_release_before_error_groups_are_answered_as_by_that_release(version_5, backend):
    async with backend.store() as store:
        groups = await store.failure_groups(None, 0, 2**60)
        found = [(one.service, one.operation, one.kind, one.outcome, one.count, one.example.id) for one in groups]
        assert found == FAILURES
        newest = await store.recent([1, 2, 3], 0, 2**60, limit=2, failed=True)
        assert [(one.id, one.error) for one in newest] == [
            (897, "HTTPException: 503 after 896 ms (request 0x380)"),
            (896, "KeyError: node 895 of page 1"),
        ]
        totals = await store.totals(0, 2**60, groups={1: 0, 2: 1, 3: 2})
        assert totals.outcomes.tolist() == [[[187, 60, 34, 19, 0], [187, 60, 35, 18, 0], [187, 60, 34, 19, 0]]]
        assert totals.sum_us.tolist() == [[5278350, 5289450, 5300550]]
        assert totals.max_us.tolist() == [[34189, 34226, 34263]]
        assert not (await store.verify())


async def test_an_upgrade_to_error_groups_changes_no_row_and_no_answer_of_a_view(version_5, backend, make_errors, noon):
    before = dump(version_5)
    views = ("SELECT * FROM operations ORDER BY id", "SELECT * FROM alerts ORDER BY id")
    shown = rows_of(version_5, *views)
    with pytest.raises(StorageError, match="earlier version"):
        await backend.open(read_only=True)
    async with backend.store() as store:
        assert await store.errors.groups(0, 2**60) == []
        (change,) = await store.errors.add([make_errors("a", noon)])
        assert (change.group.id, change.reopened) == (1, False)
        assert [alert.uid for alert in await store.alerting.alerts()] == ["4bb1"]
        assert len(await store.alerting.due(noon + 9 * DAY_US)) == 1
    assert before <= dump(version_5)
    assert rows_of(version_5, *views) == shown
    outcomes = Counter(row[6] for row in shown[0])
    assert outcomes == {"ok": 561, "error": 180, "upstream": 103, "user": 56}
    ((row,),) = rows_of(version_5, "SELECT type, message, file, line, total, last_seen FROM errors")
    assert row == ("RuntimeError", "no answer from a", "bot/answers.py", 42, 1, "2025-06-16T12:00:00.000Z")


# Written by databases/write_version_6.py with the last release of schema version 6.
VERSION_6 = Path(__file__).parent / "databases" / "version_6.db.gz"


async def test_an_upgrade_to_usage_changes_no_row_and_no_answer_of_a_view(tmp_path, backend, noon):
    path = tmp_path / "performance.db"
    path.write_bytes(gzip.decompress(VERSION_6.read_bytes()))
    before = dump(path)
    views = ("SELECT * FROM operations ORDER BY id", "SELECT * FROM alerts ORDER BY id", "SELECT * FROM errors")
    shown = rows_of(path, *views)
    with pytest.raises(StorageError, match="earlier version"):
        await backend.open(read_only=True)
    async with backend.store() as store:
        assert (await store.status()).schema_version == SQLITE_VERSION
        assert await store.usage.distinct(0, 2**60, groups={3: 0}) == [DistinctCounts(0, 0)]
        assert await store.usage.last_use([1, 2, 3]) == {}
        (group,) = await store.errors.groups(0, 2**60)
        assert (group.count, group.users, group.guilds, len(group.days)) == (63, 4, 1, 3)
        assert not (await store.verify())
        await store.usage.add(UsageBatch(noon, np.array([6]), np.array([5 << 40], np.uint64)))
        assert await store.usage.distinct(0, 2**60, groups={3: 0}) == [DistinctCounts(1, 0)]
    assert before <= dump(path)
    assert rows_of(path, *views) == shown
