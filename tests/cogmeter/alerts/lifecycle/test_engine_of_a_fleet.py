"""The engines of several processes on one PostgreSQL: the leader changes alerts, and people do in every process."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from postgres_server import PROGRAMS, server

from cogmeter.alerts.leadership import Term
from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter_storage import open_store
from cogmeter_storage.alerting import ACTIVE, AlertState, Mute
from cogmeter_storage.process import Process

START_US = 1_800_000_000_000_000
CHECK_US = 30_000_000
LIMIT = Limit(threshold=0.05, recovery=0.04, for_s=0, recovery_s=60, min_operations=20)
POLICY = Policy(cooldown_s=0, group_from=1_000, reminder_s=0, escalate_after_s=0)


@pytest.fixture(scope="module")
def database():
    if not PROGRAMS:
        yield None
        return
    with server() as running:
        yield running


class Part:
    """The engine of one process. Its clock is the fleet's."""

    def __init__(self, store, term):
        self.store = store
        self.now_us = START_US
        self.woken = 0
        self.lead_by(term)

    def lead_by(self, term):
        """Begin again in another term, as the monitor does."""
        self.term = term
        self.engine = AlertEngine(
            self.store, lambda _: LIMIT, POLICY, targets=lambda _: ("webhook",), wake=self._wake, term=term
        )

    def _wake(self):
        self.woken += 1

    async def check(self, *services, value=0.5):
        readings = [_reading(service, value) for service in services]
        await self.engine.step(readings, self.now_us)

    @property
    def shown(self):
        return {alert.service: alert.state.value for alert in self.engine.active}


def _reading(service, value):
    return Reading(Subject("error_rate", service), value, 0.05, f"Error rate of {value:.0%}", "warning", breached=True)


def _follower():
    return Term(until_s=-1.0)


@pytest.fixture
async def make_part(database, needed):
    """``await make_part("one", leads=True)``: a process with its engine."""
    needed(PROGRAMS, "PostgreSQL")
    database.clear("postgres")
    stores = []

    async def make(name, *, leads=False):
        store = await open_store(database.url("postgres"), process=Process(name))
        stores.append(store)
        term = Term(token=(await store.lead()).token) if leads else _follower()
        part = Part(store, term)
        await part.engine.restore(part.now_us)
        return part

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def leader(make_part):
    return await make_part("leader", leads=True)


@pytest.fixture
async def follower(make_part, leader):
    return await make_part("follower")


async def test_a_follower_shows_what_the_leader_has_stored_and_changes_nothing_at_a_check(leader, follower):
    await follower.check("graph")
    assert await leader.store.alerting.alerts() == []
    await leader.check("graph")
    await follower.engine.follow(follower.now_us)
    assert follower.shown == {"graph": "firing"}
    leader.now_us += CHECK_US
    for _ in range(4):
        await leader.check()
        leader.now_us += CHECK_US
    await follower.engine.follow(leader.now_us)
    assert follower.shown == leader.shown == {}


async def test_an_acknowledgement_in_another_process_is_kept_and_delivered_by_the_leader(leader, follower):
    await leader.check("graph")
    (alert,) = leader.engine.active
    await follower.engine.acknowledge(alert.uid, "Ann", follower.now_us + 1)
    assert follower.woken == 1  # of its own workers, which do not run
    woken = leader.woken
    await leader.engine.follow(leader.now_us + 2)
    assert leader.woken == woken + 1
    leader.now_us += CHECK_US
    await leader.check("graph", value=0.9)
    (stored,) = await leader.store.alerting.alerts()
    assert (stored.state, stored.acknowledged_by, stored.current) == (AlertState.ACKNOWLEDGED, "Ann", 0.9)
    assert [change.kind for change in await leader.store.alerting.changes()] == ["acknowledged", "fired"]


async def test_a_leader_that_has_not_followed_yet_overwrites_no_acknowledgement(leader, follower):
    await leader.check("graph", "cards")
    alert = next(alert for alert in leader.engine.active if alert.service == "graph")
    await follower.engine.acknowledge(alert.uid, "Ann", follower.now_us + 1)
    leader.now_us += CHECK_US
    await leader.check("graph", "cards", value=0.9)
    stored = {alert.service: alert for alert in await leader.store.alerting.alerts()}
    assert (stored["graph"].state, stored["cards"].current) == (AlertState.ACKNOWLEDGED, 0.5)  # nothing was stored
    await leader.engine.follow(leader.now_us)
    await leader.check("graph", "cards", value=0.9)
    stored = {alert.service: alert for alert in await leader.store.alerting.alerts()}
    assert (stored["graph"].state, stored["graph"].current) == (AlertState.ACKNOWLEDGED, 0.9)
    assert (stored["cards"].state, stored["cards"].current) == (AlertState.FIRING, 0.9)


