"""Replies: a run of a message listener that sends or types is a foreground operation, until its last output."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time

import discord
import pytest
from discord.ext import commands
from loopback import server_error, slow

from cogmeter.recording.running import running_operation
from cogmeter.recording.waiting import RunningReader
from cogmeter.watch.background import replies as module
from cogmeter.watch.background.listener_run import who_of_event
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.people import KEY_BYTES, Who
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.rest.rest import Rest
from cogmeter.watch.unhandled_errors import UnhandledErrors
from cogmeter_storage import Outcome
from cogmeter_storage.model import ERROR_GROUP, OperationRecord

SURFACES = (Arrivals, SlashCommands, PrefixCommands, Listeners, Rest, UnhandledErrors, LoggedErrors)
REPLIES, LISTENERS, COMMANDS = "discord.replies", "discord.listeners", "discord.commands"
SEND, EDIT = "POST /channels/{channel_id}/messages", "PATCH /channels/{channel_id}/messages/{message_id}"
TYPING = "POST /channels/{channel_id}/typing"

log = logging.getLogger("chat")


@pytest.fixture
def chatting(discord_server, watching):
    """``async with chatting(bot) as surfaces``: the bot runs and is watched, with a key for people."""

    @contextlib.asynccontextmanager
    async def run(bot, *, surfaces=SURFACES, **settings):
        async with discord_server.running(bot), watching(bot, *surfaces, **settings) as installed:
            installed[0].context.tracker.people.key = b"k" * KEY_BYTES
            yield installed

    return run


@pytest.fixture
def soon(monkeypatch):
    """The reply of a task ends soon after it."""
    monkeypatch.setattr(module, "QUIET_S", 0.05)


@pytest.fixture
def ends(recorded):
    """``ends(service)``: name and outcome of each of its operations."""
    return lambda service=REPLIES: [(one.operation, one.outcome) for one in recorded(service)]


def plain_bot(kind=commands.Bot, **options):
    return kind(command_prefix="!", intents=discord.Intents.all(), help_command=None, **options)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


class Chat(commands.Cog):
    """A chat bot as people write it: it types, asks its model, and answers in pieces; a failure gets an apology."""

    def __init__(self, model=None):
        self.model = model or self.think
        self.times = {}

    async def think(self, question):
        await asyncio.sleep(0.05)
        return ["first", "second"]

    @commands.Cog.listener()
    async def on_message(self, message):
        if message.author.bot:
            return
        try:
            async with message.channel.typing():
                self.times["typing"] = time.perf_counter()
                for piece in await self.model(message.content):
                    await message.reply(piece)
        except OSError:
            log.exception("no answer")
            await message.channel.send("Sorry, something went wrong.")
        self.times["answered"] = time.perf_counter()
        await asyncio.sleep(0.05)  # it stores what was said


async def test_a_reply_lasts_from_the_arrival_to_the_last_message_and_knows_its_first_output(
    discord_server, make_bot, chatting, recorded, recorder
):
    bot, chat = make_bot(), Chat()
    async with chatting(bot) as surfaces:
        await bot.add_cog(chat)
        recorder.usage.begin(b"k" * KEY_BYTES)
        began = time.perf_counter()
        message = await discord_server.say("hello")
        await discord_server.settled()
        assert len(surfaces[3]._replies) == 0
    series = recorder.series(REPLIES, "on_message Chat.on_message")
    used = recorder.usage.take().rows
    assert used == [series, int(message["author"]["id"]), int(message["guild_id"]), "guild", ""]
    (reply,) = recorded(REPLIES)
    assert (reply.operation, reply.outcome, reply.error) == ("on_message Chat.on_message", Outcome.OK, None)
    assert set(reply.metadata) == {"first_ms"}
    assert 0 < reply.metadata["first_ms"] <= (chat.times["typing"] - began) * 1000 + 0.1
    assert reply.metadata["first_ms"] + 45 <= reply.duration_ms <= (chat.times["answered"] - began) * 1000
    # The bot's own two messages are events, too.
    assert {one.operation for one in recorded(LISTENERS)} == {"on_message Chat.on_message"}
    assert len(recorded(LISTENERS)) == 2
    assert [one.operation for one in recorded("discord.rest")] == [TYPING, SEND, SEND]


async def test_work_before_the_first_await_of_any_listener_counts(discord_server, ready_bot, watching, recorded):
    @ready_bot.listen()
    async def on_socket_event_type(kind):
        if kind == "MESSAGE_CREATE":
            time.sleep(0.05)

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            await message.channel.send("yes")

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    (reply,) = recorded(REPLIES)
    assert reply.metadata["first_ms"] >= 50


async def test_edits_of_a_streamed_message_belong_to_its_reply_and_the_last_one_ends_it(
    discord_server, ready_bot, watching, recorded
):
    times = []

    @ready_bot.event
    async def on_message(message):
        if message.author.bot:
            return
        answer = await message.channel.send("...")
        times.append(time.perf_counter())
        for piece in range(3):
            await asyncio.sleep(0.01)
            await answer.edit(content=f"piece {piece}")
        times.append(time.perf_counter())
        await asyncio.sleep(0.05)

    async with watching(ready_bot, *SURFACES):
        began = time.perf_counter()
        await discord_server.say("hello")
        await discord_server.settled()
    (reply,) = recorded(REPLIES)
    assert reply.operation == "on_message"
    assert reply.metadata["first_ms"] <= (times[0] - began) * 1000 + 0.1
    assert reply.metadata["first_ms"] + 30 <= reply.duration_ms <= (times[1] - began) * 1000


async def test_an_error_that_gets_an_apology_is_a_logged_error_of_the_reply(
    discord_server, ready_bot, chatting, recorded, recorder, watching
):
    async def broken(question):
        await asyncio.sleep(0)
        raise OSError("no route")

    async with watching(ready_bot, *SURFACES) as surfaces:
        surfaces[0].context.tracker.people.key = b"k" * KEY_BYTES
        await ready_bot.add_cog(Chat(broken))
        message = await discord_server.say("hello")
        await discord_server.settled()
        people = surfaces[0].context.tracker.people
    (reply,) = recorded(REPLIES)
    assert (reply.outcome, reply.metadata["logged_errors"]) == (Outcome.OK, 1)
    (batch,) = recorder.errors.take()
    assert [names[:2] for names in batch.counts] == [(REPLIES, "on_message Chat.on_message")]  # it had typed before
    hashes = people.of(Who(message["author"]["id"], ready_bot.guilds[0].id, None, 0))
    assert (batch.users, batch.guilds) == ({hashes["user"]}, {hashes["guild"]})


async def greet(message):
    if not message.author.bot:
        await message.channel.send("hello")


def by_event(bot):
    @bot.event
    async def on_message(message):
        await greet(message)

    return "on_message"


def by_listener(bot):
    bot.add_listener(greet, "on_message")
    return "on_message greet"


class Overridden(commands.Bot):
    async def on_message(self, message):
        await greet(message)
        await super().on_message(message)


class Client(discord.Client):
    async def on_message(self, message):
        await greet(message)


@pytest.mark.parametrize(
    ("bot", "add"),
    [
        (plain_bot, by_event),
        (plain_bot, by_listener),
        (lambda: plain_bot(Overridden), lambda _: "on_message Overridden.on_message"),
        (lambda: Client(intents=discord.Intents.all()), lambda _: "on_message Client.on_message"),
        (lambda: discord.Client(intents=discord.Intents.all()), by_event),
    ],
    ids=["event", "add_listener", "subclass of Bot", "subclass of Client", "Client"],
)
async def test_every_way_to_listen_to_messages_may_reply(discord_server, chatting, ends, bot, add):
    bot = bot()
    name = add(bot)
    surfaces = SURFACES if isinstance(bot, commands.Bot) else (Arrivals, Listeners, Rest)
    async with chatting(bot, surfaces=surfaces):
        await discord_server.say("hello")
        await discord_server.settled()
    assert ends() == [(name, Outcome.OK)]
    assert ends(LISTENERS) == [(name, Outcome.OK)]  # of its own message


async def test_runs_that_send_nothing_stay_in_the_background(discord_server, ready_bot, watching, ends):
    heard = []

    @ready_bot.listen()
    async def on_message(message):
        if message.author.bot:
            return
        heard.append(message)
        number = len(heard)
        await message.add_reaction("👍")
        if number % 10 == 0:
            await message.channel.send("ten more")

    async with watching(ready_bot, *SURFACES):
        for number in range(20):
            await discord_server.say(f"hello {number}")
        await discord_server.settled()
    assert len(ends()) == 2
    assert len(ends(LISTENERS)) == 18 + 2  # and its own two messages


async def test_of_two_listeners_only_the_one_that_answers_replies(discord_server, ready_bot, watching, ends):
    ready_bot.add_listener(greet, "on_message")

    @ready_bot.listen()
    async def on_message(message):
        await asyncio.sleep(0.02)  # it is in progress while the other one answers

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    name = "on_message"
    assert ends() == [(f"{name} greet", Outcome.OK)]
    listened = sorted(operation for operation, _ in ends(LISTENERS))
    assert listened == [name, name, f"{name} greet"]  # two messages; the second one, its own, gets no answer


async def test_other_events_do_not_reply_and_an_edit_alone_is_no_reply(discord_server, ready_bot, watching, ends):
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    board = await channel.send("0 messages")

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            await board.edit(content="1 message")

    @ready_bot.listen()
    async def on_message_edit(before, after):
        if "again" not in after.content:
            await after.channel.send("edited")

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
        await discord_server.requested(SEND, count=2)
        await discord_server.settled()
    assert ends() == []
    assert {outcome for _, outcome in ends(LISTENERS)} == {Outcome.OK}


async def test_a_message_through_a_webhook_is_an_output(discord_server, ready_bot, watching, ends):
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    webhook = await channel.create_webhook(name="pretty")

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot and message.webhook_id is None:
            await webhook.send("hello")

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    assert len(ends()) == 1


# Commands.


async def test_what_a_prefix_command_sends_is_no_reply(discord_server, chatting, ends):
    bot = plain_bot(Overridden)

    @bot.command()
    async def ask(ctx):
        async with ctx.typing():
            await ctx.send("42")

    bot.on_message = bot.process_commands  # an override that only dispatches commands
    async with chatting(bot):
        await discord_server.say("!ask")
        await discord_server.settled()
    assert ends() == []
    assert ends(COMMANDS) == [("ask", Outcome.OK)]


@pytest.mark.parametrize("setting", [{"watch_commands": False}, {}], ids=["off", "its hook fails"])
async def test_a_command_that_is_not_recorded_by_a_hook_is_no_reply_either(
    discord_server, chatting, ends, setting, monkeypatch
):
    bot = plain_bot()

    @bot.command()
    async def ask(ctx):
        await ctx.send("42")

    @bot.event
    async def on_message(message):
        await bot.process_commands(message)

    surfaces = SURFACES
    if setting:
        surfaces = tuple(surface for surface in SURFACES if surface is not PrefixCommands)
    else:
        monkeypatch.setattr(bot, "invoke", bot.invoke)

        def changed(self):
            raise TypeError("another discord.py")

        monkeypatch.setattr(PrefixCommands, "_invoked", lambda self, original, hook: changed(self))
    async with chatting(bot, surfaces=surfaces, **setting):
        await discord_server.say("!ask")
        await discord_server.settled()
    assert ends() == []
    assert ends(COMMANDS) == ([] if setting else [("ask", Outcome.OK)])


async def test_a_listener_that_answers_and_dispatches_commands_replies_only_where_it_answers(
    discord_server, chatting, ends
):
    bot = plain_bot()

    @bot.command()
    async def ask(ctx):
        await ctx.send("42")

    @bot.event
    async def on_message(message):
        if message.content == "hello bot":
            await message.channel.send("hello")
        await bot.process_commands(message)

    async with chatting(bot):
        await discord_server.say("!ask")
        await discord_server.say("hello bot")
        await discord_server.settled()
    assert ends() == [("on_message", Outcome.OK)]
    assert ends(COMMANDS) == [("ask", Outcome.OK)]


# Failures.


async def test_a_failed_reply_has_its_error_its_people_and_a_link(
    discord_server, ready_bot, watching, recorded, recorder, errors
):
    @ready_bot.listen()
    async def on_message(message):
        await message.channel.typing()
        raise LookupError("no answer")

    @ready_bot.event
    async def on_error(event, *args):
        pass

    async with watching(ready_bot, *SURFACES) as surfaces:
        people = surfaces[0].context.tracker.people
        people.key = b"k" * KEY_BYTES
        message = await discord_server.say("hello")
        await discord_server.settled()
    (reply,) = recorded(REPLIES)
    guild = ready_bot.guilds[0]
    hashes = dict(people.of(Who(message["author"]["id"], guild.id, None, 0)))
    assert (reply.outcome, reply.error) == (Outcome.ERROR, "LookupError: no answer")
    operation = OperationRecord(1, REPLIES, "on_message", time.time_ns() // 1000, 5, Outcome.ERROR, None, hashes)
    link = f"https://discord.com/channels/{guild.id}/{message['channel_id']}/{message['id']}"
    assert people.url_of(operation) == link
    (batch,) = recorder.errors.take()
    assert reply.metadata == hashes | {"first_ms": reply.metadata["first_ms"], ERROR_GROUP: batch.fingerprint}
    assert (batch.type, batch.users, batch.guilds) == ("LookupError", {hashes["user"]}, {hashes["guild"]})
    assert sum(batch.counts.values()) == 1
    assert recorded(LISTENERS) == []


async def test_a_slow_reply_has_its_people_and_a_quick_one_has_not(discord_server, ready_bot, watching, recorded):
    ready_bot.add_listener(greet, "on_message")
    async with watching(ready_bot, *SURFACES) as surfaces:
        people = surfaces[0].context.tracker.people
        people.key = b"k" * KEY_BYTES
        await discord_server.say("hello")
        await discord_server.settled()
        people._slow_ns = 0
        await discord_server.say("hello")
        await discord_server.settled()
    assert [set(one.metadata) for one in recorded(REPLIES)] == [{"first_ms"}, {"first_ms", "user", "guild"}]


async def test_a_listener_that_has_replied_owes_a_reply_where_it_fails_before_its_first_output(
    discord_server, ready_bot, watching, ends, recorded, errors
):
    down = True

    @ready_bot.listen()
    async def on_message(message):
        if message.author.bot:
            return
        if message.content == "log":
            log.error("no model")
        elif down and message.content != "ignore":
            raise OSError("no model")
        elif message.content != "ignore":
            await message.channel.send("hello")

    @ready_bot.event
    async def on_error(event, *args):
        pass

    async def say(text):
        await discord_server.say(text)
        await discord_server.settled()

    name = "on_message"
    async with watching(ready_bot, *SURFACES):
        await say("hello")
        assert ends() == []  # nothing is known of it yet
        assert ends(LISTENERS) == [(name, Outcome.ERROR)]
        assert [(one.service, one.kind) for one in errors()] == [(LISTENERS, "failed")]
        down = False
        await say("hello")
        down = True
        for text in ("hello", "log", "ignore"):
            await say(text)
    assert ends() == [(name, Outcome.OK), (name, Outcome.ERROR), (name, Outcome.OK)]
    assert [one.metadata.get("logged_errors") for one in recorded(REPLIES)] == [None, None, 1]
    assert ["first_ms" in one.metadata for one in recorded(REPLIES)] == [True, False, False]
    assert ends(LISTENERS)[1:] == [(name, Outcome.OK)] * 2  # its own message, and the one that it ignores
    assert [(one.service, one.kind) for one in errors()] == [(REPLIES, "failed"), (REPLIES, "logged")]


async def test_what_discord_refuses_is_no_output_but_its_exception_fails_the_reply(
    discord_server, ready_bot, watching, ends, recorded
):
    @ready_bot.listen()
    async def on_message(message):
        try:
            await message.channel.send("")
        except discord.HTTPException:
            if message.content == "raise":
                raise

    @ready_bot.event
    async def on_error(event, *args):
        pass

    async with watching(ready_bot, *SURFACES) as surfaces:
        for text in ("hello", "raise"):
            await discord_server.say(text)
            await discord_server.settled()
        assert len(surfaces[3]._replies) == 0
    assert ends(LISTENERS) == [("on_message", Outcome.OK)]
    assert ends() == [("on_message", Outcome.ERROR)]
    assert "first_ms" not in recorded(REPLIES)[0].metadata


async def test_discords_own_failure_is_upstream(discord_server, ready_bot, watching, ends):
    ready_bot.add_listener(greet, "on_message")

    @ready_bot.event
    async def on_error(event, *args):
        pass

    discord_server.fail(server_error(501), SEND)
    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    assert ends() == [("on_message greet", Outcome.UPSTREAM)]


async def test_a_cancelled_reply_counts_as_cancelled(discord_server, ready_bot, watching, ends):
    tasks = []

    @ready_bot.listen()
    async def on_message(message):
        async with message.channel.typing():
            tasks.append(asyncio.current_task())
            await asyncio.sleep(60)

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await until(lambda: tasks)
        tasks[0].cancel()
        await discord_server.settled()
    assert ends() == [("on_message", Outcome.CANCELLED)]


async def test_errors_of_other_events_affect_the_user_that_the_event_names(
    discord_server, ready_bot, watching, recorded, recorder
):
    member = ready_bot.guilds[0].get_member(int(discord_server.world.member["id"]))

    @ready_bot.listen()
    async def on_member_join(who):
        log.error("no greeting")
        raise KeyError("greeting")

    @ready_bot.event
    async def on_error(event, *args):
        pass

    async with watching(ready_bot, *SURFACES) as surfaces:
        people = surfaces[0].context.tracker.people
        people.key = b"k" * KEY_BYTES
        ready_bot.dispatch("member_join", member)
        await discord_server.settled()
    hashes = people.of(Who(member.id, member.guild.id, None, 0))
    (one,) = recorded(LISTENERS)
    batches = recorder.errors.take()
    (raised,) = [batch for batch in batches if batch.type == "KeyError"]
    assert one.metadata == {**hashes, "logged_errors": 1, ERROR_GROUP: raised.fingerprint}
    assert {batch.type for batch in batches} == {"logging.ERROR", "KeyError"}
    assert {(batch.users, batch.guilds) for batch in batches} == {
        (frozenset({hashes["user"]}), frozenset({hashes["guild"]}))
    }
    assert sum(sum(batch.counts.values()) for batch in batches) == 2


async def test_an_event_names_a_user_only_by_objects_of_discord_py(discord_server, ready_bot):
    guild = ready_bot.guilds[0]
    channel = guild.text_channels[0]
    member = guild.get_member(int(discord_server.world.member["id"]))
    message = await channel.send("hello")
    reaction = discord.Reaction(message=message, data={"me": False, "count": 1}, emoji="👍")

    class Order:
        user = author = member = property(lambda self: pytest.fail("a host's property was read"))

    assert who_of_event((message,)) == Who(ready_bot.user.id, guild.id, channel.id, message.id)
    assert who_of_event((reaction, member)) == Who(member.id, guild.id, channel.id, message.id)
    assert who_of_event((member, None, None)) == Who(member.id, guild.id, None, 0)
    assert who_of_event((guild, member._user)) == Who(member.id, guild.id, None, 0)
    for arguments in ((), (1,), (Order(),), (guild,), (Order(), "x")):
        assert who_of_event(arguments) is None


# Tasks.


async def test_a_reply_that_a_task_sends_counts_after_its_listener_has_returned(
    discord_server, ready_bot, watching, recorded, ends, soon
):
    tasks, times = set(), []

    async def answer(message):
        await asyncio.sleep(0.02)
        async with message.channel.typing():
            await asyncio.sleep(0.02)
        sent = await message.channel.send("...")
        await asyncio.wait_for(sent.edit(content="done"), 60)  # Python 3.11 sends it in a task of its own
        times.append(time.perf_counter())

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            tasks.add(asyncio.create_task(answer(message)))

    async with watching(ready_bot, *SURFACES) as surfaces:
        people = surfaces[0].context.tracker.people
        people.key, people._slow_ns = b"k" * KEY_BYTES, 0
        began = time.perf_counter()
        await discord_server.say("hello")
        await until(ends)
        assert len(surfaces[3]._replies) == 0
    (reply,) = recorded(REPLIES)
    assert (reply.operation, reply.outcome) == ("on_message", Outcome.OK)
    assert set(reply.metadata) == {"first_ms", "user", "guild"}
    assert reply.metadata["first_ms"] >= 20
    assert reply.metadata["first_ms"] + 20 <= reply.duration_ms <= (times[0] - began) * 1000
    assert ends(LISTENERS) == [("on_message", Outcome.OK)] * 2  # it returned at once; and for its own message
    (task,) = tasks
    assert task.result() is None


async def test_a_task_that_has_typed_before_its_listener_returns_ends_the_reply(
    discord_server, ready_bot, watching, recorded, ends, soon
):
    tasks = set()

    async def answer(message, typed):
        await message.channel.typing()
        typed.set()
        await asyncio.sleep(0.05)
        await message.channel.send("hello")

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            typed = asyncio.Event()
            tasks.add(asyncio.create_task(answer(message, typed)))
            await typed.wait()

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await until(ends)
    (reply,) = recorded(REPLIES)
    assert reply.duration_ms >= reply.metadata["first_ms"] + 50
    assert len(ends(LISTENERS)) == 1  # for its own message


async def test_a_task_that_fails_after_it_has_typed_fails_its_reply_and_python_still_reports_it(
    discord_server, ready_bot, watching, recorded, ends, recorder, soon, caplog
):
    async def answer(message):
        await message.channel.typing()
        raise LookupError("no answer")

    @ready_bot.listen()
    async def on_message(message):
        asyncio.create_task(answer(message))  # noqa: RUF006 - as people write it

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await until(ends)
        gc.collect()
        await asyncio.sleep(0)
    (reply,) = recorded(REPLIES)
    assert (reply.outcome, reply.error) == (Outcome.ERROR, "LookupError: no answer")
    assert "Task exception was never retrieved" in caplog.text
    (batch,) = recorder.errors.take()
    assert (str(batch.kind), sum(batch.counts.values())) == ("unhandled", 1)  # and not as a failure, too
    assert [names[:2] for names in batch.counts] == [(REPLIES, "on_message")]


async def test_a_worker_that_serves_many_messages_is_no_reply(
    discord_server, ready_bot, watching, ends, soon, monkeypatch
):
    queue, started = asyncio.Queue(), []

    async def work():
        while True:
            message = await queue.get()
            await message.channel.send("served")

    @ready_bot.listen()
    async def on_message(message):
        if message.author.bot:
            return
        if not started:
            started.append(asyncio.create_task(work()))
        queue.put_nowait(message)

    async with watching(ready_bot, *SURFACES) as surfaces:
        for _ in range(3):
            await discord_server.say("hello")
        await discord_server.requested(SEND, count=3)
        await discord_server.settled()
        replies = surfaces[3]._replies
        assert len(replies) == 1  # it may yet end
        surfaces[3].sample()
        assert len(replies) == 1
        monkeypatch.setattr(module, "LIFE_NS", 0)
        surfaces[3].sample()
        assert len(replies) == 0
        await discord_server.say("hello")
        await discord_server.requested(SEND, count=4)
        assert len(replies) == 0
    assert ends() == []
    started[0].cancel()


async def test_a_listener_that_replies_and_starts_a_worker_is_a_reply_without_what_the_worker_sends(
    discord_server, ready_bot, watching, recorded, soon, monkeypatch
):
    workers, over, times = [], asyncio.Event(), []

    async def play(message):
        await message.channel.typing()
        await over.wait()
        await message.channel.send("next song")
        await asyncio.sleep(60)

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            workers.append(asyncio.create_task(play(message)))
            await discord_server.requested("POST /channels/{channel_id}/typing")
            await message.channel.send("playing")
            times.append(time.perf_counter())

    async with watching(ready_bot, *SURFACES) as surfaces:
        began = time.perf_counter()
        await discord_server.say("play")
        await discord_server.requested(SEND)
        await discord_server.settled()
        over.set()
        await discord_server.requested(SEND, count=2)
        await discord_server.settled()
        assert recorded(REPLIES) == []
        monkeypatch.setattr(module, "LIFE_NS", 0)
        surfaces[3].sample()
        assert len(surfaces[3]._replies) == 0
    (reply,) = recorded(REPLIES)
    assert reply.outcome is Outcome.OK
    assert reply.duration_ms <= (times[0] - began) * 1000
    workers[0].cancel()


async def test_under_a_task_factory_a_reply_ends_with_its_listener(discord_server, ready_bot, watching, ends):
    ready_bot.add_listener(greet, "on_message")
    loop = asyncio.get_running_loop()

    async def wrapped(coroutine):
        return await coroutine

    loop.set_task_factory(lambda loop, coroutine, **named: asyncio.Task(wrapped(coroutine), loop=loop, **named))
    try:
        async with watching(ready_bot, *SURFACES) as surfaces:
            await discord_server.say("hello")
            await until(ends)
            assert len(surfaces[3]._replies) == 0
    finally:
        loop.set_task_factory(None)
    assert ends() == [("on_message greet", Outcome.OK)]


async def test_the_tasks_of_only_so_many_replies_are_waited_for(discord_server, ready_bot, watching, ends, monkeypatch):
    monkeypatch.setattr(module, "MOST", 0)

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            await asyncio.create_task(message.channel.send("hello"))

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    assert ends() == []
    assert ends(LISTENERS)[0] == ("on_message", Outcome.OK)


async def test_removal_records_what_tasks_have_sent_and_leaves_no_callback(discord_server, ready_bot, watching, ends):
    tasks, over = [], asyncio.Event()

    async def answer(message):
        await message.channel.send("...")
        await over.wait()
        await message.channel.send("done")

    @ready_bot.listen()
    async def on_message(message):
        if not message.author.bot:
            tasks.append(asyncio.create_task(answer(message)))

    async with watching(ready_bot, *SURFACES) as surfaces:
        await discord_server.say("hello")
        await until(lambda: len(surfaces[3]._replies))
        assert len(tasks[0]._callbacks) == 1
    assert ends() == [("on_message", Outcome.OK)]
    assert not tasks[0]._callbacks
    assert "request" not in vars(ready_bot.http)
    assert "_schedule_event" not in vars(ready_bot)
    over.set()
    await tasks[0]
    assert len(ends()) == 1


async def test_after_a_hundred_loads_a_message_is_one_reply_and_nothing_is_left(
    discord_server, ready_bot, watching, ends
):
    ready_bot.add_listener(greet, "on_message")
    loads = 100
    async with watching(ready_bot, *SURFACES):
        pass
    before = set(vars(ready_bot)), set(vars(ready_bot.http)), dict(ready_bot.extra_events)
    for _ in range(loads):
        async with watching(ready_bot, *SURFACES) as surfaces:
            pass
        assert surfaces[0].context.replies is None
    assert (set(vars(ready_bot)), set(vars(ready_bot.http)), dict(ready_bot.extra_events)) == before
    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    assert ends() == ends(LISTENERS) == [("on_message greet", Outcome.OK)]


# What runs now, faults, findings.


async def test_a_reply_in_progress_runs_by_its_service(discord_server, ready_bot, watching, recorder):
    over, inside = asyncio.Event(), []

    @ready_bot.listen()
    async def on_message(message):
        await message.channel.typing()
        inside.append(running_operation())
        await over.wait()

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await until(lambda: inside)
        reader = await RunningReader.read(recorder)
        (found,) = await reader.page(10)
        over.set()
        await discord_server.settled()
        assert len(await RunningReader.read(recorder)) == 0
    assert (found.service, found.operation) == (REPLIES, "on_message")
    assert " in on_message, waiting in asyncio" in found.line
    assert inside[0].ended


@pytest.mark.parametrize("broken", ["sent", "ended"])
async def test_a_fault_of_ours_loses_no_message(discord_server, ready_bot, watching, monkeypatch, broken, caplog):
    def fail(*arguments, **named):
        raise ZeroDivisionError

    monkeypatch.setattr(module.Replies, broken, fail)
    ready_bot.add_listener(greet, "on_message")
    async with watching(ready_bot, *SURFACES) as surfaces:
        await discord_server.say("hello")
        await discord_server.requested(SEND)
        await discord_server.settled()
        faults = [hook.name for surface in surfaces for hook in surface.hooks if hook.faults]
    assert faults == (["REST requests"] if broken == "sent" else ["listeners"])
    assert len(discord_server.world.messages[discord_server.world.channel["id"]]) >= 1
    assert "ZeroDivisionError" in caplog.text


async def test_what_a_host_dispatches_as_a_message_may_be_anything(discord_server, ready_bot, watching, ends):
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))

    @ready_bot.event
    async def on_message(*arguments):
        if arguments and not isinstance(arguments[0], discord.Message):
            await channel.send("hello")

    async with watching(ready_bot, *SURFACES) as surfaces:
        ready_bot.dispatch("message", object())
        ready_bot.dispatch("message")
        await discord_server.settled()
        await discord_server.settled()
        assert not any(hook.faults for surface in surfaces for hook in surface.hooks)
    assert (("on_message", Outcome.OK) in ends(), ("on_message", Outcome.OK) in ends(LISTENERS)) == (True, True)


async def test_the_doctor_names_why_replies_are_not_known(ready_bot, watching):
    async with watching(ready_bot, Rest, Listeners) as (_, surface):
        assert [finding.name for finding in surface.findings()] == ["listeners"]
    async with watching(ready_bot, Listeners, watch_rest=False) as surface:
        found = surface.findings()[-1]
    assert (found.name, found.well) == ("replies", True)
    assert found.text == "recorded as listeners: PERFORMANCE_WATCH_REST is off"

    async def changed(route):
        raise AssertionError

    request, ready_bot.http.request = ready_bot.http.request, changed
    async with watching(ready_bot, Rest, Listeners) as (_, surface):
        found = surface.findings()[-1]
    ready_bot.http.request = request
    assert (found.name, found.well) == ("replies", False)
    assert found.text == "recorded as listeners: the hook on REST requests failed"


async def test_a_slow_discord_is_part_of_the_reply(discord_server, ready_bot, watching, recorded):
    ready_bot.add_listener(greet, "on_message")
    discord_server.fail(slow(0.05), SEND)
    async with watching(ready_bot, *SURFACES):
        await discord_server.say("hello")
        await discord_server.settled()
    (reply,) = recorded(REPLIES)
    assert reply.duration_ms >= reply.metadata["first_ms"] - 0.1 >= 49
