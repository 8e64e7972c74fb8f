"""One table: the same cause, raised on every surface, has the same outcome and keeps its own text."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Union

import aiohttp
import discord
import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from discord import app_commands, ui
from discord.ext import commands, tasks

from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter_storage import Outcome

ERROR, USER, UPSTREAM = Outcome.ERROR, Outcome.USER, Outcome.UPSTREAM
SURFACES = (Arrivals, SlashCommands, PrefixCommands, Components, Listeners, BackgroundLoops, Jobs)


class Answer:
    """The part of an aiohttp response that discord.py's exceptions read."""

    reason = "x"

    def __init__(self, status):
        self.status = status


# By name: what makes the exception, its outcome, its outcome while an argument is converted, its text.
CAUSES = {
    "a service that is down": (lambda: ConnectionError("the database is down"), ERROR, ERROR),
    "a service that is slow": (lambda: TimeoutError("no answer in 5 s"), ERROR, ERROR),
    "another library's client": (lambda: aiohttp.ClientPayloadError("cut off"), ERROR, ERROR),
    "a bug": (lambda: KeyError("colour"), ERROR, ERROR),
    "a rate limit that is too long": (lambda: discord.RateLimited(60), UPSTREAM, UPSTREAM),
    "a 429 without a way on": (lambda: discord.HTTPException(Answer(429), "banned"), UPSTREAM, UPSTREAM),
    "a 502 of a webhook": (lambda: discord.HTTPException(Answer(502), "bad gateway"), UPSTREAM, UPSTREAM),
    "a 503": (lambda: discord.DiscordServerError(Answer(503), "down"), UPSTREAM, UPSTREAM),
    "a bad value": (lambda: ValueError("no number"), ERROR, USER),
    "an unknown snowflake": (lambda: discord.NotFound(Answer(404), "Unknown User"), ERROR, USER),
    "a refusal": (lambda: commands.CheckFailure("not for you"), USER, USER),
    "a bad argument": (lambda: commands.BadArgument("no such song"), USER, USER),
    "a failure below a refusal": (lambda: below(commands.CheckFailure("no"), OSError("disk")), ERROR, ERROR),
    "a rate limit below a bad argument": (
        lambda: below(commands.BadArgument("no such user"), discord.RateLimited(60)),
        UPSTREAM,
        UPSTREAM,
    ),
    "one failure of a task group": (lambda: ExceptionGroup("tasks", [OSError("a"), KeyError("b")]), ERROR, ERROR),
    "rate limits of a task group": (
        lambda: ExceptionGroup("tasks", [commands.CheckFailure("no"), discord.RateLimited(60)]),
        UPSTREAM,
        UPSTREAM,
    ),
}
TEXTS = {
    "a failure below a refusal": "OSError: disk",
    "a rate limit below a bad argument": "RateLimited: Too many requests. Retry in 60.00 seconds.",
    "one failure of a task group": "OSError: a",
    "rate limits of a task group": "RateLimited: Too many requests. Retry in 60.00 seconds.",
}
wanted = [lambda: RuntimeError("nothing is wanted")]  # what the surfaces raise; a test sets it


def below(refusal, cause):
    refusal.__cause__ = cause
    return refusal


def fail(*_):
    error = wanted[0]()
    raise error


async def fail_soon(*_):
    error = wanted[0]()
    raise error


class Transformer(app_commands.Transformer):
    async def transform(self, interaction, value):
        fail()


class Converter(commands.Converter):
    async def convert(self, ctx, argument):
        fail()


def function(argument: str):
    fail()


class Flags(commands.FlagConverter):
    item: Converter


class Everything(commands.Cog):
    @app_commands.command()
    async def body(self, interaction: discord.Interaction):
        fail()

    @app_commands.command()
    async def transformed(self, interaction: discord.Interaction, item: app_commands.Transform[str, Transformer]):
        """Is not reached."""

    @transformed.autocomplete("item")
    async def items(self, interaction: discord.Interaction, current: str):
        fail()

    @app_commands.command()
    @app_commands.check(fail_soon)
    async def checked(self, interaction: discord.Interaction):
        """Is not reached."""

    @commands.hybrid_command()
    async def both(self, ctx: commands.Context):
        fail()

    @commands.hybrid_command()
    async def converted(self, ctx: commands.Context, item: Converter):
        """Is not reached."""

    @commands.hybrid_command()
    async def called(self, ctx: commands.Context, item: function):
        """Is not reached."""

    @commands.hybrid_command()
    @commands.check(fail_soon)
    async def guarded(self, ctx: commands.Context):
        """Is not reached."""

    @commands.command()
    async def flagged(self, ctx: commands.Context, *, flags: Flags):
        """Is not reached."""

    @commands.command()
    async def either(self, ctx: commands.Context, item: Union[int, Converter]):  # noqa: UP007 - discord.py's own way
        """Is not reached."""

    @commands.command()
    async def many(self, ctx: commands.Context, *items: Converter):
        """Is not reached."""

    @commands.Cog.listener()
    async def on_probe(self):
        fail()


class Panel(ui.View):
    @ui.button(label="fail", custom_id="fail")
    async def press(self, interaction, button):
        fail()


class Guarded(ui.View):
    async def interaction_check(self, interaction):
        fail()

    @ui.button(label="guarded", custom_id="guarded")
    async def press(self, interaction, button):
        """Is not reached."""


class Vote(ui.DynamicItem[ui.Button], template=r"vote:(?P<poll>[0-9]+)"):
    def __init__(self):
        super().__init__(ui.Button(label="Vote", custom_id="vote:1"))

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        return cls()

    async def callback(self, interaction):
        fail()


