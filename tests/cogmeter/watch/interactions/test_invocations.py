"""Slash and prefix commands together: handlers of every level, failed hooks one by one, nesting, removal."""

from __future__ import annotations

import asyncio
import time

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from discord.ext.commands.hybrid import HybridAppCommand

import cogmeter.watch.interactions.arrivals
from cogmeter.watch.hook import Hook, HookState
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import REFUSED, UNSEEN, SlashCommands
from cogmeter_storage import Outcome

OK, ERROR, USER, UPSTREAM, CANCELLED = Outcome.OK, Outcome.ERROR, Outcome.USER, Outcome.UPSTREAM, Outcome.CANCELLED
SURFACES = (Arrivals, SlashCommands, PrefixCommands)
PLACES = [
    (app_commands.Command, "_invoke_with_namespace"),
    (HybridAppCommand, "_invoke_with_namespace"),
    (app_commands.ContextMenu, "_invoke"),
    (app_commands.Command, "_invoke_autocomplete"),
    (commands.Command, "dispatch_error"),
]
# Payload makers, each of one command of Everything.
USE = {
    "works": lambda server: server.owner.slash("works"),
    "fails": lambda server: server.owner.slash("fails"),
    "hybrid": lambda server: server.owner.slash("hybrid"),
    "hybrid fails": lambda server: server.owner.slash("hybrid", {"fails": True}),
    "menu": lambda server: server.owner.user_menu("Who is this", server.world.member),
    "menu fails": lambda server: server.owner.user_menu("Who is gone", server.world.member),
    "gone": lambda server: server.owner.slash("gone"),
    "complete": lambda server: server.owner.autocomplete("works", "word", "a"),
    "complete fails": lambda server: server.owner.autocomplete("works", "word", "x"),
}


class Everything(commands.Cog):
    """A command of each kind that works, and one that fails."""

    @app_commands.command()
    async def works(self, interaction: discord.Interaction, word: str = ""):
        """Works."""
        await interaction.response.send_message("works")

    @works.autocomplete("word")
    async def words(self, interaction: discord.Interaction, current: str):
        if current == "x":
            raise ValueError("no such word")
        return [app_commands.Choice(name="one", value="one")]

    @app_commands.command()
    async def fails(self, interaction: discord.Interaction):
        """Fails."""
        raise KeyError("missing")

    @commands.hybrid_command()
    async def hybrid(self, ctx: commands.Context, fails: bool = False):
        """Works or fails."""
        if fails:
            raise LookupError("hybrid")
        await ctx.send("hybrid")

    @commands.group()
    async def outer(self, ctx: commands.Context):
        """A group that runs before its subcommands."""

    @outer.command()
    async def inner(self, ctx: commands.Context, number: int = 0):
        """Works, or fails by its argument."""
        await ctx.send("inner")

    @commands.command()
    async def breaks(self, ctx: commands.Context):
        """Fails."""
        raise OSError("prefix")

    @commands.command()
    async def stops(self, ctx: commands.Context):
        """Is cancelled."""
        raise asyncio.CancelledError


async def who(interaction: discord.Interaction, member: discord.Member):
    await interaction.response.send_message(member.name)


async def whose(interaction: discord.Interaction, member: discord.Member):
    raise RuntimeError("menu")


async def everything(bot):
    await bot.add_cog(Everything())
    bot.tree.add_command(app_commands.ContextMenu(name="Who is this", callback=who))
    bot.tree.add_command(app_commands.ContextMenu(name="Who is gone", callback=whose))


@pytest.fixture
def ends(recorded):
    """``ends()``: operation, outcome and error of what was recorded, autocompletes included."""
    services = {"discord.commands", "discord.autocomplete"}

    def read():
        return [(one.operation, one.outcome, one.error) for one in recorded() if one.service in services]

    return read


@pytest.fixture
def use(discord_server, ends):
    """``await use("fails", "!breaks")``: these interactions and messages, each after the record of the one before."""

    async def send(*names):
        for name in names:
            if name.startswith("!"):
                await discord_server.say(name)
            else:
                await discord_server.interact(USE[name](discord_server))
            await discord_server.settled()

    return send


@pytest.fixture
def broken_hooks(monkeypatch):
    """``broken_hooks(*names)``: hooks of these names find another discord.py than they expect."""
    install = Hook.install

    def breaks(*names):
        def tried(hook):
            if hook.name in names:
                hook._expects = ["something", "else"]
            return install(hook)

        monkeypatch.setattr(Hook, "install", tried)

    return breaks


# Outcomes of other parties


