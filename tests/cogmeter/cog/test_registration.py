"""The command group in trees without a place for it, and Discords that refuse it: monitoring continues."""

import asyncio
import logging
import socket

import aiohttp
import discord
import pytest
from discord import app_commands
from discord.ext import commands
from loopback import Loopback, connection_reset, server_error

import cogmeter
from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health

EXTENSION = "cogmeter.cog"
GUILD = discord.Object(42)


def make_bot(tree=app_commands.CommandTree):
    return commands.Bot("!", intents=discord.Intents.none(), tree_cls=tree)


def command(name):
    async def answer(interaction: discord.Interaction):
        """Answers."""

    return app_commands.Command(name=name, description="x", callback=answer)


def fill(tree, count, **where):
    for number in range(count):
        tree.add_command(command(f"c{number}"), **where)


def everything(tree):
    """All that a tree has, in order, and what stands on the object itself."""
    guilds = {guild: list(found.items()) for guild, found in tree._guild_commands.items() if found}
    own = {name: value for name, value in vars(tree).items() if callable(value)}
    return list(tree._global_commands.items()), guilds, dict(tree._context_menus), own


def lines(caplog):
    return [one.getMessage() for one in caplog.records if one.name == "cogmeter.cog" and one.levelno >= logging.WARNING]


async def reported(bot, name="commands"):
    (found,) = (one for one in await examine(bot.get_cog("cogmeter").monitor) if one.name == name)
    return found


class Broken(app_commands.CommandTree):
    def add_command(self, command, /, **options):
        if isinstance(command, app_commands.Group):
            raise ZeroDivisionError("no groups\nin this house")
        super().add_command(command, **options)


class Silent(app_commands.CommandTree):
    def add_command(self, command, /, **options):
        if not isinstance(command, app_commands.Group):
            super().add_command(command, **options)


class Blind(app_commands.CommandTree):
    def get_command(self, *arguments, **options):
        raise NotImplementedError("ask somebody else")


def full(tree):
    fill(tree, 100)


def full_guild(tree):
    fill(tree, 100, guild=GUILD)


def taken(tree):
    tree.add_command(command("perf"))


