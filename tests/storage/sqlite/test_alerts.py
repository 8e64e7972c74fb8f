"""Properties of the alert tables that only the file shows."""

from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from cogmeter_storage import Cleaned, Retention, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US


async def test_the_view_of_alerts_shows_people_times_and_how_long(path, url):
    noon = 1_750_075_200_000_000
    measured = ("High error rate", 0.05, 0.2, 0.3)
    alert = Alert(
        "uid",
        "error_rate",
        "alpha",
        "one",
        AlertState.RESOLVED,
        "critical",
        *measured,
        started_us=noon,
        seen_us=noon + 1_500_000,
        changed_us=noon + 2_500_000,
        fired_us=noon + 1_000_000,
        resolved_us=noon + 2_500_000,
        acknowledged_by="Ann",
        flapping=True,
    )
    store = await open_store(url)
    await store.alerting.save([Step(alert), Step(dataclasses.replace(alert, uid="other", resolved_us=None))])
    await store.close()
    raw = sqlite3.connect(path)
    shown, other = raw.execute("SELECT * FROM alerts ORDER BY id").fetchall()
    raw.close()
    named = ("error_rate", "alpha", "one", "resolved", "critical", *measured)
    times = ("2025-06-16T12:00:00.000Z", "2025-06-16T12:00:01.000Z", None, "Ann", "2025-06-16T12:00:02.500Z")
    assert shown == (1, *named, *times, 2.5, 0, 1, "", "uid")
    assert other[-6:-4] == (None, 1.5)


@pytest.mark.parametrize("way", ["clean", "drop"])
async def test_nothing_of_a_forgotten_alert_is_left_in_the_file(path, url, way):
    store = await open_store(url)
    resolved, fired_us = AlertState.RESOLVED, 0 if way == "clean" else None
    alert = Alert("uid", "slow", "a", "", resolved, "critical", "m", 1, 2, 2, 0, 0, 0, fired_us)
    change = AlertChange("uid", "resolved", resolved, "critical", "m", 2, 1, 0)
    await store.alerting.save([Step(alert, change, ("log", "channel"))])
    for delivery in (1, 2):
        await store.alerting.end(delivery, outcome="sent", now_us=2000 * DAY_US, receipt="message")
    if way == "drop":
        await store.alerting.delete_unfired(["uid"])
    else:
        assert await store.clean(Retention(), now_us=2000 * DAY_US) == Cleaned(alerts=1)
    await store.close()
    raw = sqlite3.connect(path)
    tables = ("alert", "alert_change", "delivery", "attempt", "receipt")
    left = {table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    raw.close()
    assert left == dict.fromkeys(tables, 0)
