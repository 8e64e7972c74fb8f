"""``cogmeter usage``: commands with the people who used them, and those that nobody uses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cogmeter.query.usage import register_commands
from cogmeter.render.formatting import NOTHING
from cogmeter_storage.usage import CONTEXT, JOINED, LOCALE, PeopleKind, UsageBatch, people_key


@pytest.fixture
def used(seed, now_us):
    """A database with six runs of a command by three users in two servers, and a command that nobody used."""

    async def add_usage(store):
        (number,) = await store.series_ids([("discord.commands", "ask")])
        hashes = np.array([one << 40 for one in (1, 2, 3, 1, 2)], np.uint64)
        keys = np.repeat([people_key(number, PeopleKind.USER), people_key(number, PeopleKind.GUILD)], [3, 2])
        counts = {(CONTEXT, "guild"): 6, (LOCALE, "de"): 6, (JOINED, ""): 2}
        await store.usage.add(UsageBatch(now_us - 9, keys, hashes, counts))
        await store.add_samples(now_us - 9, {"gateway.guilds": 12, "gateway.members": 3_400})
        await register_commands(store, {"ask", "forgotten"}, now_us)

    rows = [("discord.commands", "ask", now_us - 9, 5_000, int(number == 0), None, None) for number in range(6)]
    return seed(rows, work=add_usage)


def test_commands_people_hours_and_unused_commands_are_listed(cogmeter, used):
    code, out, err = cogmeter("usage")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Usage (Last 7 Days)"
    assert {"Runs: 6", "Users: 3", "Servers: 2", "Servers now: 12, members 3,400", "Joined / left: 2 / 0"} <= set(lines)
    (command,) = [line.split() for line in lines if line.startswith("/ask")]
    assert command[:5] == ["/ask", "6", "3", "2", "16.7%"]
    assert any("#" in line for line in lines)
    assert "/forgotten (registered" in out
    assert "in servers: 100%" in out


def test_json_has_the_fields_of_the_api_and_check_fails_for_an_unused_command(cogmeter, used):
    code, out, _ = cogmeter("usage", "--json")
    document = json.loads(out)
    assert (code, document["users"], document["guilds"], document["commands"][0]["name"]) == (0, 3, 2, "/ask")
    assert cogmeter("usage", "--check")[0] == 1


def test_people_who_were_not_counted_are_a_dash(cogmeter, seed, now_us):
    seed([("discord.commands", "ask", now_us - 9, 5_000, 0, None, None)])
    lines = cogmeter("usage")[1].splitlines()
    assert {"Runs: 1", f"Users: {NOTHING}", f"Servers: {NOTHING}"} <= set(lines)
    (command,) = [line.split() for line in lines if line.startswith("/ask")]
    assert command[:4] == ["/ask", "1", NOTHING, NOTHING]


def test_a_range_without_use_says_so(cogmeter, used):
    code, out, _ = cogmeter("usage", "--since", "2020-01-01", "--until", "2020-01-02")
    assert code == 0
    assert "No command, component or reply was used in this period." in out
