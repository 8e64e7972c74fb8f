"""The story of an alert from end to end: a bot on the loopback Discord whose service fails inside of its commands."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import discord
import pytest
from discord.ext import commands
from factories import make_alert

import cogmeter
from cogmeter.settings import Settings, env_name


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.setenv("PERFORMANCE_VERSION", "1.4.0")
    monkeypatch.chdir(tmp_path)


def make_bot():
    bot = commands.Bot("!", intents=discord.Intents.all(), help_command=None)

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Fails in a service."""
        try:
            with cogmeter.operation("knowledge-graph", "query"):
                raise TimeoutError(f"no answer for {interaction.user.id}")
        except TimeoutError:
            await interaction.response.send_message("sorry")

    return bot


def breach(now_us):
    return make_alert(now_us, current=1.0, worst=1.0)


async def test_failures_inside_of_commands_have_a_context_with_affected_people_and_recent_changes(discord_server):
    cogmeter.mark("deployed by hand")
    bot, server = make_bot(), discord_server
    async with server.running(bot):
        await bot.tree.sync()
        await bot.load_extension("cogmeter.cog")
        await bot.add_cog(type("Music", (commands.Cog,), {})())
        for asker in (server.owner, server.member, server.owner):
            await (await server.interact(asker.slash("ask"))).answered()
        monitor = bot.get_cog("cogmeter").monitor
        await monitor.flusher.flush()
        story = await monitor.alerting.incidents.of(breach(time.time_ns() // 1000))
        guild = bot.guilds[0]
        secret = {str(one.id) for one in (guild, *guild.members, *guild.text_channels)}
        await bot.unload_extension("cogmeter.cog")
    assert (story.operations, story.failures, story.users, story.guilds) == (3, 3, 2, 1)
    assert (story.most_common_error, story.most_common_count) == ("TimeoutError: no answer for (id)", 3)
    assert story.example_url.startswith(f"https://discord.com/channels/{guild.id}/{guild.text_channels[0].id}/")
    assert [(one.kind, one.name) for one in story.markers] == [
        ("extension", "added cog Music"),
        ("version", "version 1.4.0"),
        ("start", "bot started"),
        ("mark", "deployed by hand"),
    ]
    assert [one for one in secret if one in await asyncio.to_thread(everything_but_errors)] == []


def everything_but_errors() -> str:
    """What is stored, without the texts of the host's own exceptions."""
    connection = sqlite3.connect("data/performance.db")
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        chosen = [(name, "metadata" if name == "operation" else "*") for name in tables]
        return "\n".join(repr(connection.execute(f"SELECT {what} FROM {name}").fetchall()) for name, what in chosen)
    finally:
        connection.close()
