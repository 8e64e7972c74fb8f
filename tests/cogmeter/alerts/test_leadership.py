"""Who leads: terms on a clock that the test moves, with the leases that a store grants."""

from __future__ import annotations

import asyncio

import pytest

from cogmeter.alerts.leadership import SAFETY_S, Leadership, Term
from cogmeter_storage import StorageError
from cogmeter_storage.lease import LEASE_S, Lease


class LeaseStore:
    """The part of a store that a Leadership uses; a test of the storage shows that PostgreSQL behaves like it."""

    shared = True

    def __init__(self):
        self.now_s = 1_000.0
        self.holder = ""
        self.until_s = 0.0
        self.token = 0
        self.down = False

    def as_process(self, name):
        """The store as one process sees it."""
        return LeaseView(self, name)


class LeaseView:
    shared = True

    def __init__(self, row, name):
        self._row = row
        self._name = name

    async def lead(self):
        row = self._row
        if row.down:
            raise StorageError("The server is away", permanent=False)
        if row.holder != self._name:
            if row.until_s > row.now_s:
                return Lease(leads=False, left_s=row.until_s - row.now_s)
            row.holder, row.token = self._name, row.token + 1
        row.until_s = row.now_s + LEASE_S
        return Lease(leads=True, left_s=LEASE_S, token=row.token)

    async def resign(self):
        if self._row.holder == self._name:
            self._row.until_s = 0.0


@pytest.fixture
def row():
    return LeaseStore()


@pytest.fixture
def process(row):
    """``process("one")``: the leadership of a process of this name."""

    def make(name):
        view = row.as_process(name)
        return Leadership(lambda: view, clock_s=lambda: row.now_s)

    return make


def test_a_process_that_is_alone_always_leads():
    term = Term()
    assert term.leads
    assert term.token is None


async def test_the_first_process_leads_and_the_second_one_follows(process):
    one, two = process("one"), process("two")
    await one.begin()
    await two.begin()
    assert (one.leads, one.term.token) == (True, 1)
    assert (two.leads, two.term.token) == (False, None)


async def test_renewing_continues_the_term(row, process):
    one = process("one")
    await one.begin()
    term = one.term
    for _ in range(10):
        row.now_s += 3
        await one.renew()
    assert one.term is term
    assert term.leads


async def test_a_leader_that_cannot_renew_stops_before_another_one_may_lead(row, process, caplog):
    one, two = process("one"), process("two")
    await one.begin()
    await two.begin()
    term = one.term
    row.down = True
    for _ in range(3):
        row.now_s += 3
        await one.renew()
    assert term.leads
    assert caplog.text.count("could not be renewed") == 1
    row.now_s = row.until_s - SAFETY_S
    assert not term.leads  # without another attempt: it may be paused
    row.down = False
    await two.renew()
    assert not two.leads
    row.now_s = row.until_s
    await two.renew()
    assert (two.leads, two.term.token) == (True, 2)
    await one.renew()
    assert not one.leads
    assert one.term is not term


async def test_a_leader_that_was_paused_for_long_does_not_lead_when_it_wakes_up(row, process):
    one, two = process("one"), process("two")
    await one.begin()
    row.now_s += LEASE_S + 1
    await two.begin()
    assert two.leads
    assert not one.leads
    await one.renew()
    assert (one.leads, one.term.token) == (False, None)


async def test_leading_again_after_a_gap_is_a_new_term(row, process):
    one, two = process("one"), process("two")
    await one.begin()
    first = one.term
    row.now_s += LEASE_S
    await two.begin()
    await two.end()
    await one.renew()
    assert (one.leads, one.term.token) == (True, 3)
    assert one.term is not first
    assert not first.leads


async def test_a_refused_write_ends_the_term_at_once(process):
    one = process("one")
    await one.begin()
    one.term.end()
    assert not one.leads


async def test_an_orderly_end_lets_another_process_lead_at_once(process):
    one, two = process("one"), process("two")
    await one.begin()
    await one.end()
    await two.begin()
    assert two.leads


async def test_the_monitor_follows_each_change_of_the_leader_and_a_failure_is_repeated(
    row, process, monkeypatch, caplog
):
    monkeypatch.setattr("cogmeter.alerts.leadership.RENEW_S", 0.005)
    monkeypatch.setattr("cogmeter.alerts.leadership.RETRY_S", 0.005)
    one, two = process("one"), process("two")
    await two.begin()
    await one.begin()
    roles: list[bool] = []
    followed = asyncio.Event()

    async def change():
        roles.append(one.leads)
        if len(roles) == 1:
            raise RuntimeError("not yet")
        followed.set()

    one.start(change)
    try:
        await two.end()
        async with asyncio.timeout(10):
            await followed.wait()
            followed.clear()
            one.term.end()  # nobody else leads, so the lease is still its own
            await followed.wait()
    finally:
        await one.end()
    assert roles == [True, True, True]
    assert "could not be followed" in caplog.text


async def test_nothing_is_built_again_while_the_store_is_away(row, process, monkeypatch):
    monkeypatch.setattr("cogmeter.alerts.leadership.RENEW_S", 0.005)
    one = process("one")
    await one.begin()
    roles: list[bool] = []
    followed = asyncio.Event()

    async def change():
        roles.append(one.leads)
        followed.set()

    one.start(change)
    try:
        row.down = True
        row.now_s += LEASE_S
        while one.term.token is not None:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert roles == []
        assert not one.leads
        row.down = False
        async with asyncio.timeout(10):
            await followed.wait()
    finally:
        await one.end()
    assert roles == [True]
