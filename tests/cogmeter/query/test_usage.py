"""Usage: commands by runs and people, unused ones, the heat map, contexts, languages, and the audience."""

from __future__ import annotations

import numpy as np
import pytest

from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter.query.usage import (
    REGISTERED,
    AudienceStep,
    UnusedCommand,
    Usage,
    UsedOperation,
    people_of_operations,
    register_commands,
    registered_commands,
    usage,
)
from cogmeter.render.embeds.usage import usage_embed
from cogmeter.render.formatting import heat_map
from cogmeter.schemas.usage import UsageAnswer
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.usage import CONTEXT, JOINED, LEFT, LOCALE, DistinctCounts, PeopleKind, UsageBatch, people_key

MONDAY = 1_750_032_000_000_000  # 2025-06-16 00:00:00 UTC
WEEK = Range(MONDAY, MONDAY + 7 * DAY_US, "last 7 days")
NAMES = [
    ("discord.commands", "ask"),
    ("discord.components", "Shop.buy"),
    ("graph", "load"),
    ("discord.commands", "old"),
]


def batch(at_us, series, users, guilds, counts):
    keys = [people_key(series, PeopleKind.USER)] * len(users) + [people_key(series, PeopleKind.GUILD)] * len(guilds)
    return UsageBatch(at_us, np.array(keys), np.array([one << 40 for one in (*users, *guilds)], np.uint64), counts)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    assert await store.series_ids(NAMES) == [1, 2, 3, 4]
    yield store
    await store.close()


async def filled(store):
    """Monday 10:00 and Wednesday 23:00; a use of "old" a week before."""
    rows = [
        (4, MONDAY - 5 * DAY_US, 10, 0, None, None),
        *((1, MONDAY + 10 * HOUR_US + number, 10, number % 2, None, None) for number in range(6)),
        (3, MONDAY + 10 * HOUR_US + 9, 10, 0, None, None),
        *((2, MONDAY + 71 * HOUR_US + number, 10, 0, None, None) for number in range(2)),
    ]
    await store.append([rows], now_us=MONDAY + 72 * HOUR_US)
    counts = {(CONTEXT, "guild"): 5, (CONTEXT, "dm"): 1, (LOCALE, "de"): 1, (LOCALE, "en-US"): 4, (JOINED, ""): 2}
    await store.usage.add(batch(MONDAY + 10 * HOUR_US, 1, (1, 2, 3), (7,), counts))
    await store.usage.add(batch(MONDAY + 71 * HOUR_US, 2, (3, 4), (7, 8), {(LEFT, ""): 1}))


async def test_commands_are_listed_with_their_people_busiest_first(store):
    await filled(store)
    found = await usage(Query(store), WEEK)
    ask, buy = found.operations
    assert (ask.label, ask.operations, ask.failures, ask.people) == ("/ask", 6, 3, DistinctCounts(3, 1))
    assert (ask.error_rate, ask.last_us) == (0.5, MONDAY + 10 * HOUR_US)
    assert (buy.label, buy.operations, buy.people) == ("button Shop.buy", 2, DistinctCounts(2, 2))
    assert (found.runs, found.failures, found.people) == (8, 3, DistinctCounts(4, 2))
    assert found.contexts == {"guild": 5, "dm": 1}
    assert list(found.locales) == ["en-US", "de"]
    assert (found.joined, found.left) == (2, 1)


async def test_the_heat_map_counts_operations_by_weekday_and_hour(store):
    await filled(store)
    heat = (await usage(Query(store), WEEK)).heat
    assert (len(heat), {len(row) for row in heat}) == (7, {24})
    assert (heat[0][10], heat[2][23], sum(map(sum, heat))) == (6, 2, 8)
    lines = heat_map(heat, ".:+*#")
    assert lines == ["    00    06    12    18", "Mon ..........#.............", "Wed .......................+"]


async def test_a_range_that_begins_within_an_hour_counts_the_whole_hour(store):
    """Otherwise the heat map would count an operation of 11:05 under 10:00, and people without operations."""
    await filled(store)
    late_us = MONDAY + 73 * HOUR_US + 5 * MINUTE_US
    await store.append([[(1, late_us, 10, 0, None, None)]], now_us=late_us)
    found = await usage(Query(store), Range(MONDAY + 71 * HOUR_US + 30 * MINUTE_US, late_us + 1, ""))
    assert [(one.label, one.operations, one.people and one.people.users) for one in found.operations] == [
        ("button Shop.buy", 2, 2),
        ("/ask", 1, None),
    ]
    assert (found.heat[2][23], found.heat[3][1]) == (2, 1)


async def test_a_range_that_ends_within_an_hour_counts_the_whole_hour_but_not_the_future(store):
    await filled(store)
    end_us = MONDAY + 72 * HOUR_US
    for now_us, until_us in ((end_us + HOUR_US, end_us), (end_us - 20 * MINUTE_US, end_us - 20 * MINUTE_US)):
        query = Query(store, clock=lambda now_us=now_us: now_us)
        found = await usage(query, Range(MONDAY + 70 * HOUR_US, MONDAY + 71 * HOUR_US + 1, ""))
        assert [(one.label, one.operations, one.people.users) for one in found.operations] == [
            ("button Shop.buy", 2, 2)
        ]
        assert found.range.until_us == until_us


