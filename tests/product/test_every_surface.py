"""One bot with every surface, on the loopback Discord: exactly the expected operations and outcomes are stored."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter

import discord
import pytest
from discord import app_commands
from discord.ext import commands, tasks

import cogmeter
from cogmeter.query.records import Period
from cogmeter.settings import Settings, env_name


class Confirm(discord.ui.View):
    """A persistent view."""

    def __init__(self):
        super().__init__(timeout=None)

    @discord.ui.button(label="Yes", custom_id="confirm:yes")
    async def yes(self, interaction, button):
        await interaction.response.send_message("yes")

    @discord.ui.button(label="No", custom_id="confirm:no")
    async def no(self, interaction, button):
        raise ValueError("no is broken")

    @discord.ui.select(custom_id="confirm:choice", options=[discord.SelectOption(label="a", value="a")])
    async def choice(self, interaction, select):
        await interaction.response.defer()

    async def on_error(self, interaction, error, item):
        await interaction.response.send_message("sorry")


class Question(discord.ui.Modal, title="Question"):
    """A modal."""

    answer = discord.ui.TextInput(label="Answer", custom_id="answer")

    def __init__(self):
        super().__init__(custom_id="question")

    async def on_submit(self, interaction):
        await interaction.response.send_message("thanks")


class Vote(discord.ui.DynamicItem[discord.ui.Button], template=r"vote:(?P<id>[0-9]+)"):
    """A dynamic item."""

    def __init__(self, number):
        super().__init__(discord.ui.Button(label="Vote", custom_id=f"vote:{number}"))
        self.number = number

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        return cls(int(match["id"]))

    async def callback(self, interaction):
        await interaction.response.send_message("counted")


class Everything(commands.Cog):
    """Commands and listeners of every kind, with an error handler of the cog's own."""

    def __init__(self):
        self.handled = Counter()

    group = app_commands.Group(name="group", description="A group")

    @group.command()
    async def inner(self, interaction: discord.Interaction):
        """A command in a group."""
        with cogmeter.operation("knowledge-graph", "query"):
            await asyncio.sleep(0)
        await interaction.response.send_message("inner")

    @app_commands.command()
    async def fine(self, interaction: discord.Interaction, word: str = ""):
        """A command that works."""
        await interaction.response.defer()
        await interaction.followup.send("fine")

    @fine.autocomplete("word")
    async def words(self, interaction: discord.Interaction, current: str):
        return [app_commands.Choice(name="one", value="one")]

    @app_commands.command()
    async def broken(self, interaction: discord.Interaction):
        """A command that fails."""
        raise KeyError("missing")

    @app_commands.command()
    async def handled(self, interaction: discord.Interaction):
        """A command that fails, with a handler of its own."""
        raise RuntimeError("own handler")

    @handled.error
    async def on_handled(self, interaction, error):
        await interaction.response.send_message("handled")

    @app_commands.command()
    @app_commands.check(lambda interaction: False)
    async def forbidden(self, interaction: discord.Interaction):
        """A command whose check fails."""

    @app_commands.command()
    @app_commands.checks.cooldown(1, 3600)
    async def cooled(self, interaction: discord.Interaction):
        """A command with a cooldown."""
        await interaction.response.send_message("cool")

    @app_commands.command()
    async def blocking(self, interaction: discord.Interaction):
        """A command that blocks before its first await."""
        time.sleep(0.5)
        await interaction.response.send_message("blocked")

    @commands.hybrid_command()
    async def hybrid(self, ctx: commands.Context, fails: bool = False):
        """A hybrid command."""
        if fails:
            raise LookupError("hybrid")
        await ctx.send("hybrid")

    @commands.command()
    async def prefix(self, ctx: commands.Context, number: int):
        """A prefix command."""
        await ctx.send(str(number))

    @commands.Cog.listener()
    async def on_message(self, message):
        if message.content == "break the listener":
            raise OSError("listener")

    async def cog_app_command_error(self, interaction, error):
        pass

    async def cog_command_error(self, ctx, error):
        pass


async def make_bot(kind):
    bot = kind(command_prefix="!", intents=discord.Intents.all(), help_command=None)
    await bot.add_cog(Everything())

    @bot.tree.context_menu(name="Who is this")
    async def who(interaction: discord.Interaction, member: discord.Member):
        await interaction.response.send_message(member.name)

    @bot.tree.command()
    async def panel(interaction: discord.Interaction):
        """A panel."""
        view = Confirm()
        view.add_item(Vote(7))
        await interaction.response.send_message("panel", view=view)

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """A modal."""
        await interaction.response.send_modal(Question())

    @bot.tree.error
    async def on_tree_error(interaction, error):
        pass

    @bot.event
    async def on_command_error(ctx, error):
        pass

    bot.add_view(Confirm())
    bot.add_dynamic_items(Vote)
    return bot


