"""Random sequences of readings, clicks, restarts and failures of the store keep the engine's invariants."""

import asyncio
import itertools
from collections import defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.alerting import ACTIVE, AlertState, Mute

START_US = 1_800_000_000_000_000
CHECK_US = 30_000_000
SERVICES = "abcde"
SEVERITIES = {"w": "warning", "c": "critical", "h": "warning"}
POLICY = Policy(cooldown_s=300, group_from=4, reminder_s=600, escalate_after_s=300)
CALM_CHECKS = 3_600_000_000 // CHECK_US


class MemoryStore:
    """The part of an AlertStore that the engine uses, fast; a test below compares it with the real one."""

    shared = False

    def __init__(self):
        self.alerting = self
        self.rows = {}
        self.log = []
        self.deliveries = 0
        self.fails = 0
        self.kept = []

    def _write(self):
        if self.fails:
            self.fails -= 1
            raise StorageError("disk full", permanent=False)

    async def save(self, steps, *, token=None, exact=False):
        assert (token, exact) == (None, False)
        self._write()
        for step in steps:
            row = self.rows.get(step.alert.uid)
            number, version = (row.id, row.version) if row else (len(self.rows) + 1, 0)
            self.rows[step.alert.uid] = replace(step.alert, id=number, version=version + (step.change is not None))
            if step.change is not None:
                self.log.append(step.change)
        self.deliveries += any(step.targets for step in steps)
        return [self.rows[step.alert.uid] for step in steps]

    async def delete_unfired(self, uids, *, token=None):
        assert token is None
        self._write()
        for uid in uids:
            if uid in self.rows and self.rows[uid].fired_us is None:
                del self.rows[uid]
                self.log = [change for change in self.log if change.alert != uid]

    async def alerts(self, states=ACTIVE, *, since_us=0, limit=1_000, offset=0):
        found = [row for row in self.rows.values() if row.state in states and row.changed_us >= since_us]
        found.sort(key=lambda row: (row.changed_us, row.id), reverse=True)
        return found[offset : offset + limit]

    async def alert(self, uid):
        return self.rows.get(uid)

    async def changes(self, *, limit):
        return self.log[::-1][:limit]

    async def mutes(self, now_us):
        return [mute for mute in self.kept if mute.until_us > now_us]

    async def add_mute(self, mute):
        self._write()
        self.kept.append(replace(mute, id=len(self.kept) + 1))
        return self.kept[-1]

    async def end_mutes(self, ids, *, now_us, actor):
        self._write()
        ended = [mute for mute in self.kept if mute.id in ids and mute.until_us > now_us]
        self.kept = [replace(mute, until_us=now_us) if mute in ended else mute for mute in self.kept]
        return ended


class World:
    """An engine on a store, and a clock; restarted at will."""

    def __init__(self, store, *, for_s=0, policy=POLICY):
        self.store = store
        self.now_us = START_US
        self.sent = 0
        self.refused = 0
        self._limit = Limit(threshold=5, recovery=4, for_s=for_s, recovery_s=90, min_operations=20)
        self._policy = policy
        self._start()

    def _start(self):
        self.engine = AlertEngine(
            self.store, lambda _: self._limit, self._policy, targets=lambda _: ("log",), wake=self._wake
        )

    def _wake(self):
        self.sent += 1

    async def restart(self):
        self._start()
        await self.engine.restore(self.now_us)

    async def check(self, letters):
        measured = [one for one in zip(SERVICES, letters, strict=True) if one[1] != "."]
        await self.engine.step([_reading(*one) for one in measured], self.now_us)
        self.now_us += CHECK_US

    async def acknowledge(self, place):
        # By name: the order of those that began together is another one once they are stored.
        if active := sorted(self.engine.active, key=lambda alert: (alert.rule, alert.service, alert.started_us)):
            await self._pressed(self.engine.acknowledge(active[place % len(active)].uid, "Ada", self.now_us))

    async def mute(self, rule, service, minutes):
        mute = Mute(service, rule, self.now_us, self.now_us + minutes * 60_000_000, "Ada")
        await self._pressed(self.engine.mute(mute, self.now_us))

    async def unmute(self):
        ids = [mute.id for mute in await self.store.alerting.mutes(self.now_us)]
        await self._pressed(self.engine.unmute(ids, "Bob", self.now_us))

    async def jump(self, seconds):
        self.now_us += seconds * 1_000_000

    async def fail(self, times):
        self.store.fails = times

    async def _pressed(self, work):
        try:
            await work
        except StorageError:
            self.refused += 1