@pytest.mark.parametrize(
    ("late_s", "status", "outcome"), [(0, 503, UPSTREAM), (0, 404, UPSTREAM), (3.1, 404, ERROR)], ids=str
)
async def test_discords_failures_are_distinguished_from_our_being_late(
    ready_bot, watching, ends, discord_server, monkeypatch, late_s, status, outcome
):
    class Answer:
        reason = "x"

        def __init__(self):
            self.status = status

    @ready_bot.tree.command()
    async def asks(interaction: discord.Interaction):
        """Asks Discord."""
        if status == 404:
            raise discord.NotFound(Answer(), {"code": 10062, "message": "Unknown interaction"})
        raise discord.DiscordServerError(Answer(), "down")

    async with watching(ready_bot, *SURFACES) as (arrivals, *_):
        arrive = arrivals.context.tracker.arrive

        def arrived(data):
            pending = arrive(data)
            pending.start_ns -= int(late_s * 1e9)
            return pending

        monkeypatch.setattr(arrivals.context.tracker, "arrive", arrived)
        await discord_server.interact(discord_server.owner.slash("asks"))
        await discord_server.settled()
    assert [one[:2] for one in ends()] == [("asks", outcome)]


async def test_a_signature_that_differs_from_discords_is_the_bots_fault(ready_bot, watching, ends, discord_server):
    @ready_bot.tree.command()
    async def asks(interaction: discord.Interaction, number: int):
        """Takes a number."""

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("asks"))
        await discord_server.settled()
    ((_, outcome, error),) = ends()
    assert outcome is ERROR
    assert error.startswith("CommandSignatureMismatch")


@pytest.mark.parametrize(("cause", "outcome"), [(ValueError("no"), USER), (None, UPSTREAM)], ids=["user", "discord"])
async def test_a_transformer_fails_by_the_user_unless_discord_did(
    ready_bot, watching, ends, discord_server, cause, outcome
):
    class Answer:
        status, reason = 500, "x"

    class Picky(app_commands.Transformer):
        async def transform(self, interaction, value):
            raise cause or discord.DiscordServerError(Answer(), "down")

    async def asks(interaction, word):
        """Takes a word."""

    asks.__annotations__ = {"interaction": discord.Interaction, "word": app_commands.Transform[str, Picky]}
    ready_bot.tree.command()(asks)
    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("asks", {"word": "x"}))
        await discord_server.settled()
    assert [one[:2] for one in ends()] == [("asks", outcome)]


# Error handlers


def set_handlers(bot, heard):
    """Handlers at every level, which note in whose turn they were called."""

    async def of_the_tree(interaction, error):
        heard.append("tree")

    async def of_the_bot(ctx, error):
        heard.append("bot")

    async def of_the_command(_, interaction_or_ctx, error):
        heard.append("command")

    bot.tree.error(of_the_tree)
    bot.on_command_error = of_the_bot
    for command in (bot.tree.get_command("fails"), bot.get_command("breaks"), bot.get_command("hybrid")):
        command.on_error = of_the_command


@pytest.mark.parametrize("early", [True, False], ids=["set before", "set after"])
async def test_handlers_of_every_level_run_as_without_us_and_hide_nothing(
    discord_server, make_bot, watching, ends, use, early
):
    class Handled(Everything):
        async def cog_command_error(self, ctx, error):
            order.append("cog")

        async def cog_app_command_error(self, interaction, error):
            order.append("cog")

    heard = {}
    for watched in (False, True):
        bot, order = make_bot(), []
        await bot.add_cog(Handled())
        heard[watched] = order
        kinds = SURFACES if watched else ()
        async with discord_server.running(bot):
            if early:
                set_handlers(bot, order)
            async with watching(bot, *kinds):
                if not early:
                    set_handlers(bot, order)
                await use("fails", "hybrid fails", "!breaks", "!hybrid true", "!outer inner x")
    assert heard[True] == heard[False]
    assert {"tree", "bot", "cog", "command"} == set(heard[True])
    errors = [(name, outcome, error.partition(":")[0]) for name, outcome, error in ends()]
    assert errors == [
        ("fails", ERROR, "KeyError"),
        ("hybrid", ERROR, "LookupError"),
        ("breaks", ERROR, "OSError"),
        ("hybrid", ERROR, "LookupError"),
        ("outer inner", USER, "BadArgument"),
    ]


