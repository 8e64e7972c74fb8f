"""The health of each process of the fleet."""

from __future__ import annotations

import pytest
from fleet_store import FOUR, LONG_NAME, MANY, Member, fill_fleet

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import Status
from cogmeter.diagnostics.process_health import fleet_findings, fleet_health
from cogmeter.query.query import Query
from cogmeter.settings import Settings
from cogmeter_storage import open_store


@pytest.fixture
async def judged(postgres_url):
    """``await judged(members, **settings)``: the health of these processes."""
    stores = []

    async def judge(members, **settings):
        await fill_fleet(postgres_url, members)
        stores.append(await open_store(postgres_url, read_only=True))
        return await fleet_health(Query(stores[-1]), Limits(Settings(**settings)))

    yield judge
    for store in stores:
        await store.close()


async def test_the_silent_and_the_unhealthy_come_first(judged):
    health = await judged([*FOUR, Member("over", silent_s=300, ended=True)])
    assert [(one.process.name, one.check.status) for one in health.processes] == [
        ("shards 4-7", Status.UNHEALTHY),
        ("shards 8-11", Status.UNHEALTHY),
        ("shards 12-15", Status.DEGRADED),
        ("shards 0-3", Status.HEALTHY),
        ("over", Status.UNKNOWN),
    ]
    silent, failing, late, well, over = health.processes
    assert (silent.sign_of_life, silent.check.reason) == ("silent for 2 min 5 s", "no sign of life, and no orderly end")
    assert failing.check.reason.startswith("40 of 100 operations failed, more than")
    assert late.check.reason.startswith("p99 event-loop lag of 450 ms; 0 of 100 operations failed")
    assert (well.sign_of_life, over.sign_of_life) == ("alive", "ended 5 min ago")
    assert health.status is Status.UNHEALTHY
    assert health.text == (
        "3 of 4 processes alive; silent: shards 4-7 (2 min 5 s); not healthy: shards 8-11, shards 12-15;"
        " versions differ: 1.4 (2), 1.5 (1)"
    )


async def test_the_thresholds_in_effect_and_the_alerts_window_count(judged):
    health = await judged(FOUR[2:3], alert_threshold_error_rate=0.5)
    assert health.processes[0].check.status is Status.HEALTHY
    assert health.range.until_us - health.range.since_us == 300_000_000


async def test_numbers_in_names_are_ordered_by_value(judged):
    health = await judged([*MANY[:12], Member(LONG_NAME)])
    names = [one.process.name for one in health.processes]
    assert names == [*(one.name for one in MANY[:12]), LONG_NAME]
    assert health.text == "13 of 13 processes alive"


async def test_the_doctor_has_a_finding_only_for_several_processes(judged):
    health = await judged(FOUR[:2])
    (finding,) = fleet_findings(health)
    assert (finding.name, finding.well) == ("fleet", False)
    assert finding.text.startswith("1 of 2 processes alive; silent: shards 4-7 (2 min")


async def test_one_process_alone_is_no_fleet(judged):
    health = await judged(FOUR[:1])
    assert (health.text, fleet_findings(health)) == ("1 of 1 process alive", [])