def _reading(service, letter):
    return Reading(Subject("error_rate", service), 10, 5, f"Too much of {service}", SEVERITIES[letter], letter != "h")


checks = st.tuples(st.just("check"), st.text("wwch..", min_size=len(SERVICES), max_size=len(SERVICES)))
calm = st.tuples(st.just("check"), st.just("....."))
presses = st.one_of(
    st.tuples(st.just("acknowledge"), st.integers(0, 9)),
    st.tuples(
        st.just("mute"),
        st.sampled_from(["", "error_rate", "many_services"]),
        st.sampled_from(["", "a", "(bot)"]),
        st.integers(1, 10),
    ),
    st.tuples(st.just("unmute")),
)
restarts = st.tuples(st.just("restart"))
failures = st.tuples(st.just("fail"), st.integers(1, 3))
jumps = st.tuples(st.just("jump"), st.sampled_from([-86_400, -3_600, -45, 45, 3_600, 86_400]))
lives = st.lists(st.one_of(checks, checks, checks, calm, calm, presses, restarts, failures), max_size=60)
waits = st.sampled_from([0, 60])


async def _live(world, events):
    for name, *details in events:
        await getattr(world, name)(*details)
        _assert_memory_is_what_is_stored(world)


def _assert_memory_is_what_is_stored(world):
    """Except pending alerts, which may wait to be stored or dropped."""
    rows = [row for row in world.store.rows.values() if row.state in ACTIVE and row.state is not AlertState.PENDING]
    active = [alert for alert in world.engine.active if alert.state is not AlertState.PENDING]
    assert {(row.uid, row.state, row.version) for row in rows} == {(one.uid, one.state, one.version) for one in active}
    subjects = [_subject(alert) for alert in world.engine.active]
    measured = [subject for subject in subjects if subject[0] != "many_services"]
    assert len(set(measured)) == len(measured), "one subject has two alerts"


def _subject(alert):
    return alert.rule, alert.service


def _of_subjects(store):
    """The changes of each measured subject, in order, and of each group."""
    found = defaultdict(list)
    for change in store.log:
        alert = store.rows[change.alert]
        found[_subject(alert) if alert.rule != "many_services" else alert.uid].append(change)
    return found


@settings(max_examples=300, deadline=None)
@given(lives, waits)
def test_whatever_happens_each_breach_fires_once_and_ends(events, for_s):
    store = MemoryStore()
    world = World(store, for_s=for_s)

    async def life():
        await _live(world, events)
        store.fails = 0
        await _live(world, [("check", ".....")] * CALM_CHECKS)

    asyncio.run(life())
    assert world.engine.active == ()
    assert all(row.state is AlertState.RESOLVED for row in store.rows.values())
    assert world.sent == store.deliveries, "deliveries are stored, and each stored delivery wakes the dispatcher"
    for changes in _of_subjects(store).values():
        _assert_a_life(changes)


def _assert_a_life(changes):
    """Check the changes of one subject: alerts one after the other, each fired at most once and resolved at its end."""
    times = [change.at_us for change in changes]
    assert times == sorted(times)
    fired = [change.at_us for change in changes if change.kind == "fired"]
    assert all(later - earlier >= POLICY.cooldown_s * 1e6 for earlier, later in itertools.pairwise(fired))
    _assert_each_alert_has_one_life(changes)


def _assert_each_alert_has_one_life(changes):
    for _, life in itertools.groupby(changes, key=lambda change: change.alert):
        kinds = [change.kind for change in life]
        assert kinds.count("fired") <= 1
        assert kinds.count("flapping") <= 1
        assert kinds.count("escalated") <= 1
        assert kinds.count("acknowledged") <= 1
        assert kinds.index("resolved") == len(kinds) - 1
        assert kinds[0] in {"fired", "muted", "acknowledged"}
        if "fired" not in kinds:
            assert set(kinds) <= {"muted", "joined", "acknowledged", "resolved"}, (
                "an alert that was not sent sends nothing later"
            )
    alerts = [key for key, _ in itertools.groupby(changes, key=lambda change: change.alert)]
    assert len(alerts) == len(set(alerts)), "one began before the one before had ended"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(checks, checks, calm, calm, presses, restarts, jumps), max_size=60), waits)
