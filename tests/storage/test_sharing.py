"""The leader of the processes that share a store, and what each sees of the others."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import psycopg
import pytest
from factories import make_alert
from postgres_server import PROGRAMS, Server

from cogmeter_storage import StorageError, Store, open_store
from cogmeter_storage.alerting import AlertChange, AlertState, Mute, Revision, Step
from cogmeter_storage.lease import LEASE_S, ChangedAlertError, Lease, LostLeadError
from cogmeter_storage.model import MINUTE_US
from cogmeter_storage.process import Process
from cogmeter_storage.slot import merge


@pytest.fixture
def server(request, needed) -> Server:
    needed(PROGRAMS, "PostgreSQL")
    server = request.getfixturevalue("postgres_server")
    server.clear("postgres")
    return server


@pytest.fixture
async def open_process(server):
    """``await open_process("one")``: the store as a process of this name opens it."""
    opened: list[Store] = []

    async def open_one(name: str) -> Store:
        store = await open_store(server.url("postgres"), process=Process(name))
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def expire(server):
    """Let the lease be as old as if the leader had not renewed it."""

    def end() -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as raw:
            raw.execute("UPDATE cogmeter.lease SET until_us = until_us - %s", (int(LEASE_S * 1e6) + 1,))

    return end


def fired(at_us: int, **more) -> Step:
    alert = make_alert(at_us, **{"fired_us": at_us, **more})
    return Step(alert, AlertChange.of(alert, "fired", at_us), ("webhook",))


async def test_a_process_that_is_alone_leads(store):
    lease = await store.lead()
    assert lease.leads
    assert lease.left_s >= LEASE_S
    assert await store.lead() == lease  # renewed
    await store.resign()
    again = await store.lead()
    assert again.leads
    assert again.token == lease.token  # nobody else has led


async def test_the_leader_stores_alerts_with_its_token(store, noon):
    token = (await store.lead()).token
    (stored,) = await store.alerting.save([fired(noon)], token=token)
    (delivery,) = await store.alerting.due(noon)
    await store.alerting.begin(delivery.id, now_us=noon, token=token)
    await store.alerting.delete_unfired([stored.uid], token=token)
    assert [alert.uid for alert in await store.alerting.alerts()] == [stored.uid]


async def test_an_exact_save_refuses_an_alert_that_another_process_has_changed(store, noon):
    (first,) = await store.alerting.save([fired(noon)], exact=True)
    figures = dataclasses.replace(first, current=0.5)
    (first,) = await store.alerting.save([Step(figures)], exact=True)
    acknowledged = dataclasses.replace(first, state=AlertState.ACKNOWLEDGED)
    await store.alerting.save([Step(acknowledged, AlertChange.of(acknowledged, "acknowledged", noon, actor="Ann"))])
    other = fired(noon, uid="other", service="other")
    with pytest.raises(ChangedAlertError, match=first.uid):
        await store.alerting.save([other, Step(dataclasses.replace(first, current=0.9))], exact=True)
    (stored,) = await store.alerting.alerts()
    assert (stored.state, stored.current) == (AlertState.ACKNOWLEDGED, 0.5)


async def test_the_revision_rises_with_changes_of_people_and_of_alerts(store, noon):
    assert await store.alerting.revision() == Revision(0, 0)
    await store.alerting.save([fired(noon)])
    first = await store.alerting.revision()
    assert (first.audit, first.change) == (0, 1)
    await store.alerting.add_mute(Mute("alpha", "", noon, noon + MINUTE_US, "Ann"))
    await store.alerting.override({"error_rate": "0.1"}, now_us=noon, actor="Ann")
    assert await store.alerting.revision() == Revision(2, 1)


async def test_what_each_process_has_recorded_is_its_own(store, make_rows, append, noon):
    await append(store, make_rows(3, noon))
    minutes = await store.live_minutes(noon)
    assert bool(minutes) == store.shared
    assert all(minute.own for minute in minutes)


async def test_one_of_two_processes_leads_until_it_resigns_or_closes(open_process):
    one, two = await open_process("one"), await open_process("two")
    first = await one.lead()
    assert first.leads
    waiting = await two.lead()
    assert (waiting.leads, waiting.token) == (False, None)
    assert 0 < waiting.left_s <= LEASE_S
    await one.resign()
    second = await two.lead()
    assert second.leads
    assert second.token == first.token + 1
    assert not (await one.lead()).leads
    await two.close()
    third = await one.lead()
    assert (third.leads, third.token) == (True, first.token + 2)


async def test_at_most_one_of_many_processes_gets_a_free_lease(open_process, expire):
    stores = [await open_process(f"process {number}") for number in range(6)]
    for _ in range(5):
        leases = await asyncio.gather(*(store.lead() for store in stores))
        assert sum(lease.leads for lease in leases) == 1
        expire()


async def test_a_leader_without_renewal_is_followed_by_another_one_and_can_write_nothing_any_more(
    open_process, expire, noon
):
    old, new = await open_process("old"), await open_process("new")
    token = (await old.lead()).token
    await old.alerting.save([fired(noon)], token=token)
    (delivery,) = await old.alerting.due(noon)
    expire()
    await old.alerting.begin(delivery.id, now_us=noon, token=token)  # nobody else leads yet
    assert (await new.lead()).token == token + 1

    with pytest.raises(LostLeadError, match="Another process leads"):
        await old.alerting.begin(delivery.id, now_us=noon, token=token)
    with pytest.raises(LostLeadError):
        await old.alerting.save([fired(noon, uid="late")], token=token)
    with pytest.raises(LostLeadError):
        await old.alerting.delete_unfired(["late"], token=token)
    assert [alert.uid for alert in await new.alerting.alerts()] == [fired(noon).alert.uid]
    (delivery,) = await new.alerting.due(noon)
    assert delivery.attempts == 1
    assert not (await old.lead()).leads

    # What people change is accepted from every process.
    await old.alerting.add_mute(Mute("alpha", "", noon, noon + MINUTE_US, "Ann"))
    acknowledged = dataclasses.replace(delivery.alert, state=AlertState.ACKNOWLEDGED)
    await old.alerting.save([Step(acknowledged, AlertChange.of(acknowledged, "acknowledged", noon))], exact=True)


async def test_nobody_takes_over_in_the_middle_of_a_leaders_transaction(open_process, expire, server, noon):
    old, new = await open_process("old"), await open_process("new")
    token = (await old.lead()).token
    with psycopg.connect(server.url("postgres")) as raw:  # the old leader's transaction, after its check of the token
        raw.execute("SELECT 1 FROM cogmeter.lease WHERE name = 'leader' AND token = %s FOR SHARE", (token,))
        expiring = asyncio.create_task(asyncio.to_thread(expire))
        taking = asyncio.create_task(new.lead())
        await asyncio.sleep(0)
        raw.execute("INSERT INTO cogmeter.memory (name, value) VALUES ('stored', '')")
        raw.commit()
        await expiring
    await taking
    assert (await new.lead()).token == token + 1
    assert await new.get_value("stored") == b""


@pytest.mark.slow
async def test_a_process_that_is_paused_in_a_transaction_delays_the_others_for_seconds_only(open_process, server):
    store = await open_process("one")
    await store.alerting.add_mute(Mute("alpha", "", 1, 2, "Ann"))
    with psycopg.connect(server.url("postgres"), autocommit=True) as paused:
        paused.execute(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s';"
            " SELECT 1 FROM cogmeter.area WHERE name = 'alerts' FOR UPDATE"
        )
        began_s = time.monotonic()
        await store.alerting.add_mute(Mute("beta", "", 1, 2, "Ann"))
        assert time.monotonic() - began_s < LEASE_S
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            paused.execute("SELECT 1")


async def test_the_minutes_of_others_are_read_exactly_and_grow(open_process, make_rows, append, noon):
    one, two = await open_process("one"), await open_process("two")
    ids = await one.series_ids([("alpha", "one"), ("alpha", "two"), ("beta", "one")])
    assert ids == [1, 2, 3]
    await append(one, make_rows(90, noon - MINUTE_US), now_us=noon + 30_000_000)
    await append(two, make_rows(7, noon), now_us=noon + 7_000_000)
    minutes = await one.live_minutes(noon - MINUTE_US)
    assert [(minute.own, minute.minute.start_us) for minute in minutes] == [
        (True, noon - MINUTE_US),
        (True, noon),
        (False, noon),
    ]
    assert _operations(minutes) == 97
    await append(two, make_rows(5, noon + 8_000_000), now_us=noon + 20_000_000)
    later = await one.live_minutes(noon - MINUTE_US)
    assert _operations(later) == 102
    assert [(minute.run, minute.minute.first_id) for minute in later] == [
        (minute.run, minute.minute.first_id) for minute in minutes
    ]
    await one.fold(now_us=noon + 5 * MINUTE_US)
    assert _operations(await one.live_minutes(noon - MINUTE_US)) == 102  # merged slots are not counted again


def _operations(minutes) -> int:
    total = merge([minute.minute.slot for minute in minutes])
    return int(sum(int(column.sum()) for column in total.outcomes))


async def test_a_process_that_was_silent_for_minutes_is_lost_and_one_that_stopped_is_not(open_process, server, noon):
    one, stopped, dead = [await open_process(name) for name in ("one", "stopped", "dead")]
    await stopped.close()
    with psycopg.connect(server.url("postgres"), autocommit=True) as raw:
        raw.execute("UPDATE cogmeter.run SET seen_us = seen_us - 600000000 WHERE process = 'dead'")
    await one.fold(now_us=noon)
    states = {record.process.name: (record.ended, record.lost) for record in await one.processes()}
    assert states == {"one": (False, False), "stopped": (True, False), "dead": (True, True)}
    await dead.close()


async def test_each_process_keeps_the_state_of_its_own_costs(open_process):
    one, two = await open_process("one"), await open_process("two")
    await one.own.costs.add({}, key="costs", state=b"1")
    assert await two.own.get_value("costs") is None
    assert await one.get_value("costs") is None
    again = await open_process("one")
    assert await again.own.get_value("costs") == b"1"


def test_a_lease_of_one_process_never_ends():
    assert Lease(leads=True).left_s > 1e9
    assert not LostLeadError().permanent
    assert isinstance(LostLeadError(), StorageError)
