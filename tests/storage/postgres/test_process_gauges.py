"""What is known of each process of a database: its gauges, its totals, its end."""

from __future__ import annotations

import psycopg

from cogmeter_storage import open_store
from cogmeter_storage.model import HOUR_US, MINUTE_US
from cogmeter_storage.postgres import maintenance

NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one")]
ALL = {1: 0, 2: 0, 3: 0}
LAG = "loop.lag_p99_ms"


async def test_gauges_of_two_processes_are_two_lines(start, noon):
    one, two = await start("one"), await start("two")
    await one.add_samples(noon, {LAG: 1.0, "cpu": 5.0})
    await two.add_samples(noon, {LAG: 9.0})  # the same moment: neither replaces the other
    await one.add_samples(noon + 1, {LAG: 2.0})
    until_us = noon + HOUR_US
    assert await one.samples([LAG, "cpu"], noon, until_us) == {
        LAG: [(noon, 1.0), (noon + 1, 2.0)],
        "cpu": [(noon, 5.0)],
    }
    assert await two.samples([LAG, "cpu"], noon, until_us) == {LAG: [(noon, 9.0)], "cpu": []}
    assert await one.of_process("two").samples([LAG], noon, until_us) == {LAG: [(noon, 9.0)]}
    steps = await two.of_process("one").sample_steps([LAG], noon, until_us, step_us=HOUR_US)
    assert {
        name: {number: (step.samples, step.mean) for number, step in found.items()} for name, found in steps.items()
    } == {LAG: {0: (2, 1.5)}}
    assert await one.newest_samples(noon) == {LAG: 2.0, "cpu": 5.0}
    assert await one.newest_samples(noon + 1) == {LAG: 2.0}
    assert await one.of_process("two").newest_samples(noon) == {LAG: 9.0}
    each = {"one": [(noon, 1.0), (noon + 1, 2.0)], "two": [(noon, 9.0)]}
    assert await one.samples_by_process(LAG, noon, until_us) == each
    assert await one.of_process("two").samples_by_process(LAG, noon, until_us) == {"two": each["two"]}
    assert await one.samples_by_process("lag_p99_ms", noon, until_us) == {}


async def test_a_reader_sees_the_gauges_of_the_process_that_runs_longest(start, url, noon):
    one, two = await start("b"), await start("a")
    await one.add_samples(noon, {LAG: 1.0})
    await two.add_samples(noon, {LAG: 9.0})
    reader = await open_store(url, read_only=True)
    try:
        assert (await reader.samples([LAG], noon, noon + 1))[LAG] == [(noon, 1.0)]
        await one.close()
        assert (await reader.samples([LAG], noon, noon + 1))[LAG] == [(noon, 9.0)]
        assert (await reader.of_process("b").samples([LAG], noon, noon + 1))[LAG] == [(noon, 1.0)]
    finally:
        await reader.close()


async def test_the_totals_of_each_process_add_up_to_those_of_all(start, append, make_rows, noon):
    stores = [await start(name) for name in ("one", "two", "three")]
    await stores[0].series_ids(NAMES)
    for place, store in enumerate(stores[:2]):
        await append(store, make_rows(90 + place, noon + place))
    until_us = noon + 2 * MINUTE_US
    await stores[0].fold(now_us=noon + HOUR_US)  # merged minutes are not counted twice
    whole = await stores[0].totals(noon, until_us, groups=ALL)
    each = await stores[2].totals_by_process(noon, until_us, groups=ALL)
    assert {name: int(totals.counts.sum()) for name, totals in each.items()} == {"one": 90, "two": 91}
    assert sum(totals.buckets for totals in each.values()).tolist() == whole.buckets.tolist()
    assert {(totals.since_us, totals.until_us) for totals in each.values()} == {(whole.since_us, whole.until_us)}
    narrowed = await stores[2].of_process("two").totals_by_process(noon, until_us, groups={1: 0})
    assert {name: int(totals.counts.sum()) for name, totals in narrowed.items()} == {"two": 31}


async def test_the_first_and_the_last_operation_of_a_process_are_its_own(start, append, make_rows, noon):
    one, two = await start("one"), await start("two")
    await one.series_ids(NAMES)
    await append(one, make_rows(10, noon))
    await append(two, make_rows(10, noon + HOUR_US))
    assert [await one.of_process(name).first_us() for name in ("one", "two", "none")] == [noon, noon + HOUR_US, None]
    ends = [(await two.of_process(name).status()).last_end_us for name in ("one", "two", "none")]
    assert ends == [noon + 9_000_000, noon + HOUR_US + 9_000_000, None]
    assert (await two.status()).last_end_us == noon + HOUR_US + 9_000_000


async def test_an_orderly_end_differs_from_one_by_silence(start, url, server):
    await (await start("orderly")).close()
    silent, alive = await start("silent"), await start("alive")
    with psycopg.connect(url) as raw:
        raw.execute(
            "UPDATE cogmeter.run SET seen_us = seen_us - %s WHERE process = 'silent'", (2 * maintenance.SILENT_US,)
        )
    await alive.fold(now_us=0)
    records = {record.process.name: (record.ended, record.orderly) for record in await alive.processes()}
    assert records == {"orderly": (True, True), "silent": (True, False), "alive": (False, False)}
    await silent.close()  # too late: its run has been ended
    assert not next(one for one in await alive.processes() if one.process.name == "silent").orderly