async def test_commands_without_any_use_are_listed_since_they_were_registered(store):
    await filled(store)
    await register_commands(store, {"ask", "old", "new one"}, MONDAY)
    await register_commands(store, {"ask", "old", "new one", "another"}, MONDAY + DAY_US)
    found = await usage(Query(store), WEEK)
    assert [(one.label, one.registered_us) for one in found.unused] == [
        ("/new one", MONDAY),
        ("/another", MONDAY + DAY_US),
    ]
    await register_commands(store, {"ask", "another"}, MONDAY + 2 * DAY_US)
    assert await registered_commands(store) == {"another": MONDAY + DAY_US, "ask": MONDAY}


@pytest.mark.parametrize("damaged", [b"", b"[1]", b"{", b'{"a": "x"}', b"\xff"])
async def test_damaged_names_of_commands_are_none(store, damaged):
    await store.set_value(REGISTERED, damaged)
    assert await registered_commands(store) == {}
    await register_commands(store, {"a"}, MONDAY)
    assert await registered_commands(store) == {"a": MONDAY}


async def test_the_audience_has_the_last_sample_of_each_step_with_joins_and_leaves(store):
    await filled(store)
    for hours, guilds in ((1, 10), (2, 11), (70, 12)):
        await store.add_samples(MONDAY + hours * HOUR_US, {"gateway.guilds": guilds, "gateway.members": guilds * 100})
    span = Range(MONDAY, MONDAY + 3 * DAY_US, "three days")
    audience = (await usage(Query(store), span)).audience
    assert {step.at_us % HOUR_US for step in audience} == {0}
    known = [step for step in audience if step.guilds is not None or step.joined or step.left]
    assert known == [
        AudienceStep(MONDAY + 1 * HOUR_US, 10, 1000, 0, 0),
        AudienceStep(MONDAY + 2 * HOUR_US, 11, 1100, 0, 0),
        AudienceStep(MONDAY + 10 * HOUR_US, None, None, 2, 0),
        AudienceStep(MONDAY + 70 * HOUR_US, 12, 1200, 0, 0),
        AudienceStep(MONDAY + 71 * HOUR_US, None, None, 0, 1),
    ]


async def test_a_store_without_usage_has_an_empty_answer_on_every_surface(store):
    found = await usage(Query(store), WEEK)
    assert (found.operations, found.unused, found.people) == ([], [], DistinctCounts(0, 0))
    embed = usage_embed(found)
    assert embed.description == "No command, component or reply was used in this period."
    assert not embed.fields
    assert await people_of_operations(store, *(WEEK.since_us, WEEK.until_us)) == []


async def test_people_that_an_earlier_version_did_not_count_are_unknown(store):
    await store.append([[(1, MONDAY + HOUR_US, 10, 0, None, None)]], now_us=MONDAY + 2 * HOUR_US)
    found = await usage(Query(store), WEEK)
    assert ([one.people for one in found.operations], found.people) == ([None], None)
    embed = usage_embed(found)
    assert embed.description == "**1 run** of 1 command"
    assert "user" not in embed.fields[0].value
    answer = UsageAnswer.of(found)
    assert (answer.users, answer.guilds, answer.commands[0].users, answer.commands[0].guilds) == (None,) * 4


async def test_the_embed_names_commands_and_numbers_and_nobody(store):
    await filled(store)
    await register_commands(store, {"new *one*"}, MONDAY)
    await store.add_samples(MONDAY + HOUR_US, {"gateway.guilds": 2, "gateway.members": 1234})
    embed = usage_embed(await usage(Query(store), WEEK))
    fields = {field.name: field.value for field in embed.fields}
    assert embed.description == "**8 runs** of 2 commands by **4 users in 2 servers**"
    assert fields["Commands"].splitlines() == [
        f"**/ask** · 6 runs · 3 users in 1 server · 50% failed · <t:{(MONDAY + 10 * HOUR_US) // 10**6}:R>",
        f"**button Shop.buy** · 2 runs · 2 users in 2 servers · <t:{(MONDAY + 71 * HOUR_US) // 10**6}:R>",
    ]
    assert fields["Where"].splitlines() == ["83.3% in servers", "16.7% in direct messages"]
    assert fields["Servers"].splitlines() == ["2 servers, 1,234 members", "joined 2, left 1"]
    assert fields["Never used (1)"] == r"/new \*one\*"
    assert "Mon ··········█·············" in fields["Busiest hours (UTC)"]


def test_an_embed_of_long_names_is_cut_between_them_and_counts_the_rest():
    long = "_*x" * 40
    used = [UsedOperation("discord.commands", f"{long}{number}", 7, 1, DistinctCounts(9, 9), 1) for number in range(30)]
    unused = [UnusedCommand(f"{long}{number}", 1) for number in range(40)]
    found = Usage(WEEK, DistinctCounts(9, 9), used, unused, [[1] * 24] * 7, {}, {}, [])
    fields = {field.name: field.value for field in usage_embed(found).fields}
    *lines, last = fields["Commands"].splitlines()
    assert all(line.endswith("<t:0:R>") for line in lines)
    assert last == f"and {30 - len(lines)} more"
    *names, last = fields["Never used (40)"].split(", ")
    assert all(name.endswith("…") for name in names)
    assert last == f"and {40 - len(names)} more"


async def test_people_by_operation_leave_out_what_nobody_used(store):
    await filled(store)
    assert await people_of_operations(store, MONDAY, MONDAY + DAY_US) == [
        ("discord.commands", "ask", DistinctCounts(3, 1))
    ]