def item(name):
    return lambda server: server.owner.slash(name, {"item": "x"})


INTERACTIONS = {
    "slash body": lambda server: server.owner.slash("body"),
    "slash check": lambda server: server.owner.slash("checked"),
    "slash transformer": item("transformed"),
    "autocomplete": lambda server: server.owner.autocomplete("transformed", "item", "a"),
    "context menu": lambda server: server.owner.user_menu("Menu", server.world.member),
    "hybrid body": lambda server: server.owner.slash("both"),
    "hybrid check": lambda server: server.owner.slash("guarded"),
    "hybrid converter": item("converted"),
    "hybrid function": item("called"),
}
MESSAGES = {
    "prefix body": "!both",
    "prefix check": "!guarded",
    "prefix converter": "!converted x",
    "prefix function": "!called x",
    "prefix flags": "!flagged item: x",
    "prefix union": "!either x",
    "prefix rest": "!many x y",
}
CONVERTING = {"transformer", "converter", "function", "flags", "union", "rest"}
CONVERSIONS = {name for name in [*INTERACTIONS, *MESSAGES] if name.split()[-1] in CONVERTING}


@pytest.fixture
async def surfaces(ready_bot, discord_server):
    """By name of the surface: what makes a bot with all of them raise there."""
    await ready_bot.add_cog(Everything())

    async def menu(interaction: discord.Interaction, member: discord.Member):
        fail()

    ready_bot.tree.add_command(app_commands.ContextMenu(name="Menu", callback=menu))
    ready_bot.add_dynamic_items(Vote)
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    messages = {}
    for kind in (Panel, Guarded):
        sent = await channel.send(kind.__name__, view=kind(timeout=None))
        messages[kind] = discord_server.world.messages[str(channel.id)][str(sent.id)]
    voting = ui.View(timeout=None).add_item(ui.Button(label="Vote", custom_id="vote:1"))
    vote = await channel.send("vote", view=voting)
    vote = discord_server.world.messages[str(channel.id)][str(vote.id)]
    voting.stop()
    ways = {
        **{
            name: lambda make=make: discord_server.interact(make(discord_server)) for name, make in INTERACTIONS.items()
        },
        **{name: lambda text=text: discord_server.say(text) for name, text in MESSAGES.items()},
        "button": lambda: discord_server.interact(discord_server.owner.button(messages[Panel], "fail")),
        "view check": lambda: discord_server.interact(discord_server.owner.button(messages[Guarded], "guarded")),
        "dynamic item": lambda: discord_server.interact(discord_server.owner.button(vote, "vote:1")),
    }

    async def listener():
        ready_bot.dispatch("probe")

    return ways | {"listener": listener}


@pytest.fixture
async def background():
    """By name: what makes a loop that is tried again, and a job, raise once."""
    scheduler, loops = AsyncIOScheduler(timezone=UTC), []
    scheduler.start()

    async def loop():
        failed = asyncio.Event()

        async def fail_once():
            if failed.is_set():  # discord.py starts a failed iteration again, at once or after seconds
                await asyncio.Event().wait()
            failed.set()
            await fail_soon()

        one = tasks.loop(hours=1)(fail_once)
        one.add_exception_type(Exception)
        one.start()
        loops.append(one)

    async def job():
        scheduler.add_job(fail_soon)

    yield {"loop": loop, "job": job}
    for one in loops:
        one.cancel()
    scheduler.shutdown(wait=False)
    await asyncio.sleep(0)


@pytest.fixture
def ends(recorded):
    """``ends()``: what was recorded, without discord.py's own listeners of command errors."""

    def read():
        return [one for one in recorded() if one.service != "discord.listeners" or one.operation.startswith("on_probe")]

    return read


async def one_more(ends, before):
    async with asyncio.timeout(60):
        while len(ends()) == before:
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.002)
    (new,) = ends()[before:]
    return new


@pytest.mark.parametrize("cause", CAUSES)
async def test_one_cause_has_one_outcome_and_its_own_text_on_every_surface(
    ready_bot, surfaces, background, watching, ends, cause, monkeypatch
):
    make, outcome, converting = CAUSES[cause]
    monkeypatch.setitem(globals(), "wanted", [make])
    error = make()
    text = TEXTS.get(cause, f"{type(error).__name__}: {error}")
    found, expected = {}, {}
    async with watching(ready_bot, *SURFACES):
        for name, trigger in (surfaces | background).items():
            before = len(ends())
            await trigger()
            one = await one_more(ends, before)
            found[name] = (one.outcome, one.error)
            expected[name] = (converting if name in CONVERSIONS else outcome, text)
    if converting is USER:  # discord.py speaks for several converters, and for a function
        expected["prefix union"] = (USER, 'BadUnionArgument: Could not convert "item" into int or Converter.')
    if converting is not outcome:
        expected["prefix function"] = (USER, 'BadArgument: Converting to "function" failed for parameter "item".')
        expected["hybrid function"] = (USER, 'BadArgument: Converting to "function" failed')
    assert found == expected


async def test_a_connection_to_discord_that_fails_is_upstream_wherever_it_is_seen(
    discord_server, ready_bot, watching, ends
):
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    ready_bot.http._HTTPClient__session._connector._resolve_host = refuse
    ready_bot.http._HTTPClient__session._connector._conns.clear()

    @ready_bot.tree.command()
    async def sends(interaction: discord.Interaction):
        """Sends to a Discord that cannot be reached."""
        await channel.send("hello")

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("sends"))
        one = await one_more(ends, 0)
    assert (one.operation, one.outcome) == ("sends", UPSTREAM)
    assert "no route" in one.error


async def refuse(*_, **__):
    raise OSError(113, "no route to Discord")