async def test_two_people_acknowledge_in_two_processes_and_the_first_one_is_kept(leader, make_part):
    one, two = await make_part("one"), await make_part("two")
    await leader.check("graph")
    (alert,) = leader.engine.active
    done = await asyncio.gather(
        one.engine.acknowledge(alert.uid, "Ann", START_US + 1), two.engine.acknowledge(alert.uid, "Bob", START_US + 2)
    )
    assert len({answer.acknowledged_by for answer in done}) == 1
    kinds = Counter(change.kind for change in await leader.store.alerting.changes())
    assert kinds == {"fired": 1, "acknowledged": 1}


async def test_a_mute_and_its_end_in_another_process_are_followed(leader, follower):
    await leader.check("graph")
    mute = Mute("graph", "", START_US, START_US + 10**12, "Ann")
    stored = await follower.engine.mute(mute, START_US + 1)
    await leader.engine.follow(START_US + 2)
    assert leader.shown == {"graph": "muted"}
    await leader.check("graph", "cards")
    await follower.engine.unmute([stored.id], "Ann", START_US + 3)
    await leader.engine.follow(START_US + 4)
    await leader.check("graph", "cards")
    assert leader.shown == {"graph": "firing", "cards": "firing"}


async def test_the_step_of_an_old_leader_is_refused_and_ends_its_term(leader, make_part, caplog):
    new = await make_part("new")
    await leader.check("graph")
    await leader.store.resign()
    new.lead_by(Term(token=(await new.store.lead()).token))
    await new.engine.restore(START_US)
    assert leader.term.leads
    await leader.check("graph", "late")
    assert not leader.term.leads
    assert "leads no more" in caplog.text
    assert [alert.service for alert in await new.store.alerting.alerts()] == ["graph"]
    await new.check("graph", "late")
    assert new.shown == {"graph": "firing", "late": "firing"}
    (fired, *_) = [change for change in await new.store.alerting.changes() if change.kind == "fired"][::-1]
    assert fired.at_us == START_US  # the new leader has not sent the first alert again
    assert len(await new.store.alerting.changes()) == 2


class World:
    """Several processes, of which one leads, and what is wrong with the bot."""

    def __init__(self, parts, chance):
        self.parts = parts
        self.chance = chance
        self.leading = parts[0]
        self.failing: set[str] = set()
        self.acknowledged: set[str] = set()
        self.now_us = START_US

    async def step(self, part, service):
        """Let something happen in a process, and let the leader check."""
        self.now_us += 10_000_000
        for one in self.parts:
            one.now_us = self.now_us
        deed = self.chance.choice(
            [self.begin, self.end, self.acknowledge, self.mute, self.unmute, self.follow, self.lead]
        )
        await deed(part, service)
        await self.leading.engine.follow(self.now_us)
        await self.check()

    async def check(self):
        await self.leading.check(*self.failing, value=self.chance.random() + 0.1)

    async def begin(self, _part, service):
        self.failing.add(service)

    async def end(self, _part, service):
        self.failing.discard(service)

    async def follow(self, part, _service):
        await part.engine.follow(self.now_us)

    async def acknowledge(self, part, _service):
        await part.engine.follow(self.now_us)
        fired = [alert for alert in part.engine.active if alert.state is AlertState.FIRING]
        if fired:
            alert = self.chance.choice(fired)
            await asyncio.gather(part.engine.acknowledge(alert.uid, "Ann", self.now_us), self.check())
            self.acknowledged.add(alert.uid)

    async def mute(self, part, service):
        await part.engine.mute(Mute(service, "", self.now_us, self.now_us + 40_000_000, "Ann"), self.now_us)

    async def unmute(self, part, _service):
        mutes = await part.store.alerting.mutes(self.now_us)
        await part.engine.unmute([mute.id for mute in mutes], "Ann", self.now_us)

    async def lead(self, part, _service):
        old, self.leading = self.leading, part
        await old.store.resign()
        part.lead_by(Term(token=(await part.store.lead()).token))
        await part.engine.restore(self.now_us)
        if part is not old:
            await old.check(*self.failing, "never")  # it does not know yet
            old.lead_by(_follower())
            await old.engine.restore(self.now_us)


async def test_leaders_and_people_in_random_order_lose_no_acknowledgement_and_fire_each_alert_once(make_part):
    chance = random.Random(7)
    world = World([await make_part(f"part {number}") for number in range(3)], chance)
    await world.lead(world.leading, "")
    for _ in range(120):
        await world.step(chance.choice(world.parts), chance.choice("abcd"))
    stored = world.leading.store.alerting
    alerts = await stored.alerts((*ACTIVE, AlertState.RESOLVED))
    fired = Counter(change.alert for change in await stored.changes(limit=10_000) if change.kind == "fired")
    assert len(fired) >= 5
    assert set(fired.values()) == {1}
    assert not [alert for alert in alerts if alert.service == "never"]
    assert set(Counter(alert.service for alert in alerts if alert.state.active).values()) <= {1}
    assert len(world.acknowledged) >= 3
    assert world.acknowledged <= {alert.uid for alert in alerts if alert.acknowledged_by == "Ann"}
