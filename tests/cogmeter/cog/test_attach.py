"""The monitor on clients without extensions: plain, sharded, before, during and after the login."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from loopback import Loopback

import cogmeter
from cogmeter.cog.attach import ANOTHER_LOOP, NOT_STARTED
from cogmeter.cog.responder import REFUSED, owners_of
from cogmeter.diagnostics.doctor import examine
from cogmeter.monitor.claim import RecorderInUseError
from cogmeter.settings import SettingsError
from cogmeter.watch.interactions.prefix import PrefixCommands

GROUP = "perf"


def own_attributes(client: discord.Client) -> dict[str, Any]:
    """What the client, its connection and its tree have as attributes of their own, and the parsers."""
    tree = getattr(client, "tree", None)
    found = {f"client.{name}": value for name, value in vars(client).items() if callable(value)}
    found |= {f"connection.{name}": value for name, value in vars(client._connection).items() if callable(value)}
    found |= {f"parser {name}": value for name, value in client._connection.parsers.items()}
    if tree is not None:
        found |= {f"tree.{name}": value for name, value in vars(tree).items() if callable(value)}
        found |= {f"command {one.name}": one for one in tree.get_commands()}
    return found


class TreeClient(discord.Client):
    def __init__(self, **options: Any) -> None:
        super().__init__(intents=discord.Intents.all(), **options)
        self.tree = app_commands.CommandTree(self)
        self.heard: list[str] = []

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        self.heard.append(message.content)


async def stored(monitor: Any) -> set[tuple[str, str]]:
    await monitor.flusher.flush()
    return {(one.service, one.operation) for one in await monitor.store.series()}


async def problems(monitor: Any) -> list[str]:
    """The lines of the doctor that fail, without the overhead, which depends on how busy the machine is."""
    await monitor.flusher.flush()
    return [f"{one.name}: {one.text}" for one in await examine(monitor) if not one.well and one.name != "overhead"]


def synced(server: Loopback) -> set[str]:
    return {command["name"] for command in server.world.commands[None]}


async def test_a_plain_client_gets_commands_records_and_checks_before_its_login(discord_server):
    client = TreeClient()

    @client.tree.command()
    async def hello(interaction: discord.Interaction) -> None:
        """Answers."""
        await interaction.response.send_message("hello")

    attachment = cogmeter.attach(client)
    async with discord_server.running(client):
        await attachment.started()
        assert synced(discord_server) == {"hello", GROUP}
        await (await discord_server.interact(discord_server.owner.slash("hello"))).answered()
        await discord_server.interact(discord_server.owner.slash("nothing"))
        await discord_server.say("hi")
        await discord_server.settled()
        monitor = attachment.monitor
        services = {
            ("discord.commands", "hello"),
            ("discord.commands", "nothing"),
            ("discord.acknowledgement", "hello"),
            ("discord.listeners", "on_message TreeClient.on_message"),
            ("discord.rest", "PUT /applications/{application_id}/commands"),
        }
        assert services <= await stored(monitor)
        assert await problems(monitor) == []
        assert not any(isinstance(surface, PrefixCommands) for surface in monitor.watcher.surfaces)
        answer = await (await discord_server.interact(discord_server.owner.slash("perf doctor"))).answered()
        assert "checks pass" in answer["embeds"][0]["description"]
        assert "/perf is registered with Discord" in [finding.text for finding in await examine(monitor)]
        refused = await (await discord_server.interact(discord_server.member.slash("perf doctor"))).answered()
        assert refused["content"] == REFUSED
    assert client.heard[-1] == "hi"
    assert not list(discord_server.violations)


async def test_a_start_and_a_stop_leave_a_client_as_it_was(discord_server):
    client = TreeClient()
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with discord_server.running(client):
        before = own_attributes(client)
        tasks = asyncio.all_tasks()
        for number in range(100):
            attachment = cogmeter.attach(client)
            assert cogmeter.attach(client) is attachment
            if number % 10 == 0:  # the other times it is stopped while it starts
                await attachment.started()
                assert GROUP in {one.name for one in client.tree.get_commands()}
            await attachment.stop()
            await attachment.stop()
        assert own_attributes(client) == before
        async with asyncio.timeout(30):
            while asyncio.all_tasks() - tasks:
                await asyncio.sleep(0.01)
        await discord_server.say("still here")
        await discord_server.settled()
        assert client.heard == ["still here"]
    left = [one.name for one in set(threading.enumerate()) - threads if one.name.startswith("cogmeter")]
    assert left == []


async def test_stopping_the_monitor_itself_removes_everything_too(discord_server):
    client = TreeClient()
    async with discord_server.running(client):
        before = own_attributes(client)
        attachment = cogmeter.attach(client)
        await attachment.started()
        await attachment.monitor.stop()
        assert own_attributes(client) == before
        again = cogmeter.attach(client)
        assert again is not attachment
        await again.started()


async def test_the_close_of_the_client_stores_what_was_recorded(discord_server, tmp_path):
    class Saving(TreeClient):
        async def close(self) -> None:
            cogmeter.record("storage", "save", duration_ms=5)  # the host's own last work
            await super().close()

    client = Saving()
    attachment = cogmeter.attach(client)
    before = own_attributes(client)
    async with discord_server.running(client):
        await attachment.started()
    assert attachment.monitor.flusher.written >= 1
    assert not cogmeter.default_recorder.buffer.rows
    left = {name for name in own_attributes(client) if name not in before}
    assert left == {"client.before_identify_hook"}  # of the loopback Discord


async def test_a_client_without_a_tree_has_no_commands_and_no_complaint(discord_server):
    client = discord.Client(intents=discord.Intents.all())

    @client.event
    async def on_message(message: discord.Message) -> None:
        await message.channel.send("heard")

    attachment = cogmeter.attach(client)
    async with discord_server.running(client):
        await discord_server.say("hi", author=discord_server.world.member)
        await discord_server.requested("POST /channels/{channel_id}/messages")
        assert ("discord.listeners", "on_message") in await stored(attachment.monitor)
        assert await problems(attachment.monitor) == []
        texts = [one.text for one in await examine(attachment.monitor) if one.name == "commands"]
        assert texts == ["no /perf: the client has no command tree"]
        await client.close()


async def test_a_tree_that_the_setup_hook_creates_gets_the_commands_when_the_client_is_ready(
    discord_server, monkeypatch
):
    monkeypatch.setenv("PERFORMANCE_SYNC_COMMANDS", "true")

    class Late(discord.Client):
        async def setup_hook(self) -> None:
            self.tree = app_commands.CommandTree(self)

            @self.tree.command()
            async def hello(interaction: discord.Interaction) -> None:
                """Fails."""
                raise ZeroDivisionError("late")

    client = Late(intents=discord.Intents.default())
    attachment = cogmeter.attach(client)
    async with discord_server.running(client):
        await discord_server.requested("PUT /applications/{application_id}/commands")
        assert synced(discord_server) == {"hello", GROUP}
        monitor = attachment.monitor
        monitor.watcher.sample()
        await discord_server.interact(discord_server.owner.slash("hello"))
        await discord_server.interact(discord_server.owner.slash("nothing"))
        await discord_server.settled()
        assert {("discord.commands", "hello"), ("discord.commands", "nothing")} <= await stored(monitor)
        assert await problems(monitor) == []


async def test_attached_in_the_setup_hook_the_next_line_may_sync_the_tree(discord_server):
    class Inside(TreeClient):
        async def setup_hook(self) -> None:
            self.attachment = cogmeter.attach(self)
            await self.tree.sync()

    client = Inside()
    async with discord_server.running(client):
        await client.attachment.started()
        assert synced(discord_server) == {GROUP}
        assert await problems(client.attachment.monitor) == []


async def test_a_setup_hook_that_the_host_sets_after_attaching_does_not_keep_it_from_starting(discord_server):
    client = discord.Client(intents=discord.Intents.default())
    attachment = cogmeter.attach(client)
    called = []

    @client.event
    async def setup_hook() -> None:
        called.append(attachment.monitor.closed)

    async with discord_server.running(client):
        async with asyncio.timeout(30):
            await attachment.started()
        assert called == [False]
        assert "query" in vars(attachment.monitor)


async def test_a_tree_that_is_given_is_used(discord_server):
    client = discord.Client(intents=discord.Intents.default())
    tree = app_commands.CommandTree(client)
    attachment = cogmeter.attach(client, tree)
    async with discord_server.running(client):
        assert [one.name for one in tree.get_commands()] == [GROUP]
        await attachment.stop()
        assert tree.get_commands() == []
    other = discord.Client(intents=discord.Intents.none())
    with pytest.raises(ValueError, match="belongs to another one"):
        cogmeter.attach(other, tree)


async def test_a_bad_setting_fails_at_once_with_its_name_and_value(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "soon")
    client = TreeClient()
    before = own_attributes(client)
    with pytest.raises(SettingsError, match="PERFORMANCE_RETENTION_HOURS='soon'"):
        cogmeter.attach(client)
    assert own_attributes(client) == before


@pytest.mark.parametrize("when", ["before the login", "after the login"])
async def test_a_start_that_fails_is_logged_and_the_client_runs(discord_server, monkeypatch, tmp_path, caplog, when):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", f"sqlite:///{tmp_path}/file/no.db")
    client = TreeClient()
    attachment = cogmeter.attach(client) if when == "before the login" else None
    async with discord_server.running(client):
        attachment = attachment or cogmeter.attach(client)
        with pytest.raises(SettingsError, match="PERFORMANCE_DATABASE_URL="):
            await attachment.started()
        (line,) = (one for one in caplog.records if one.levelno == logging.ERROR)
        assert line.getMessage().startswith(NOT_STARTED % "PERFORMANCE_DATABASE_URL=")
        assert set(own_attributes(client)) == set(own_attributes(TreeClient())) | {"client.before_identify_hook"}
        await discord_server.say("hi")
        await discord_server.settled()
        assert client.heard == ["hi"]
        await attachment.stop()


async def test_switched_off_it_changes_nothing(discord_server, monkeypatch):
    monkeypatch.setenv("ENABLE_PERFORMANCE_MONITORING", "false")
    client = TreeClient()
    before = own_attributes(client)
    attachment = cogmeter.attach(client)
    assert own_attributes(client) == before
    assert (attachment.monitor, attachment.servers) == (None, None)
    await attachment.started()
    await attachment.stop()


async def test_what_cannot_be_attached_is_refused(discord_server):
    with pytest.raises(TypeError, match=r"needs a discord\.Client"):
        cogmeter.attach("client")
    client = TreeClient()
    async with discord_server.running(client):
        pass
    with pytest.raises(RuntimeError, match="not closed"):
        cogmeter.attach(client)


async def test_the_extension_and_an_attachment_of_the_same_bot_exclude_each_other(discord_server):
    bot = commands.Bot("!", intents=discord.Intents.default())
    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        attachment = cogmeter.attach(bot)
        with pytest.raises(RecorderInUseError, match="already monitors this bot"):
            await attachment.started()
        assert bot.get_cog("cogmeter").monitor.query
        await bot.unload_extension("cogmeter.cog")


async def test_a_bot_is_attached_with_all_of_its_surfaces_and_its_own_owner_check(discord_server):
    class Owned(commands.Bot):
        async def is_owner(self, user: Any, /) -> bool:
            return user.id == int(discord_server.world.member["id"])

        async def setup_hook(self) -> None:
            await self.tree.sync()

    bot = Owned("!", intents=discord.Intents.all())

    @bot.command()
    async def ping(ctx: commands.Context) -> None:
        await ctx.send("pong")

    attachment = cogmeter.attach(bot)
    async with discord_server.running(bot):
        await discord_server.say("!ping")
        await discord_server.settled()
        assert ("discord.commands", "ping") in await stored(attachment.monitor)
        assert await problems(attachment.monitor) == []
        refused = await (await discord_server.interact(discord_server.owner.slash("perf doctor"))).answered()
        assert refused["content"] == REFUSED
        answer = await (await discord_server.interact(discord_server.member.slash("perf doctor"))).answered()
        assert answer["embeds"]


@pytest.mark.parametrize("when", ["before the login", "after the login"])
async def test_lost_connections_of_a_sharded_client_are_counted_by_shard(when):
    async with Loopback(shards=2) as server:
        client = discord.AutoShardedClient(intents=discord.Intents.default())
        attachment = cogmeter.attach(client) if when == "before the login" else None
        async with server.running(client):
            before = own_attributes(client)
            attachment = attachment or cogmeter.attach(client)
            await attachment.started()
            monitor = attachment.monitor
            await server.gateway.drop(1)
            async with asyncio.timeout(60):
                while not monitor.watcher.sample().get("gateway.reconnects"):
                    await asyncio.sleep(0.02)
            gauges = monitor.watcher.sample()
            assert gauges["gateway.disconnects.shard_1"] == 1
            assert "gateway.disconnects.shard_0" not in gauges
            await attachment.stop()
            if when == "after the login":
                assert own_attributes(client) == before
            shards = [info._parent for info in client.shards.values()]
            assert all(hook.__func__ is discord.Client.dispatch for hook in map(_unwrapped, shards))


def _unwrapped(shard: Any) -> Any:
    """The method that a shard passes its events to; a wrapper that it has kept since its connection only calls it."""
    return getattr(shard._dispatch, "__wrapped__", shard._dispatch)


async def test_the_buttons_of_an_alert_work_for_a_plain_client(discord_server, monkeypatch):
    channel = discord_server.world.channel["id"]
    monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", channel)
    monkeypatch.setenv("PERFORMANCE_CHARTS", "false")
    client = TreeClient()
    attachment = cogmeter.attach(client)
    async with discord_server.running(client):
        monitor = attachment.monitor
        for _ in range(60):
            cogmeter.record("web", "fetch", duration_ms=1, error="no")
        await monitor.flusher.flush()
        await monitor.alerting.check()
        await discord_server.requested("POST /channels/{channel_id}/messages")
        (message,) = discord_server.world.messages[channel].values()
        buttons = {one["label"]: one["custom_id"] for row in message["components"] for one in row["components"]}
        exchange = await discord_server.interact(discord_server.owner.button(message, buttons["Acknowledge"]))
        await exchange.acknowledged()
        async with asyncio.timeout(30):
            while not any(alert.acknowledged_us for alert in monitor.alerting.engine.active):
                await asyncio.sleep(0.01)
        await discord_server.settled()
        await attachment.stop()
        await discord_server.interact(discord_server.owner.button(message, buttons["Details"]))
        await discord_server.settled()  # nobody answers
    assert not list(discord_server.violations)


class Team:
    def __init__(self, *members: tuple[int, discord.TeamMemberRole]) -> None:
        self.members = [type("Member", (), {"id": number, "role": role})() for number, role in members]


def test_the_owners_are_those_of_a_bot():
    role = discord.TeamMemberRole
    owner = type("User", (), {"id": 7})()
    assert owners_of(type("Application", (), {"team": None, "owner": owner})()) == {7}
    team = Team((1, role.admin), (2, role.developer), (3, role.read_only))
    assert owners_of(type("Application", (), {"team": team, "owner": owner})()) == {1, 2}


def test_attaching_before_a_loop_runs_needs_none():
    """As at the top of a bot's module, whose last line is ``client.run(token)``."""
    client = TreeClient()
    attachment = cogmeter.attach(client)

    async def run() -> None:
        async with Loopback() as server:
            with contextlib.suppress(asyncio.CancelledError):
                async with server.running(client):
                    await attachment.started()
                    assert GROUP in synced(server)

    asyncio.run(run())
    assert attachment.monitor.closed