async def test_a_command_has_ended_before_its_handlers_which_change_nothing(ready_bot, watching, ends, use):
    await everything(ready_bot)
    before_handlers = []

    async def worse(*arguments):
        before_handlers.extend(ends()[-1:])
        raise ZeroDivisionError("in the handler")

    for command in (ready_bot.tree.get_command("fails"), ready_bot.get_command("breaks")):
        command.on_error = worse
    async with watching(ready_bot, *SURFACES):
        await use("fails", "!breaks")
    assert ends() == before_handlers
    assert [error for _, _, error in ends()] == ["KeyError: 'missing'", "OSError: prefix"]


# What ends before a command


@pytest.mark.parametrize("looks", [False, True])
async def test_a_refusal_by_the_tree_is_the_users_even_if_its_check_looks_at_the_command(
    ready_bot, watching, ends, use, looks
):
    await everything(ready_bot)

    async def refuse(interaction):
        return looks and interaction.command is None

    ready_bot.tree.interaction_check = refuse
    async with watching(ready_bot, *SURFACES):
        await use("works", "complete", "menu")
    assert ends() == [("works", USER, REFUSED), ("works word", USER, REFUSED), ("Who is this", USER, REFUSED)]


async def test_a_check_of_the_tree_that_raises_is_recorded_for_what_it_raises(ready_bot, watching, ends, use):
    await everything(ready_bot)

    async def check(interaction):
        raise app_commands.CheckFailure("not you")

    ready_bot.tree.interaction_check = check
    async with watching(ready_bot, *SURFACES):
        await use("works")
    assert ends() == [("works", USER, "CheckFailure: not you")]


async def test_our_own_commands_are_not_recorded_even_when_refused(ready_bot, watching, ends, use):
    async def ours(interaction):
        """Ours."""

    ours.__module__ = "cogmeter.cog.summary"
    ready_bot.tree.add_command(app_commands.Command(name="works", description="x", callback=ours))
    own = []

    async def check(interaction):
        return False

    async with watching(ready_bot, *SURFACES) as (arrivals, *_):
        arrive = arrivals.context.tracker.arrive
        arrivals.context.tracker.arrive = lambda data: own.append(arrive(data)) or own[-1]
        await use("works")
        ready_bot.tree.interaction_check = check
        await use("works")
    assert ends() == []
    assert [pending.own for pending in own] == [True, True]


async def test_an_overridden_invoke_keeps_its_parameters_and_what_it_returns(discord_server, watching, ends, recorded):
    class Own(commands.Bot):
        async def invoke(self, context, *, loud=False):
            await super().invoke(context)
            return context.command.name.upper() if loud else None

        async def on_message(self, message):
            answers.append(await self.invoke(await self.get_context(message), loud=True))

    answers = []
    bot = Own(command_prefix="!", intents=discord.Intents.all(), help_command=None)
    await everything(bot)
    async with discord_server.running(bot), watching(bot, *SURFACES):
        await discord_server.say("!breaks")
        await discord_server.settled()
    assert answers == ["BREAKS"]
    assert ends() == [("breaks", ERROR, "OSError: prefix")]


# Durations and traces


async def test_time_before_the_first_await_counts_for_each_kind(ready_bot, watching, recorded, use):
    @ready_bot.hybrid_command()
    async def hybrid(ctx: commands.Context):
        """Blocks."""
        time.sleep(0.3)

    @ready_bot.listen()
    async def on_message(message):
        time.sleep(0.1)  # blocks before the command's task runs, or after it

    async with watching(ready_bot, *SURFACES):
        await use("hybrid", "!hybrid")
    slash, prefix = recorded("discord.commands")
    assert slash.duration_ms >= 300
    assert prefix.duration_ms >= 300


async def test_a_command_invoked_by_another_begins_when_it_is_invoked(ready_bot, watching, recorded, use):
    @ready_bot.command()
    async def sudo(ctx):
        await asyncio.sleep(0.2)
        other = await ready_bot.get_context(ctx.message)
        other.command = ready_bot.get_command("quick")
        await ready_bot.invoke(other)

    @ready_bot.command()
    async def quick(ctx):
        pass

    async with watching(ready_bot, *SURFACES):
        await use("!sudo")
    quick_one, sudo_one = recorded("discord.commands")
    assert (quick_one.operation, sudo_one.operation) == ("quick", "sudo")
    assert sudo_one.duration_ms - quick_one.duration_ms >= 190


