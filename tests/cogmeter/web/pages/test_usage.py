"""The page "Usage", its JSON and its metrics: the same numbers, without any id."""

import time

import numpy as np

from cogmeter.query.usage import register_commands
from cogmeter.render.formatting import NOTHING
from cogmeter_storage.usage import CONTEXT, JOINED, LOCALE, PeopleKind, UsageBatch, people_key

PAGE = "/performance/usage"
API = "/api/performance/usage"


async def used(web):
    """Five runs of a command by three users in two guilds, now; and a registered command that nobody used."""
    now_us = time.time_ns() // 1000
    store = web.monitor.store
    (number,) = await store.series_ids([("discord.commands", "ask <b>")])
    rows = [(number, now_us, 1_000, int(one == 0), None, None) for one in range(5)]
    await store.append([rows], now_us=now_us)
    hashes = np.array([one << 40 for one in (1, 2, 3, 1, 2)], np.uint64)
    keys = np.repeat([people_key(number, PeopleKind.USER), people_key(number, PeopleKind.GUILD)], [3, 2])
    counts = {(CONTEXT, "user_install"): 1, (CONTEXT, "guild"): 4, (LOCALE, "de"): 5, (JOINED, ""): 2}
    await store.usage.add(UsageBatch(now_us, keys, hashes, counts))
    await store.add_samples(now_us, {"gateway.guilds": 12, "gateway.members": 3400})
    await register_commands(store, {"ask <b>", "forgotten"}, now_us)


async def test_the_page_shows_commands_people_hours_places_and_what_nobody_uses(served):
    async with served() as web:
        await used(web)
        page = (await web.get(PAGE)).text
    assert "/ask &lt;b&gt;" in page
    assert '<a href="/performance/services/discord.commands?operation=ask%20%3Cb%3E">' in page
    assert "/forgotten" in page
    assert ">12<" in page
    assert page.count('class="heat-5"') == 1
    assert page.count('class="heat-0"') == 7 * 24 - 1
    assert "elsewhere, as a user" in page
    assert 'aria-current="page"' in page


async def test_people_who_were_not_counted_are_a_dash(served):
    async with served() as web:
        now_us = time.time_ns() // 1000
        (number,) = await web.monitor.store.series_ids([("discord.commands", "ask")])
        await web.monitor.store.append([[(number, now_us, 1_000, 0, None, None)]], now_us=now_us)
        page, document = (await web.get(PAGE)).text, (await web.get(API)).json()
    assert f'<td class="number" data-label="Users" data-value="-1">{NOTHING}</td>' in page
    assert (document["users"], document["commands"][0]["guilds"]) == (None, None)


async def test_the_page_of_an_unused_bot_says_so(served):
    async with served() as web:
        page = (await web.get(PAGE)).text
    assert "No command, component or reply was used in this period." in page
    assert 'class="heat' not in page


async def test_the_json_has_the_same_numbers(served):
    async with served() as web:
        await used(web)
        document = (await web.get(API)).json()
        narrow = (await web.get(f"{API}?since=2020-01-01&until=2020-01-02")).json()
    (command,) = document["commands"]
    assert (command["name"], command["service"]) == ("/ask <b>", "discord.commands")
    assert (command["operations"], command["failures"], command["errorRate"]) == (5, 1, 0.2)
    assert (command["users"], command["guilds"]) == (document["users"], document["guilds"]) == (3, 2)
    assert [one["name"] for one in document["unused"]] == ["/forgotten"]
    assert sum(map(sum, document["heatMap"])) == document["operations"] == 5
    assert document["contexts"] == {"guild": 4, "user_install": 1}
    assert (document["locales"], document["joined"], document["left"]) == ({"de": 5}, 2, 0)
    assert document["audience"][-1]["guilds"] == 12
    assert (narrow["commands"], narrow["operations"], narrow["audience"]) != ([], 0, [])
    assert narrow["commands"] == []


async def test_the_metrics_have_users_and_guilds_by_command(served):
    async with served() as web:
        await used(web)
        metrics = (await web.get("/metrics")).text
    assert 'chatterbot_command_users{operation="ask <b>",service="discord.commands"} 3' in metrics.replace(".0", "")
    assert 'chatterbot_command_guilds{operation="ask <b>",service="discord.commands"} 2' in metrics.replace(".0", "")
