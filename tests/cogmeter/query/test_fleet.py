"""The processes that share a database: their operations, event-loop lag and last sign of life."""

from __future__ import annotations

import pytest
from fleet_store import FOUR, MINUTE_US, Member, fill_fleet

from cogmeter.query.fleet import ProcessState, fleet
from cogmeter.query.query import Query, now_us
from cogmeter.query.records import Range, UnknownNameError
from cogmeter.query.usage import usage
from cogmeter.recording.buffer import DROPPED
from cogmeter_storage import open_store
from cogmeter_storage.process import Process


@pytest.fixture
async def opened(postgres_url):
    """``await opened(members)``: a query of a database that these processes have written."""
    stores = []

    async def open_it(members):
        await fill_fleet(postgres_url, members)
        stores.append(await open_store(postgres_url, read_only=True))
        return Query(stores[-1])

    yield open_it
    for store in stores:
        await store.close()


def window(minutes=5):
    at_us = now_us()
    return Range(at_us - minutes * MINUTE_US, at_us, "window")


async def test_each_process_has_its_operations_lag_and_sign_of_life(opened):
    query = await opened(FOUR)
    found = await fleet(query, window())
    by_name = {one.name: one for one in found.processes}
    assert list(by_name) == sorted(by_name)
    assert {name: one.state.value for name, one in by_name.items()} == {
        "shards 0-3": "alive",
        "shards 12-15": "alive",
        "shards 4-7": "silent",
        "shards 8-11": "alive",
    }
    failing = by_name["shards 8-11"].figures
    assert (failing.operations, failing.failures, failing.error_rate) == (100, 40, 0.4)
    assert failing.p95_us == pytest.approx(20_000, rel=0.02)
    assert 100 / 7 < failing.per_minute < 100 / 5 + 0.1  # the window is widened to whole minutes
    assert by_name["shards 12-15"].lag_us == 450_000
    assert 125e6 <= by_name["shards 4-7"].silent_us < 200e6
    assert found.versions == {"1.4": 2, "1.5": 1}  # of live processes


async def test_a_process_without_operations_or_samples_is_listed(opened):
    query = await opened([Member("idle", operations=0, lag_ms=None)])
    (idle,) = (await fleet(query, window())).processes
    assert (idle.state, idle.figures, idle.lag_us) == (ProcessState.ALIVE, None, None)


async def test_background_services_are_not_counted(opened, postgres_url):
    query = await opened([Member("one", operations=10)])
    store = await open_store(postgres_url, process=Process("one"))
    (stall,) = await store.series_ids([("discord.stalls", "stall")])
    await store.append([[(stall, now_us(), 9_000_000, 0, None, None)]], now_us=now_us())
    await store.close()
    assert (await fleet(query, window(6))).processes[0].figures.operations == 10


async def test_who_has_gone_is_listed_for_a_while(opened):
    hour_s, day_s = 3600, 86_400
    query = await opened(
        [
            Member("new", shards="0, 1"),
            Member("replaced", shards="0, 1", silent_s=600, ended=False),
            Member("lost", silent_s=day_s - 60, ended=False),
            Member("lost long ago", silent_s=day_s + 60, ended=False),
            Member("ended", silent_s=hour_s - 60, ended=True),
            Member("ended long ago", silent_s=hour_s + 60, ended=True),
        ]
    )
    # The replacement began after the process that it replaces.
    await fill_fleet_start(query, "new")
    states = {one.name: one.state.value for one in (await fleet(query, window())).processes}
    assert states == {"new": "alive", "lost": "silent", "ended": "ended"}


async def fill_fleet_start(query, name):
    """Move the start of a process to now."""
    import psycopg

    with psycopg.connect(query.store._url) as raw:
        later = "started_us = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        raw.execute(f"UPDATE cogmeter.run SET {later} WHERE process = %s", (name,))


async def test_a_database_of_one_process_has_no_fleet(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path}/one.db")
    try:
        assert (await fleet(Query(store), window())).processes == ()
        with pytest.raises(UnknownNameError, match="No process"):
            await Query(store).of_process("one")
    finally:
        await store.close()


async def test_a_query_is_narrowed_to_one_process(opened):
    query = await opened(FOUR)
    narrowed = await query.of_process("shards 8-11")
    view, whole = await narrowed.summary(window()), await query.summary(window())
    assert (view.total.operations, view.total.failures) == (100, 40)
    assert (whole.total.operations, whole.total.failures) == (400, 40)
    stats = await narrowed.stats("alpha", period=window())
    assert (stats.total.operations, stats.total.failures) == (50, 20)
    assert {one.error for one in stats.errors} == {"no answer for shards 8-11"}
    assert await query.of_process("shards 8-11") is narrowed  # so that its sums are kept
    assert await query.of_process(None) is query
    with pytest.raises(UnknownNameError) as caught:
        await query.of_process("shards 8-12")
    assert (caught.value.parameter, "shards 8-11" in caught.value.near) == ("process", True)


async def test_the_narrowed_sums_add_up_to_all(opened):
    query = await opened(FOUR)
    span = window(30)
    timelines = [(await (await query.of_process(one.name)).timeline(period=span)) for one in FOUR]
    whole = await query.timeline(period=span)
    added = [sum(values) for values in zip(*(one.per_minute for one in timelines), strict=True)]
    assert added == pytest.approx(whole.per_minute)


async def test_drops_and_members_of_all_processes_are_added_up(opened, postgres_url):
    query = await opened(FOUR[:2])
    for name, amount in (("shards 0-3", 5), ("shards 4-7", 7)):
        store = await open_store(postgres_url, process=Process(name))
        gauges = {DROPPED: amount, "gateway.guilds": 10 * amount, "gateway.members": 100 * amount}
        await store.add_samples(now_us() - 1_000_000, gauges)
        await store.close()
    assert (await query.overview(window())).dropped == 12
    assert (await (await query.of_process("shards 4-7")).overview(window())).dropped == 7
    audience = [step for step in (await usage(query, window(60))).audience if step.guilds is not None]
    assert [(step.guilds, step.members) for step in audience] == [(120, 1200)]