async def use(server, bot):
    """Everything that a user can do, each once, unless said otherwise."""
    owner = server.owner

    async def did(payload, wait="answered"):
        exchange = await server.interact(payload)
        return await getattr(exchange, wait)()

    panel = await did(owner.slash("panel"))
    await did(owner.slash("group inner"))
    await did(owner.slash("fine"))
    await did(owner.autocomplete("fine", "word", "o"), "acknowledged")
    await server.interact(owner.slash("broken"))
    await did(owner.slash("handled"))
    await server.interact(owner.slash("forbidden"))
    await did(owner.slash("cooled"))
    await server.interact(owner.slash("cooled"))
    await did(owner.slash("blocking"))
    await did(owner.slash("hybrid"))
    await server.interact(owner.slash("hybrid", {"fails": True}))
    await did(owner.user_menu("Who is this", server.world.member))
    await did(owner.slash("ask"), "acknowledged")
    await did(owner.modal("question", {"answer": "42"}))
    await did(owner.button(panel, "confirm:yes"))
    await did(owner.button(panel, "confirm:no"))
    await did(owner.select(panel, "confirm:choice", ["a"]), "acknowledged")
    await did(owner.button(panel, "vote:7"))
    for text in ("!hybrid", "!hybrid true", "!prefix 5", "!prefix five", "!nothing", "break the listener"):
        await server.say(text)
    await asyncio.sleep(0.3)


COMMANDS = {
    ("panel", "ok"): 1,
    ("group inner", "ok"): 1,
    ("fine", "ok"): 1,
    ("broken", "error"): 1,
    ("handled", "error"): 1,
    ("forbidden", "user"): 1,
    ("cooled", "ok"): 1,
    ("cooled", "user"): 1,
    ("blocking", "ok"): 1,
    ("hybrid", "ok"): 2,
    ("hybrid", "error"): 2,
    ("Who is this", "ok"): 1,
    ("ask", "ok"): 1,
    ("prefix", "ok"): 1,
    ("prefix", "user"): 1,
    ("(unknown)", "user"): 1,
}


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


def stored(service):
    connection = sqlite3.connect("data/performance.db")
    rows = connection.execute(
        "SELECT operation, outcome, duration_ms, error, metadata FROM operations WHERE service = ?", (service,)
    ).fetchall()
    connection.close()
    return rows


def counted(service):
    return Counter(row[:2] for row in stored(service))


async def watched(server, kind, *, early, reloads=0):
    bot = await make_bot(kind)
    if early:
        await bot.load_extension("cogmeter.cog")
    loops = Counter()

    @tasks.loop(seconds=0.05)
    async def ticking():
        loops["ticks"] += 1
        if loops["ticks"] == 3:
            raise ArithmeticError("died")

    async with server.running(bot):
        await bot.tree.sync()
        if not early:
            await bot.load_extension("cogmeter.cog")
        for _ in range(reloads):
            await bot.reload_extension("cogmeter.cog")
        ticking.start()
        await use(server, bot)
        await asyncio.gather(
            ticking.get_task(), return_exceptions=True
        )  # or asyncio would tell of it at some later time
        monitor = bot.get_cog("cogmeter").monitor
        await monitor.flusher.flush()
        for refused in ("forbidden", "cooled"):
            stats = await monitor.query.stats("discord.commands", refused, Period.HOUR)
            assert (stats.total.failures, stats.total.error_rate) == (0, 0.0)
        await bot.unload_extension("cogmeter.cog")


@pytest.mark.parametrize("early", [True, False], ids=["before login", "after login"])
@pytest.mark.parametrize("kind", [commands.Bot, commands.AutoShardedBot])
async def test_everything_is_recorded_once_and_for_what_it_is(discord_server, kind, early):
    await watched(discord_server, kind, early=early)
    expect_everything()


async def test_everything_is_recorded_once_after_a_hundred_reloads(discord_server):
    await watched(discord_server, commands.Bot, early=True, reloads=100)
    expect_everything()


def expect_everything():
    assert counted("discord.commands") == COMMANDS
    assert counted("discord.autocomplete") == {("fine word", "ok"): 1}
    components = counted("discord.components")
    assert {(name, outcome): count for (name, outcome), count in components.items()} == {
        ("Confirm.yes", "ok"): 1,
        ("Confirm.no", "error"): 1,
        ("Confirm.choice", "ok"): 1,
        ("Question", "ok"): 1,
        ("Vote", "ok"): 1,
    }
    assert counted("discord.listeners")[("on_message Everything.on_message", "error")] == 1
    ticks = Counter(row[1] for row in stored("discord.tasks") if "ticking" in row[0])
    assert ticks["ok"] == 2
    assert ticks["error"] >= 1
    (inner,) = stored("knowledge-graph")
    assert json.loads(inner[4])["command"] == "group inner"
    assert json.loads(inner[4])["parent"] == "group inner"
    (blocking,) = [row for row in stored("discord.commands") if row[0] == "blocking"]
    assert blocking[2] >= 500
    (acknowledged,) = [row for row in stored("discord.acknowledgement") if row[0] == "blocking"]
    assert acknowledged[2] >= 500
    # A busy machine can add stalls of its own; this one is known by the line that blocked.
    stall = max((row for row in stored("discord.stalls") if "blocking" in row[0]), key=lambda row: row[2])
    assert stall[2] >= 400
    assert "blocking" in json.loads(stall[4])["during"]
    sent = counted("discord.rest")
    assert sent[("POST /interactions/{webhook_id}/{webhook_token}/callback", "ok")] >= 12
