"""A discord.py that is not as expected: each hook fails in turn, the bot runs on, and the doctor says which and why."""

from __future__ import annotations

import asyncio

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.diagnostics.doctor import examine
from cogmeter.settings import Settings, env_name
from cogmeter.watch.hook import Hook, HookState

HOOKS = (
    "interaction arrivals",
    "message arrivals",
    "slash commands",
    "hybrid slash commands",
    "context menus",
    "autocomplete",
    "command tree",
    "prefix commands",
    "command errors",
    "command calls",
    "command group calls",
    "views",
    "modals",
    "dynamic items",
    "component tasks",
    "item callbacks",
    "responses",
    "listeners",
    "task loops",
    "load_extension calls",
    "reload_extension calls",
    "unload_extension calls",
    "add_cog calls",
    "remove_cog calls",
    "close calls",
    "identifies",
    "resumes",
    "REST requests",
    "webhook requests",
    "event loop errors",
    "thread errors",
    "finalizer errors",
    "log records",
)


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


class Confirm(discord.ui.View):
    @discord.ui.button(label="Yes", custom_id="yes")
    async def yes(self, interaction, button):
        await interaction.response.send_message("yes")


def make_bot():
    bot = commands.Bot("!", intents=discord.Intents.all(), help_command=None)

    @bot.tree.command()
    async def panel(interaction: discord.Interaction):
        """A panel."""
        await interaction.response.send_message("panel", view=Confirm())

    @bot.hybrid_command()
    async def both(ctx: commands.Context):
        """Works both ways."""
        await ctx.send("both")

    @bot.tree.command()
    async def pick(interaction: discord.Interaction, word: str):
        """Completes."""
        await interaction.response.send_message(word)

    @pick.autocomplete("word")
    async def words(interaction: discord.Interaction, current: str):
        return [app_commands.Choice(name="one", value="one")]

    @bot.tree.context_menu(name="Who")
    async def who(interaction: discord.Interaction, member: discord.Member):
        await interaction.response.send_message(member.name)

    return bot


async def use(server):
    """One of each; every one of them has to be answered as without us."""
    owner = server.owner
    panel = await (await server.interact(owner.slash("panel"))).answered()
    for payload in (
        owner.slash("both"),
        owner.user_menu("Who", server.world.member),
        owner.button(panel, "yes"),
        owner.slash("pick", {"word": "one"}),
    ):
        await (await server.interact(payload)).answered()
    await (await server.interact(owner.autocomplete("pick", "word", "o"))).acknowledged()
    await server.say("!both")
    await server.requested("POST /channels/{channel_id}/messages")


def failing(monkeypatch, *names):
    """Let these hooks find another signature than they expect; gives the names of all that were installed."""
    seen, install = [], Hook.install

    def worse(hook):
        seen.append(hook)
        if hook.name in names:
            hook._expects = ["something", "else"]
        return install(hook)

    monkeypatch.setattr(Hook, "install", worse)
    return seen


@pytest.mark.parametrize("name", HOOKS)
async def test_with_any_hook_missing_the_bot_runs_on_and_the_doctor_says_which_and_why(
    discord_server, monkeypatch, name
):
    seen = failing(monkeypatch, name)
    bot = make_bot()
    async with discord_server.running(bot):
        await bot.tree.sync()
        await bot.load_extension("cogmeter.cog")
        await use(discord_server)
        await asyncio.sleep(0.05)
        monitor = bot.get_cog("cogmeter").monitor
        await monitor.flusher.flush()
        found = [one for one in await examine(monitor) if one.text.startswith(f"{name}:")]
        recorded = {one.service for one in await monitor.store.series()}
        faults = {hook.name: hook.faults for hook in seen if hook.faults}
        await bot.unload_extension("cogmeter.cog")
    assert [hook.name for hook in seen if hook.state is HookState.FAILED] == [name]
    assert len(found) == 1
    assert not found[0].well
    assert "something, else" in found[0].text
    assert found[0].advice
    assert faults == {}
    assert recorded >= {"discord.commands", "discord.components", "discord.acknowledgement"}


async def test_with_every_hook_missing_the_bot_runs_on(discord_server, monkeypatch):
    seen = failing(monkeypatch, *HOOKS)
    bot = make_bot()
    async with discord_server.running(bot):
        await bot.tree.sync()
        await bot.load_extension("cogmeter.cog")
        await use(discord_server)
        await bot.unload_extension("cogmeter.cog")
    assert {hook.name for hook in seen if hook.state is HookState.FAILED} == set(HOOKS)
    assert not any(hook.faults for hook in seen)


@pytest.mark.parametrize("kind", [commands.Bot, commands.AutoShardedBot])
async def test_a_bot_with_nothing_in_it_is_watched_without_a_fault(discord_server, monkeypatch, kind):
    seen = failing(monkeypatch)
    bot = kind("!", intents=discord.Intents.all())
    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        await discord_server.say("hello")
        await discord_server.interact(discord_server.owner.slash("gone"))
        await asyncio.sleep(0.1)
        await bot.unload_extension("cogmeter.cog")
    assert seen
    assert {hook.state for hook in seen} == {HookState.OFF}
    assert not any(hook.faults for hook in seen)
