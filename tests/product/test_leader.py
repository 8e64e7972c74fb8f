"""Several processes of one bot on one PostgreSQL: one of them sends the alerts, whichever dies or sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import http_receiver
import psycopg
import pytest
from postgres_server import PROGRAMS, Server, server

PROGRAM = Path(__file__).with_name("fleet_member.py")
HANDOVER_S = 15.0
SHARED_S = 5.0
PATIENCE_S = 30.0
KILLS = int(os.environ.get("COGMETER_LEADER_KILLS", "4"))

pytestmark = pytest.mark.slow


class Member:
    """A process of the fleet."""

    def __init__(self, environment: dict[str, str], errors: Path, *failing: str) -> None:
        with errors.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, *failing],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    async def read(self) -> dict[str, object]:
        """What it says next about its state."""
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, "the process has ended"
        return json.loads(line)

    async def tell(self, *words: str) -> dict[str, object]:
        """Say something to it, and wait until it is done."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return await self.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    async def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            await self.tell("stop")
        assert await asyncio.to_thread(self.process.wait, PATIENCE_S) == 0
        self.process.stdin.close()
        self.process.stdout.close()


class Fleet:
    """Processes on one database, and the webhook that receives their alerts."""

    def __init__(self, database: Server, receiver: http_receiver.Receiver, environment: dict[str, str], errors: Path):
        self.members: list[Member] = []
        self.incidents: list[str] = []
        self._raw = psycopg.connect(database.url("postgres"), autocommit=True)
        self._receiver = receiver
        self._environment = environment
        self._errors = errors

    async def begin(self, *failing: str) -> Member:
        """Start a process."""
        member = Member(self._environment, self._errors, *failing)
        self.members.append(member)
        assert (await member.read())["word"] == "started"
        return member

    async def end(self) -> None:
        for member in self.members:
            await member.stop()

    def kill_all(self) -> None:
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        self._raw.close()

    async def leader(self) -> Member | None:
        """The process that has the lease now."""
        row = await asyncio.to_thread(
            self.query,
            "SELECT run.pid FROM cogmeter.lease JOIN cogmeter.run ON run.id = lease.run"
            " WHERE until_us > extract(epoch FROM clock_timestamp()) * 1000000",
        )
        return next((member for member in self.members if row and member.pid == row[0][0]), None)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        return self._raw.execute(statement).fetchall()

    async def next_leader(self, old: Member) -> float:
        """Wait until another process leads; return how long it took."""
        began_s = time.monotonic()
        while (found := await self.leader()) is None or found is old:
            assert time.monotonic() - began_s < PATIENCE_S
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s

    async def fail(self, service: str) -> None:
        """Begin an incident in every process."""
        self.incidents.append(service)
        for member in self.members:
            await member.tell("fail", service)

    def fired(self, service: str) -> list[str]:
        """The ids of the messages that an incident began; a repeated attempt has the same one."""
        bodies = [seen.json for seen in self._receiver.seen]
        return [
            body["id"]
            for body in bodies
            if (body["service"], body["type"], body["kind"]) == (service, "error_rate", "fired")
        ]

    async def hears(self, service: str) -> None:
        """Wait until an incident was sent."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.fired(service):
                await asyncio.sleep(0.1)

    async def shows(self, member: Member, service: str, state: str) -> float:
        """Wait until a process shows the alert of a service in a state; return how long it took."""
        began_s = time.monotonic()
        while (await member.tell("tell"))["alerts"].get(service) != state:
            assert time.monotonic() - began_s < PATIENCE_S
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s


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
        environment = clean_environment(
            PERFORMANCE_DATABASE_URL=database.url("postgres"),
            PERFORMANCE_ALERT_WEBHOOK_URL=receiver.url(),
            PERFORMANCE_ALERT_CHECK_INTERVAL="1",
            PERFORMANCE_ALERT_WINDOW="30",
            PERFORMANCE_ALERT_FOR="0",
            PERFORMANCE_ALERT_MIN_OPERATIONS="5",
            PERFORMANCE_ALERT_GROUP_FROM="1000",
            PERFORMANCE_ALERT_GATEWAY_LOST_AFTER="0",
            PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE="1000000",
        )
        errors = tmp_path / "errors"
        running = Fleet(database, receiver, environment, errors)
        try:
            yield running
        finally:
            running.kill_all()
        assert (
            "/cogs/cogmeter/" not in errors.read_text()
        )  # in a traceback; APScheduler logs one for a job that is cut off


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
    assert max(took_s) <= HANDOVER_S
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
        assert await fleet.next_leader(old) <= HANDOVER_S
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
    for member in (leader, two):
        assert await fleet.shows(member, "graph", "acknowledged") <= SHARED_S
    await two.tell("mute", "cards")
    for member in (leader, one):
        assert await fleet.shows(member, "cards", "muted") <= SHARED_S
    await two.tell("limit", "error_rate@calm", "0.5")
    began_s = time.monotonic()
    for member in (leader, one):
        while (await member.tell("tell"))["limit"] != 0.5:
            assert time.monotonic() - began_s <= SHARED_S
            await asyncio.sleep(0.1)
    await asyncio.sleep(3)  # the leader goes on with what it has followed
    assert (await leader.tell("tell"))["alerts"] == {"graph": "acknowledged", "cards": "muted"}
    await fleet.end()
    assert len(fleet.fired("graph")) == len(fleet.fired("cards")) == 1
