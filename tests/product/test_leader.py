"""Several processes of one bot on one PostgreSQL: one of them sends the alerts, whichever dies or sleeps."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator

import http_receiver
import pytest
from fleet_processes import PATIENCE_S, Fleet
from postgres_server import PROGRAMS, Server, server

from cogmeter.alerts.leadership import RENEW_S, RETRY_S, SAFETY_S, SHORTEST_S
from cogmeter.monitor.jobs import FOLLOW_INTERVAL_S
from cogmeter_storage.lease import LEASE_S

HANDOVER_S, SHARED_S = 15.0, 5.0  # what docs/fleet.md says, for a machine that is not busy
KILLS = int(os.environ.get("COGMETER_LEADER_KILLS", "4"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    if not PROGRAMS:
        yield None
        return
    with server() as running:
        yield running


@pytest.fixture
async def fleet(database, needed, clean_environment, tmp_path) -> AsyncIterator[Fleet]:
    needed(PROGRAMS, "PostgreSQL")
    database.clear("postgres")
    async with http_receiver.serving() as receiver:
        errors = tmp_path / "errors"
        running = Fleet(database.url("postgres"), receiver, clean_environment(), errors)
        try:
            yield running
        finally:
            running.kill_all()
        assert "Traceback" not in errors.read_text()


def test_the_intervals_keep_what_the_documentation_promises():
    assert LEASE_S + SHORTEST_S + RETRY_S < HANDOVER_S
    assert FOLLOW_INTERVAL_S + 1 < SHARED_S
    assert 2 * RENEW_S + SAFETY_S < LEASE_S  # one renewal may fail


@pytest.mark.timeout(900)
async def test_kill_9_of_the_leader_again_and_again_and_each_incident_is_sent_once(fleet):
    chance = random.Random(19)
    for _ in range(3):
        await fleet.begin()
    took_s = []
    for number in range(KILLS):
        leader = await fleet.leader()
        assert leader is not None
        await fleet.fail(f"incident-{number}")
        await asyncio.sleep(chance.uniform(0, 2.5))  # before, while and after it is sent
        fleet.members.remove(leader)
        leader.kill()
        took_s.append(await fleet.next_leader(leader))
        await fleet.hears(f"incident-{number}")
        await fleet.begin(*fleet.incidents)
    print("hand-over in s:", [round(one, 1) for one in took_s])
    await fleet.end()
    assert {service: len(set(fleet.fired(service))) for service in fleet.incidents} == dict.fromkeys(fleet.incidents, 1)
    print("repeated attempts:", sum(len(fleet.fired(service)) - 1 for service in fleet.incidents))
    counts = fleet.query("SELECT service, count(*) FROM cogmeter.alert WHERE rule = 'error_rate' GROUP BY service")
    assert dict(counts) == dict.fromkeys(fleet.incidents, 1)


async def test_a_leader_that_was_paused_and_wakes_up_sends_nothing(fleet):
    for _ in range(2):
        await fleet.begin()
    old = await fleet.leader()
    (other,) = [member for member in fleet.members if member is not old]
    os.kill(old.pid, signal.SIGSTOP)
    try:
        fleet.incidents.append("quiet")
        await other.tell("fail", "quiet")
        await fleet.next_leader(old)
        await fleet.hears("quiet")
    finally:
        os.kill(old.pid, signal.SIGCONT)
    assert (await old.tell("tell"))["leads"] is False
    await fleet.fail("later")
    await fleet.hears("later")
    await fleet.shows(old, "later", "firing")  # it follows
    assert await fleet.leader() is other
    await fleet.end()
    assert len(fleet.fired("quiet")) == len(fleet.fired("later")) == 1
    deliveries = fleet.query(
        "SELECT service, attempts, delivery.state FROM cogmeter.delivery"
        " JOIN cogmeter.alert ON alert.id = delivery.alert JOIN cogmeter.alert_change ON alert_change.id = change"
        " WHERE rule = 'error_rate' AND kind = 'fired' AND target = 'webhook' ORDER BY delivery.id"
    )
    assert deliveries == [("quiet", 1, "sent"), ("later", 1, "sent")]


async def test_a_leader_that_stops_releases_its_lease(fleet):
    for _ in range(2):
        await fleet.begin()
    old = await fleet.leader()
    fleet.members.remove(old)
    await old.stop()
    ((free, holder),) = fleet.query(
        "SELECT until_us = 0, run.pid FROM cogmeter.lease JOIN cogmeter.run ON run.id = run"
    )
    assert free or holder != old.pid
    await fleet.next_leader(old)
    await fleet.end()


async def test_what_a_person_does_in_one_process_is_in_effect_in_all_within_five_seconds(fleet):
    for _ in range(3):
        await fleet.begin()
    leader = await fleet.leader()
    one, two = [member for member in fleet.members if member is not leader]
    await one.tell("fail", "graph")
    await one.tell("fail", "cards")
    for service in ("graph", "cards"):  # which the leader itself does not record
        await fleet.hears(service)
        await fleet.shows(one, service, "firing")
    ((uid,),) = fleet.query("SELECT uid FROM cogmeter.alert WHERE service = 'graph' AND rule = 'error_rate'")
    assert (await one.tell("acknowledge", str(uid)))["alerts"]["graph"] == "acknowledged"
    took_s = [await fleet.shows(member, "graph", "acknowledged") for member in (leader, two)]
    await two.tell("mute", "cards")
    took_s += [await fleet.shows(member, "cards", "muted") for member in (leader, one)]
    await two.tell("limit", "error_rate@calm", "0.5")
    began_s = time.monotonic()
    for member in (leader, one):
        while (await member.tell("tell"))["limit"] != 0.5:
            assert time.monotonic() - began_s <= PATIENCE_S
            await asyncio.sleep(0.1)
        took_s.append(time.monotonic() - began_s)
    print("shared in s:", [round(one, 1) for one in took_s])
    await asyncio.sleep(3)  # the leader continues with what it has followed
    assert (await leader.tell("tell"))["alerts"] == {"graph": "acknowledged", "cards": "muted"}
    await fleet.end()
    assert len(fleet.fired("graph")) == len(fleet.fired("cards")) == 1


async def test_what_hangs_in_another_process_is_sent_by_the_leader_with_its_name(fleet):
    for number in range(3):
        await fleet.begin(PERFORMANCE_PROCESS_NAME=f"cluster-{number}", PERFORMANCE_ALERT_THRESHOLD_HUNG="2")
    leader = await fleet.leader()
    number = next(place for place, member in enumerate(fleet.members) if member is not leader)
    await fleet.members[number].tell("hang", "graph")
    async with asyncio.timeout(PATIENCE_S):
        while not fleet.fired("graph", "hung"):
            await asyncio.sleep(0.1)
    ((message,),) = fleet.query("SELECT message FROM cogmeter.alert WHERE service = 'graph' AND rule = 'hung'")
    assert message.endswith(f", in process cluster-{number}")
    await fleet.end()
    assert len(set(fleet.fired("graph", "hung"))) == 1