def test_a_clock_that_jumps_loses_no_alert_and_doubles_none(events, for_s):
    """Then the time of a change is uncertain, but not that it happens once."""
    store = MemoryStore()
    world = World(store, for_s=for_s)

    async def life():
        await _live(world, events)
        await world.unmute()
        await _live(world, [("check", "wwwww")] * 20)
        standing = [alert.service for alert in world.engine.active if alert.fired_us is not None]
        await _live(world, [("check", ".....")] * CALM_CHECKS)
        return standing

    standing = asyncio.run(life())
    assert set(standing) >= set(SERVICES)
    assert world.engine.active == ()
    assert all(row.state is AlertState.RESOLVED for row in store.rows.values())
    for changes in _of_subjects(store).values():
        _assert_each_alert_has_one_life(changes)


many = st.tuples(st.just("check"), st.sampled_from(["wwww.", "wwwww", "ccccc", "hhhhh", "wwhhh"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(checks, calm, many, many, presses, restarts), max_size=60), waits)
def test_a_group_is_active_exactly_as_long_as_a_member(events, for_s):
    store = MemoryStore()
    world = World(store, for_s=for_s)

    async def life():
        for event in events:
            await _live(world, [event])
            if event[0] == "check":
                sent = [row for row in store.rows.values() if row.state in ACTIVE and row.state != AlertState.PENDING]
                roots = {row.uid for row in sent if row.rule == "many_services"}
                assert roots == {row.group for row in sent if row.group}

    asyncio.run(life())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(checks, calm, presses), max_size=50),
    st.sets(st.integers(0, 49)),
    waits,
)
def test_a_restart_changes_nothing_of_what_happens(events, when, for_s):
    """If every active subject is measured next; one that is not measured recovers later, and may go on firing."""
    events = [(name, *(one.replace("c", "w") if name == "check" else one for one in rest)) for name, *rest in events]

    async def history(restarts):
        world = World(MemoryStore(), for_s=for_s)
        for place, (name, *details) in enumerate(events):
            if place in restarts and name == "check" and _all_measured(world, *details):
                await world.restart()
            await getattr(world, name)(*details)
        return _history(world.store.log, world.store.rows)

    assert asyncio.run(history(when)) == asyncio.run(history(set()))


def _all_measured(world, letters):
    measured = {service for service, letter in zip(SERVICES, letters, strict=True) if letter != "."}
    return {alert.service for alert in world.engine.active} - {"(bot)"} <= measured


def _history(changes, rows):
    return sorted((change.at_us, *_subject(rows[change.alert]), change.kind, change.state) for change in changes)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(checks, calm, presses, failures), max_size=40))
def test_a_store_that_fails_only_delays(events):
    """Each subject that stays breached fires once in the end."""
    store = MemoryStore()
    world = World(store)

    async def life():
        await _live(world, events)
        store.fails = 0
        await world.unmute()
        await _live(world, [("check", "wwwww")] * 20)

    asyncio.run(life())
    standing = {alert.service for alert in world.engine.active if alert.fired_us is not None}
    assert standing >= set(SERVICES)


EXAMPLE = [
    ("check", "w...."),
    ("acknowledge", 0),
    ("check", "wwwww"),
    ("restart",),
    ("check", "cwwwh"),
    ("mute", "error_rate", "a", 1),
    ("check", "c...."),
    ("check", "c...."),
    ("unmute",),
    *[("check", "c....")] * 3,
    ("restart",),
    *[("check", "w....")] * 20,
    ("mute", "", "", 5),
    ("acknowledge", 1),
    *[("check", "...w.")] * 3,
    *[("check", ".....")] * 12,
]


async def test_the_store_in_memory_behaves_like_the_real_one(tmp_path):
    memory = World(MemoryStore())
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    real = World(store)
    for world in (memory, real):
        for name, *details in EXAMPLE:
            await getattr(world, name)(*details)
    rows = {alert.uid: alert for alert in await store.alerting.alerts(tuple(AlertState))}
    changes = (await store.alerting.changes())[::-1]
    await store.close()
    sent = _history(changes, rows)
    assert sent == _history(memory.store.log, memory.store.rows)
    assert _numbered(rows) == _numbered(memory.store.rows)
    assert {kind for *_, kind, _ in sent} >= {"fired", "worsened", "muted", "unmuted", "acknowledged", "resolved"}


def _numbered(rows):
    return sorted((row.id, *_subject(row), row.state, row.version) for row in rows.values())
