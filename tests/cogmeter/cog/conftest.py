"""A small guild in the simulated Discord, with a bot that has the extension loaded."""

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import discord
import pytest
import simcord
from discord.ext import commands

from cogmeter.settings import Settings, env_name


@dataclass
class Home:
    """The guild, its people, and the bot."""

    env: Any
    bot: commands.Bot
    guild: Any
    channel: Any
    owner: Any
    stranger: Any

    @property
    def monitor(self):
        return self.bot.get_cog("cogmeter").monitor

    async def flushed(self):
        """Wait until everything that was recorded is stored."""
        await self.monitor.flusher.stop()
        self.monitor.flusher._stopping = False
        self.monitor.flusher.start()


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_SYNC_COMMANDS", "true")
    # A machine that is busy with other tests blocks the loop for seconds: no operation, and no alert, of the bot's.
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")
    for rule in ("STALL", "ACKNOWLEDGEMENT"):
        monkeypatch.setenv(f"PERFORMANCE_ALERT_THRESHOLD_{rule}", "0")


@pytest.fixture
def move_in(monkeypatch):
    """Opens a home; settings are given by their environment names, or as functions of the guild's channel."""

    @asynccontextmanager
    async def opened(*, load=True, prepare=None, **settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=1)
        async with simcord.run(bot, settle_timeout=60) as env:
            guild = env.create_guild("home")
            channel = guild.create_text_channel("ops")
            owner, stranger = env.create_user("owner"), env.create_user("stranger")
            home = Home(env, bot, guild, channel, guild.add_member(owner), guild.add_member(stranger))
            bot.owner_id = owner.id
            if prepare is not None:
                await prepare(home, monkeypatch)
            if load:
                await bot.load_extension("cogmeter.cog")
                await env.settle()
            try:
                yield home
            finally:
                for name in list(home.bot.extensions):  # after a restart, another bot's
                    await home.bot.unload_extension(name)

    return opened
