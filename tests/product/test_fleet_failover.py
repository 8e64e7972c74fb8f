"""Processes of one bot on a PostgreSQL cluster whose primary dies or is cut off: nothing is lost, and no alert doubled.

The processes are whole monitors. tests/storage/postgres/test_failover.py has the same for the store alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator

import http_receiver
import pytest
from cutting_proxy import CuttingProxy
from fleet_processes import PATIENCE_S, Fleet, Member
from patroni_cluster import Cluster, cluster, missing_programs

from cogmeter_storage import open_store
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US, HOUR_US

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("COGMETER_FAILOVER_KILLS", "1"))
LOAD = 10  # operations every 50 ms
# Memory for the 15 s of a commit that hangs; a quarter of it is full, and the spool used, before a standby is promoted.
SETTINGS = {"PERFORMANCE_MAX_OPERATIONS_IN_MEMORY": "10000"}


@pytest.fixture(scope="module")
def three_servers() -> Iterator[Cluster | None]:
    if missing_programs():
        yield None
        return
    with cluster() as made:
        yield made


@pytest.fixture
def running(three_servers, needed) -> Cluster:
    """The cluster, without anything of cogmeter."""
    needed(three_servers, missing_programs())
    three_servers.wait_for_standbys(2)
    three_servers.clear()
    return three_servers


@pytest.fixture
async def fleet(running, clean_environment, tmp_path) -> AsyncIterator[Fleet]:
    async with http_receiver.serving() as receiver:
        made = Fleet(running.url, receiver, clean_environment(**SETTINGS), tmp_path / "errors")
        try:
            yield made
        finally:
            made.kill_all()


@pytest.fixture
def links(running) -> Iterator[list[list[CuttingProxy]]]:
    """The network: for each of two processes, its ways to the three servers."""
    made = [[CuttingProxy(node.port) for node in running.nodes] for _ in range(2)]
    yield made
    for proxy in [one for of_process in made for one in of_process]:
        proxy.close()


def url_of(ways: list[CuttingProxy]) -> str:
    hosts = ",".join(f"127.0.0.1:{proxy.port}" for proxy in ways)
    return f"postgresql://postgres@{hosts}/postgres?connect_timeout=2"


async def catch_up(member: Member) -> tuple[float, int]:
    """Wait until a process stores again, and nothing is left in its spool; return the seconds and the most spooled."""
    began_s, most = time.monotonic(), 0
    before = (await member.tell("tell"))["written"]
    while True:
        state = await member.tell("tell")
        most = max(most, state["spooled"])
        if most and not state["spooled"] and state["written"] > before:
            return time.monotonic() - began_s, most
        assert time.monotonic() - began_s < PATIENCE_S, state
        await asyncio.sleep(0.1)


async def stored(url: str) -> tuple[int, int]:
    """Return the operations of the load in the totals, and the rows."""
    store = await open_store(url, read_only=True)
    try:
        series = [one.id for one in await store.series() if one.operation == "query"]
        range_us = clock.now_us() - DAY_US, clock.now_us() + HOUR_US
        totals = await store.totals(*range_us, groups=dict.fromkeys(series, 0))
        rows = [one.id async for chunk in store.stream(series, *range_us) for one in chunk]
        assert len(set(rows)) == len(rows)
        return int(totals.counts.sum()), len(rows)
    finally:
        await store.close()


def alerts_of(fleet: Fleet) -> dict[object, object]:
    """How many alerts each incident has."""
    return dict(fleet.query("SELECT service, count(*) FROM cogmeter.alert WHERE rule = 'error_rate' GROUP BY service"))


async def test_every_process_continues_after_the_primary_was_killed_and_each_incident_is_sent_once(
    running, fleet, record_property
):
    chance = random.Random(19)
    for _ in range(3):
        await (await fleet.begin()).tell("load", str(LOAD))
    waits = []
    for number in range(KILLS):
        old = running.primary()
        await fleet.fail(f"incident-{number}")
        await asyncio.sleep(chance.uniform(0, 2.5))  # before, while and after it is sent
        old.kill()
        waits += await asyncio.gather(*map(catch_up, fleet.members))
        new = running.primary(old)
        old.start()
        await fleet.hears(f"incident-{number}")
        await asyncio.to_thread(running.wait_for_standbys, 2, new)
    recorded = await fleet.end()
    record_property("waits", waits)
    print(
        "seconds until a process stored again, and operations in its spool:", [(round(s, 1), most) for s, most in waits]
    )
    assert {service: len(set(fleet.fired(service))) for service in fleet.incidents} == dict.fromkeys(fleet.incidents, 1)
    assert alerts_of(fleet) == dict.fromkeys(fleet.incidents, 1)
    assert await stored(running.url) == (recorded, recorded)


async def test_a_leader_that_is_cut_off_with_the_old_primary_sends_no_second_alert(running, fleet, links):
    ours, theirs = links
    cut_off = await fleet.begin(PERFORMANCE_DATABASE_URL=url_of(ours), PERFORMANCE_PROCESS_NAME="cut off")
    other = await fleet.begin(PERFORMANCE_DATABASE_URL=url_of(theirs), PERFORMANCE_PROCESS_NAME="other")
    assert await fleet.leader() is cut_off
    for member in fleet.members:
        await member.tell("load", str(LOAD))
    old = await asyncio.to_thread(running.primary)
    place = running.nodes.index(old)
    # On one side the leader and the old primary, which still accepts writes; on the other all else.
    old.cut_off()
    held = [theirs[place], *(proxy for proxy in ours if proxy is not ours[place])]
    for proxy in held:
        proxy.hold()
    await fleet.fail("split")
    new = await asyncio.to_thread(running.primary, old)
    assert old.is_primary()  # for clients on its side
    caught_up = await catch_up(other)
    await fleet.hears("split")
    state = await other.tell("tell")
    assert state["leads"]
    assert state["alerts"] == {"split": "firing"}
    cut = await cut_off.tell("tell")
    assert not cut["leads"]
    assert cut["spooled"] + cut["waiting"] > LOAD
    for proxy in held:
        proxy.release()
    old.resume()
    took_s = await drained(cut_off)
    print("seconds until each stored again, and the spool of the other:", took_s, caught_up)
    await asyncio.to_thread(running.wait_for_standbys, 2, new)
    await fleet.fail("later")
    await fleet.hears("later")
    await fleet.shows(cut_off, "later", "firing")
    recorded = await fleet.end()
    assert len(set(fleet.fired("split"))) == len(set(fleet.fired("later"))) == 1
    assert alerts_of(fleet) == {"split": 1, "later": 1}
    assert await stored(running.url) == (recorded, recorded)


async def drained(member: Member) -> float:
    """Wait until the spool of a process is empty; return the seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while (await member.tell("tell"))["spooled"]:
            await asyncio.sleep(0.1)
    return time.monotonic() - began_s