def test_a_client_is_detached_after_the_loop_of_its_start_has_ended():
    client = TreeClient()
    attachment = cogmeter.attach(client)
    attachment._starting = ended = asyncio.new_event_loop().create_task(asyncio.sleep(0))
    ended.get_loop().run_until_complete(ended)
    ended.get_loop().close()
    asyncio.run(attachment.stop())
    assert not attachment._login.active
    assert cogmeter.attach(client) is not attachment


def test_a_client_that_logs_in_again_on_another_loop_is_released_and_the_log_says_so(caplog):
    """As by a script that calls ``asyncio.run(client.start(token))`` until the network is there."""
    client = TreeClient()
    before, failures = own_attributes(client), [OSError("no network")]
    login = client.login

    async def first_fails(token: str) -> None:
        if failures:
            raise failures.pop()
        await login(token)

    client.login = first_fails
    attachment = cogmeter.attach(client)
    with pytest.raises(OSError, match="no network"):
        asyncio.run(client.login("token"))
    assert GROUP in {command.name for command in client.tree.get_commands()}

    async def run() -> None:
        async with Loopback() as server, server.running(client):
            assert ANOTHER_LOOP in caplog.messages
            del client.before_identify_hook  # the loopback's
            assert own_attributes(client) == {**before, "client.login": first_fails}
            await attachment.stop()

    asyncio.run(run())


def test_the_package_alone_loads_neither_discord_nor_the_recorder():
    code = "import sys, cogmeter; print([n for n in ('discord', 'asyncio', 'cogmeter.recording') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