HOSTS = {
    "a hundred commands": (app_commands.CommandTree, full, {}, ["has 100 slash commands", "Set PERFORMANCE_GUILD_ID"]),
    "a hundred in the server": (
        app_commands.CommandTree,
        full_guild,
        {"PERFORMANCE_GUILD_ID": "42"},
        ["PERFORMANCE_GUILD_ID=42", "has 100 slash commands", "Choose another server"],
    ),
    "the name is used": (
        app_commands.CommandTree,
        taken,
        {},
        ["PERFORMANCE_COMMAND_GROUP=perf", "has a /perf of its own", "to another name"],
    ),
    "a tree that raises": (Broken, lambda _: None, {}, ["(Broken) refused it: ZeroDivisionError: no groups in this"]),
    "a tree that ignores": (Silent, lambda _: None, {}, ["(Silent) refused it", "does not contain the command"]),
    "a tree that cannot be asked": (Blind, lambda _: None, {}, ["(Blind) refused it"]),
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_tree_without_a_place_costs_the_command_alone_and_one_line_says_what_to_do(host, monkeypatch, caplog):
    tree, prepare, settings, words = HOSTS[host]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("PERFORMANCE_DASHBOARD_PORT", str(port))
    monkeypatch.setenv("ENABLE_ANALYTICS_DASHBOARD", "true")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    async with make_bot(tree) as bot:
        prepare(bot.tree)
        before = everything(bot.tree)
        await bot.load_extension(EXTENSION)
        (line,) = lines(caplog)
        assert line.startswith("/perf is left out: ")
        assert "\n" not in line
        assert all(word in line for word in words), line
        finding = await reported(bot)
        assert not finding.well
        assert (finding.text in line, finding.advice in line) == (True, True)
        monitor = bot.get_cog("cogmeter").monitor
        cogmeter.record("music", "play", duration_ms=3)
        await monitor.flusher.flush()
        await monitor.alerting.check()
        assert ("music", "play") in {(one.service, one.operation) for one in await monitor.store.series()}
        async with aiohttp.ClientSession() as web, web.get(f"http://127.0.0.1:{port}/") as page:
            assert page.status == 200
        assert [one.name for one in await Health(monitor).own() if one.name == "commands"] == ["commands"]
        bot.dispatch("ready")
        await asyncio.sleep(0.01)
        await bot.unload_extension(EXTENSION)
        assert everything(bot.tree) == before
    assert lines(caplog) == [line]


async def test_twenty_five_groups_of_twenty_five_leave_room(caplog):
    async with make_bot() as bot:
        for number in range(25):
            group = app_commands.Group(name=f"g{number}", description="x")
            for one in range(25):
                group.add_command(command(f"c{one}"))
            bot.tree.add_command(group)
        before = everything(bot.tree)
        await bot.load_extension(EXTENSION)
        assert bot.tree.get_command("perf") is not None
        assert (await reported(bot)).well
        await bot.unload_extension(EXTENSION)
        assert everything(bot.tree) == before
    assert not lines(caplog)


class Late(commands.Cog):
    @app_commands.command()
    async def late(self, interaction: discord.Interaction):
        """Is added after the extension."""


async def add_cog(bot):
    await bot.add_cog(Late())
    return "late"


async def add_own(bot):
    bot.tree.add_command(command("perf"))
    return "perf"


async def add_hybrid(bot):
    @bot.hybrid_command(name="both")
    async def both(ctx: commands.Context):
        """Is both."""

    return "both"


async def copy(bot):
    bot.tree.add_command(command("there"), guild=GUILD)
    bot.tree.copy_global_to(guild=GUILD)
    return "c1"


@pytest.mark.parametrize("add", [add_cog, add_own, add_hybrid, copy], ids=lambda one: one.__name__)
async def test_a_command_that_the_host_adds_later_takes_the_place(add, caplog):
    async with make_bot() as bot:
        fill(bot.tree, 99)
        await bot.load_extension(EXTENSION)
        ours = bot.tree.get_command("perf")
        assert ours is not None
        name = await add(bot)
        assert bot.tree.get_command(name) not in (None, ours)
        (line,) = lines(caplog)
        assert line.startswith("/perf is left out: ")
        assert not (await reported(bot)).well
        before = everything(bot.tree)
        await bot.unload_extension(EXTENSION)
        assert everything(bot.tree)[:3] == before[:3]
        assert not everything(bot.tree)[3]


async def test_a_limit_that_is_not_due_to_the_group_is_the_hosts_to_hear_of(caplog):
    async with make_bot() as bot:
        fill(bot.tree, 3)
        fill(bot.tree, 100, guild=GUILD)
        await bot.load_extension(EXTENSION)
        ours = bot.tree.get_command("perf")
        with pytest.raises(app_commands.CommandLimitReached):
            bot.tree.add_command(command("more"), guild=GUILD)
        with pytest.raises(app_commands.CommandAlreadyRegistered):
            bot.tree.add_command(command("c1"))
        with pytest.raises(TypeError):
            bot.tree.add_command("no command")
        assert bot.tree.get_command("perf") is ours
        assert (await reported(bot)).well
    assert not lines(caplog)


async def test_the_doctor_reports_a_group_that_the_host_replaced_or_removed():
    async with make_bot() as bot:
        await bot.load_extension(EXTENSION)
        bot.tree.add_command(own := command("perf"), override=True)
        assert "replaced or removed" in (await reported(bot)).text
        await bot.unload_extension(EXTENSION)
        assert bot.tree.get_command("perf") is own


class Answer:
    """The part of an aiohttp response that discord.py's exceptions read."""

    reason = "x"

    def __init__(self, status):
        self.status = status


def refusal(status, code, text):
    kind = discord.Forbidden if status == 403 else discord.HTTPException
    return kind(Answer(status), {"code": code, "message": text})


REFUSALS = {
    "no access": (refusal(403, 50001, "Missing Access"), "scope `applications.commands`"),
    "too many": (refusal(400, 30032, "Maximum number of application commands reached (100)"), "Remove one command"),
    "too many a day": (refusal(400, 30034, "Max number of daily creates (200)"), "tomorrow"),
    "a bad command": (refusal(400, 50035, "Invalid Form Body"), "Correct what Discord names"),
    "the network": (aiohttp.ClientConnectionError("no route"), "try again"),
    "a slow network": (TimeoutError(), "try again"),
    "the host's translator": (app_commands.TranslationError("no", context=None), "try again"),
    "the host's tree": (KeyError("c7"), "try again"),
}


@pytest.mark.parametrize("sync", ["true", "false"])
@pytest.mark.parametrize("cause", REFUSALS)
async def test_a_discord_that_refuses_the_commands_is_reported_once_with_the_next_step(
    cause, sync, caplog, monkeypatch
):
    error, advice = REFUSALS[cause]

    class Refused(app_commands.CommandTree):
        async def sync(self, *, guild=None):
            raise error

        async def fetch_commands(self, *, guild=None):
            raise error

    monkeypatch.setenv("PERFORMANCE_SYNC_COMMANDS", sync)
    async with make_bot(Refused) as bot:
        await bot.load_extension(EXTENSION)
        bot.dispatch("ready")
        await asyncio.sleep(0.05)
        (line,) = lines(caplog)
        finding = await reported(bot, "registration")
        assert advice in finding.advice
        assert (finding.text in line, finding.advice in line) == (True, True)
        assert type(error).__name__ in line
        assert bot.tree.get_command("perf") is not None
        await bot.unload_extension(EXTENSION)


@pytest.mark.parametrize("fault", [server_error(503), connection_reset()], ids=lambda one: one.kind)
async def test_a_sync_that_fails_on_the_way_leaves_the_bot_monitored(fault, caplog):
    bot = commands.Bot("!", intents=discord.Intents.default())
    bot.setup_hook = lambda: bot.load_extension(EXTENSION)
    async with Loopback() as server:
        server.fail(fault, "PUT /applications/{application_id}/commands", times=9)
        async with server.running(bot):
            async with asyncio.timeout(60):
                while not lines(caplog):
                    await asyncio.sleep(0.005)
            assert not (await reported(bot, "registration")).well
            exchange = await server.interact(server.owner.slash("perf summary"))
            assert await exchange.answered()
