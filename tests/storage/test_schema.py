"""A database of each earlier version is upgraded."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from cogmeter_storage import StorageError
from cogmeter_storage.alerting import AlertChange, AlertState, Step
from cogmeter_storage.model import HOUR_US
from cogmeter_storage.schema import SQLITE_MIGRATIONS, SQLITE_VERSION


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