async def test_a_worker_that_began_with_an_earlier_message_counts_from_each_messages_own_time(
    discord_server, make_bot, watching, recorded
):
    bot = make_bot()
    await everything(bot)
    queue = asyncio.Queue()

    async def work():
        while True:
            await bot.process_commands(await queue.get())

    async def on_message(message):
        if not hasattr(bot, "worker"):
            bot.worker = asyncio.create_task(work())
        queue.put_nowait(message)

    bot.on_message = on_message
    async with discord_server.running(bot), watching(bot, *SURFACES):
        await discord_server.say("!outer")
        await asyncio.sleep(0.3)
        sent_s = time.perf_counter()
        await discord_server.say("!outer")
        await discord_server.settled()
        bot.worker.cancel()
    _, second = recorded("discord.commands")
    assert second.duration_ms <= (time.perf_counter() - sent_s) * 1000


async def test_what_runs_inside_knows_its_command_and_a_failed_one_keeps_its_spans(
    ready_bot, watching, recorder, recorded, discord_server, use
):
    @ready_bot.hybrid_group()
    async def tags(ctx: commands.Context):
        """A group."""

    @tags.command()
    async def find(ctx: commands.Context):
        """Fails at the end."""
        with recorder.operation("search", "find"):
            await asyncio.create_task(deeper())
        raise LookupError("none")

    async def deeper():
        with recorder.operation("search", "index"):
            await asyncio.sleep(0)

    async with watching(ready_bot, *SURFACES) as (arrivals, *_):
        await discord_server.interact(discord_server.owner.slash("tags find"))
        await discord_server.settled()
        await use("!tags find")
        traces = list(arrivals.context.tracker.traces)
    found = [(one.operation, one.metadata["command"], one.metadata["parent"]) for one in recorded("search")]
    assert found == 2 * [("index", "tags find", "search/find"), ("find", "tags find", "tags find")]
    assert len(traces) == 2
    for trace in traces:
        spans = {span.operation: span for span in trace.spans}
        assert (trace.service, trace.operation, trace.outcome) == ("discord.commands", "tags find", ERROR)
        assert (spans["find"].parent, spans["index"].parent) == (0, spans["find"].id)
        assert abs(trace.at_us - time.time_ns() // 1000) < 60_000_000


async def test_a_slow_command_keeps_its_trace_and_autocomplete_never_does(ready_bot, watching, use):
    await everything(ready_bot)

    @ready_bot.command()
    async def slow(ctx):
        await asyncio.sleep(0.05)

    async with watching(ready_bot, *SURFACES) as (arrivals, *_):
        arrivals.context.tracker._slow_ns = 50_000_000
        await use("!slow", "complete fails")
        assert [(one.operation, one.outcome) for one in arrivals.context.tracker.traces] == [("slow", OK)]


async def test_a_dispatched_error_of_another_than_the_running_command_ends_nothing_else(ready_bot, watching, ends, use):
    await everything(ready_bot)

    @ready_bot.listen()
    async def on_message(message):
        ctx = await ready_bot.get_context(message)
        if ctx.command:
            await ctx.command.dispatch_error(ctx, commands.CommandError("by hand"))

    async with watching(ready_bot, *SURFACES):
        await use("!outer inner")
    assert ends() == [("outer inner", OK, None)]


async def test_nothing_stays_behind_once_commands_are_recorded_and_acknowledged(ready_bot, watching, use):
    await everything(ready_bot)
    async with watching(ready_bot, *SURFACES, Acknowledgement) as (arrivals, *_):
        await use("works", "hybrid", "menu", "complete", "!breaks")
        await asyncio.sleep(0.1)
        assert len(arrivals.context.tracker) == 0


# Hooks that cannot be installed, one by one

WHOLE = [
    ("works", OK, None),
    ("fails", ERROR, "KeyError: 'missing'"),
    ("hybrid", OK, None),
    ("hybrid", ERROR, "LookupError: hybrid"),
    ("Who is this", OK, None),
    ("Who is gone", ERROR, "RuntimeError: menu"),
    ("gone", ERROR, "CommandNotFound: Application command 'gone' not found"),
    ("works word", OK, None),
    ("works word", ERROR, "ValueError: no such word"),
    ("hybrid", OK, None),
    ("hybrid", ERROR, "LookupError: hybrid"),
    ("outer inner", OK, None),
    ("breaks", ERROR, "OSError: prefix"),
    ("stops", CANCELLED, None),
    ("(unknown)", USER, None),
]
MESSAGES = ("!hybrid", "!hybrid true", "!outer inner 5", "!breaks", "!stops", "!secret")
# What is recorded otherwise than WHOLE without this hook: the place in it, and what stands there (None: nothing).
WITHOUT = {
    "interaction arrivals": {},
    "message arrivals": {},
    "slash commands": {1: ("fails", ERROR, UNSEEN)},
    "hybrid slash commands": {},
    "context menus": {5: ("Who is gone", ERROR, UNSEEN)},
    "autocomplete": {8: ("works word", ERROR, UNSEEN)},
    "command tree": {},
    "prefix commands": {},
    "command errors": {},
}


@pytest.mark.parametrize("missing", [(), *((name,) for name in WITHOUT), ("command tree", "slash commands")], ids=str)
async def test_without_a_hook_public_events_report_what_they_can_and_nothing_twice(
    ready_bot, watching, ends, use, broken_hooks, missing
):
    await everything(ready_bot)
    broken_hooks(*missing)
    async with watching(ready_bot, *SURFACES, Acknowledgement) as surfaces:
        await use(*USE, *MESSAGES)
        await asyncio.sleep(0.1)
        findings = [one for surface in surfaces for one in surface.findings() if not one.well]
    expected = list(WHOLE)
    for name in missing:
        for place, instead in WITHOUT[name].items():
            expected[place] = instead
    if len(missing) == 2:  # a failure without its event
        del expected[1]
    assert sorted(ends(), key=str) == sorted(expected, key=str)
    assert [one.text.partition(":")[0] for one in findings] == sorted(missing, key=list(WITHOUT).index)


async def test_without_both_hooks_of_prefix_commands_the_public_events_still_do(
    ready_bot, watching, ends, use, broken_hooks
):
    await everything(ready_bot)
    broken_hooks("prefix commands", "command errors", "message arrivals")
    async with watching(ready_bot, *SURFACES):
        await use("hybrid fails", *MESSAGES)
    assert [one[:2] for one in ends()] == [
        ("hybrid", ERROR),
        ("hybrid", OK),
        ("hybrid", ERROR),
        ("outer inner", OK),
        ("breaks", ERROR),
        ("stops", CANCELLED),
        ("(unknown)", USER),
    ]


@pytest.mark.parametrize("surface", ["tracker", "prefix"])
async def test_a_fault_of_ours_keeps_no_command_from_running(ready_bot, watching, use, surface, monkeypatch, caplog):
    await everything(ready_bot)
    done = asyncio.Queue()

    @ready_bot.event
    async def on_command_completion(ctx):
        done.put_nowait(ctx.command.name)

    async with watching(ready_bot, *SURFACES) as surfaces:
        if surface == "tracker":
            monkeypatch.setattr(surfaces[0].context.tracker, "end", None)
        else:
            monkeypatch.setattr(cogmeter.watch.interactions.prefix, "Who", None)
        await use("hybrid", "!hybrid", "!breaks")
        assert [done.get_nowait(), done.get_nowait()] == ["hybrid", "hybrid"]
        assert sum(hook.faults for one in surfaces for hook in one.hooks) >= 2
    assert "failed" in caplog.text


# Several bots, removal


async def test_a_bot_that_is_not_watched_is_not_recorded(discord_server, make_bot, watching, ends, use):
    """The hooks are on classes that all bots of a process share."""
    watched, other = make_bot(), make_bot()
    await everything(other)
    async with watched, watching(watched, *SURFACES), discord_server.running(other):
        await use("works", "hybrid fails", "menu", "complete", "!breaks")
    assert ends() == []


async def test_everything_is_as_it_was_after_a_hundred_installations(make_bot, watching):
    bot = make_bot()
    before = [vars(owner)[name] for owner, name in PLACES]
    async with bot:
        held = set(vars(bot)), set(vars(bot.tree)), dict(bot._connection.parsers), dict(bot.extra_events)
        for _ in range(100):
            async with watching(bot, *SURFACES):
                assert "invoke" in vars(bot)
        assert (set(vars(bot)), set(vars(bot.tree)), dict(bot._connection.parsers), dict(bot.extra_events)) == held
    assert [vars(owner)[name] for owner, name in PLACES] == before


async def test_wrappers_that_came_later_stay_and_ours_below_them_are_silent(
    ready_bot, watching, ends, use, monkeypatch
):
    await everything(ready_bot)
    theirs = []
    tree = ready_bot.tree
    async with watching(ready_bot, *SURFACES) as (_, slash, prefix):
        below_call, below_invoke = tree._call, ready_bot.invoke

        async def call(interaction):
            theirs.append("call")
            await below_call(interaction)

        async def invoke(ctx):
            theirs.append("invoke")
            await below_invoke(ctx)

        tree._call, ready_bot.invoke = call, invoke
    assert (tree._call, ready_bot.invoke) == (call, invoke)
    assert slash.hooks[-1].state is prefix.hooks[0].state is HookState.BURIED
    await use("works", "!breaks")
    assert theirs == ["call", "invoke"]
    assert ends() == []
