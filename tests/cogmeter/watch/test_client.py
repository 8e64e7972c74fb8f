"""Events of clients that have no `add_listener`, and what a plain client has of a bot."""

from __future__ import annotations

import logging
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from loopback import Loopback

from cogmeter.watch.client import ClientEvents, bot_of, tree_of
from cogmeter.watch.gateway import Gateway
from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.slash import SlashCommands


def plain(**options: Any) -> discord.Client:
    return discord.Client(intents=discord.Intents.all(), **options)


def test_bots_and_trees_are_found_where_a_client_has_them():
    client = plain()
    assert (bot_of(client), tree_of(client)) == (None, None)
    tree = app_commands.CommandTree(client)
    assert tree_of(client) is tree
    for kind in (commands.Bot, commands.AutoShardedBot):
        bot = kind("!", intents=discord.Intents.none())
        assert bot_of(bot) is bot
        assert tree_of(bot) is bot.tree


async def test_listeners_get_events_in_addition_to_the_methods_of_the_host(discord_server):
    client, heard, host = plain(), [], []

    @client.event
    async def on_message(message: discord.Message) -> None:
        host.append(message.content)

    async def listener(message: discord.Message) -> None:
        heard.append(message.content)

    async def custom(value: int) -> None:
        heard.append(value)

    async with discord_server.running(client):
        before = dict(vars(client)), client._connection.dispatch
        events = ClientEvents(client)
        events.add("on_message", listener)
        events.add("on_own", custom)
        await discord_server.say("one")
        client.dispatch("own", 5)
        await discord_server.settled()
        events.remove("on_own", custom)
        client.dispatch("own", 6)
        events.remove("on_message", listener)
        events.remove("on_message", listener)
        assert (vars(client), client._connection.dispatch) == before
        await discord_server.say("two")
        await discord_server.settled()
    assert host == ["one", "two"]
    assert sorted(heard, key=str) == [5, "one"]


async def test_a_fault_of_a_listener_is_counted_and_the_host_gets_its_event(discord_server, caplog):
    client, host = plain(), []

    @client.event
    async def on_message(message: discord.Message) -> None:
        host.append(message.content)

    async def listener(message: discord.Message) -> None:
        host.append("ours")

    real = client._schedule_event

    def schedule(coro: Any, *arguments: Any) -> Any:
        if coro is listener:
            raise RuntimeError("no task")
        return real(coro, *arguments)

    client._schedule_event = schedule
    async with discord_server.running(client):
        events = ClientEvents(client)
        events.add("on_message", listener)
        await discord_server.say("one")
        await discord_server.settled()
        assert sum(hook.faults for hook in events.hooks) == 1
        events.remove("on_message", listener)
    assert host == ["one"]
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert errors == ["The hook on connection's events failed"]


async def test_a_wrapper_of_the_host_above_stays_and_calls_the_original(discord_server):
    client = plain()
    async with discord_server.running(client):
        events = ClientEvents(client)
        heard: list[str] = []

        async def listener() -> None:
            heard.append("ours")

        events.add("on_own", listener)
        ours = client.dispatch

        def dispatch(event: str, *arguments: Any) -> None:
            heard.append(event)
            ours(event, *arguments)

        client.dispatch = dispatch
        (hook,) = (one for one in events.hooks if one.name == "client's events")
        events.remove("on_own", listener)
        assert hook.state is HookState.BURIED
        client.dispatch("own")
        await discord_server.settled()
        assert heard == ["own"]


@pytest.mark.parametrize("shards", [1, 2])
async def test_the_connection_of_a_plain_client_is_counted(watching, shards):
    async with Loopback(shards=shards) as server:
        client = discord.AutoShardedClient(intents=discord.Intents.none()) if shards == 2 else plain()
        async with server.running(client), watching(client, Gateway) as gateway:
            await server.gateway.drop(shards - 1)
            await server.sent_op(6)
            await server.settled()
            counted = gateway.sample()
            assert (counted["gateway.disconnects"], counted["gateway.resumes"]) == (1, 1)


async def test_without_its_hooks_a_plain_client_is_watched_by_its_public_events(
    discord_server, watching, recorded, monkeypatch
):
    client = plain()
    tree = app_commands.CommandTree(client)

    @tree.command()
    async def hello(interaction: discord.Interaction) -> None:
        """Answers."""
        await interaction.response.send_message("hello")

    parsers = client._connection.parsers
    real = parsers["INTERACTION_CREATE"]

    def other(payload: Any) -> None:  # another signature: the hook fails
        real(payload)

    parsers["INTERACTION_CREATE"] = other
    monkeypatch.setattr(app_commands.Command, "_invoke_with_namespace", _renamed(app_commands.Command))
    async with discord_server.running(client), watching(client, Arrivals, SlashCommands) as (arrivals, slash):
        failed = {hook.name for hook in (*arrivals.hooks, *slash.hooks) if hook.state is HookState.FAILED}
        assert failed == {"interaction arrivals", "slash commands"}
        await (await discord_server.interact(discord_server.owner.slash("hello"))).answered()
        await discord_server.settled()
        assert [one.operation for one in recorded("discord.commands")] == ["hello"]
    assert "dispatch" not in vars(client)


def _renamed(kind: type) -> Any:
    real = kind._invoke_with_namespace

    async def invoke(self: Any, interaction: Any, chosen: Any) -> Any:
        return await real(self, interaction, chosen)

    return invoke
