"""Logged errors: each record of level ERROR is one error of the operation that logged it, and nothing counts twice."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import queue
import threading

import discord
import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from discord import app_commands, ui
from discord.ext import commands, tasks

from cogmeter.recording import running
from cogmeter.recording.background import own_context
from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.unhandled_errors import UnhandledErrors
from cogmeter_storage import Outcome

ALL = (
    Arrivals,
    SlashCommands,
    PrefixCommands,
    Components,
    Listeners,
    BackgroundLoops,
    Jobs,
    UnhandledErrors,
    LoggedErrors,
)


@pytest.fixture
def bot():
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


@pytest.fixture
def logger():
    """A logger of the host, as it was before when the test ends."""
    logger = logging.getLogger("shop.orders")
    yield logger
    logger.handlers.clear()
    logger.filters.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.disabled = True, False


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def fail(text="no route"):
    raise OSError(text)


def caught(text="no route"):
    try:
        fail(text)
    except OSError as error:
        return error


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.error("failed"),
        lambda logger: logger.critical("failed"),
        lambda logger: logger.log(logging.ERROR + 5, "failed"),
        lambda logger: logger.error("failed", exc_info=caught()),
        lambda logger: logger.exception("failed", exc_info=caught()),  # noqa: LOG004 - bots do
        lambda logger: logging.LoggerAdapter(logger, {}).error("failed"),
        lambda logger: logger.getChild("child").error("failed"),
        lambda logger: logging.error("failed"),  # noqa: LOG015 - bots do
        lambda logger: logger.handle(logging.makeLogRecord({"name": "shop", "levelno": 40, "msg": "failed"})),
    ],
)
async def test_every_way_to_log_an_error_counts_once(bot, watching, errors, logger, log):
    async with watching(bot, LoggedErrors):
        log(logger)
    (error,) = errors()
    assert (error.kind, error.service) == ("logged", "log")


async def test_an_error_of_a_logger_that_does_not_propagate_counts_under_its_name(bot, watching, errors, logger):
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    async with watching(bot, LoggedErrors):
        logger.error("order %s failed", 5)
    (error,) = errors()
    assert (error.service, error.operation) == ("log", "shop.orders")


async def test_what_the_host_does_not_log_is_no_error(bot, watching, errors, logger):
    async with watching(bot, LoggedErrors):
        logger.warning("slow")
        logger.warning("slow", exc_info=caught())
        logger.setLevel(logging.CRITICAL)
        logger.error("below the level")
        logger.setLevel(logging.NOTSET)
        logger.addFilter(lambda record: False)
        logger.error("refused by the filter")
        logger.filters.clear()
        logger.disabled = True
        logger.error("disabled")
        logger.disabled = False
        logging.disable(logging.CRITICAL)
        logger.error("all are disabled")
        logging.disable(logging.NOTSET)
    assert errors() == []


async def test_cogmeters_own_errors_are_not_the_hosts(bot, watching, errors, logger):
    async with watching(bot, LoggedErrors):
        logging.getLogger("cogmeter").error("failed")
        logging.getLogger("cogmeter.watch").error("failed", exc_info=caught())
        own_context().run(logger.error, "failed")
        logging.getLogger("cogmeter_bot").error("counts")
    assert [error.operation for error in errors()] == ["cogmeter_bot"]


async def test_a_lost_connection_is_the_gateways_and_no_error_of_the_host(bot, watching, errors):
    async with watching(bot, LoggedErrors):
        reports = logging.getLogger("discord.client")
        reports.error("Attempting a reconnect in %.2fs", 1.5, exc_info=caught())
        logging.getLogger("discord.shard").error(
            "Attempting a reconnect for shard ID %s in %.2fs", 3, 1.5, exc_info=caught()
        )
        reports.error("Ignoring exception in %s", "on_message", exc_info=caught())
    assert [(error.kind, error.operation) for error in errors()] == [("logged", "discord.client")]


async def test_an_error_belongs_to_the_operation_that_logs_it_also_in_its_threads(
    bot, watching, errors, logger, recorder
):
    operation = recorder.running.begin("discord.listeners", "on_message")
    async with watching(bot, LoggedErrors):
        token = running.enter(operation)
        logger.error("in the operation")
        await asyncio.to_thread(logger.error, "in its thread")
        await asyncio.create_task(asyncio.to_thread(logger.error, "in a task's thread"))
        other = threading.Thread(target=logger.error, args=("elsewhere",))
        other.start()
        other.join()
        recorder.running.end(operation)
        logger.error("after its end")
        running.leave(token)
    assert operation.logged_errors == 3
    found = [(error.service, error.operation) for error in errors()]
    assert sorted(found) == [("discord.listeners", "on_message")] * 3 + [("log", "shop.orders")] * 2


async def test_one_failure_that_is_logged_again_and_again_counts_once(bot, watching, errors, logger):
    def inner():
        try:
            fail()
        except OSError:
            logger.exception("inner")
            raise

    def outer():
        try:
            inner()
        except OSError as error:
            logging.getLogger("shop.other").exception("outer")
            logger.error("without its exception")  # noqa: TRY400 - bots do
            raise RuntimeError("no order") from error

    async with watching(bot, LoggedErrors):
        try:
            outer()
        except RuntimeError:
            logger.exception("outermost")
    (error,) = errors()
    assert (error.kind, error.type) == ("logged", "OSError")


async def test_a_queues_listener_in_another_thread_does_not_count_again(bot, watching, errors, logger):
    class Forwarding(logging.Handler):
        """Passes records on to another logger's handlers, as receivers of log records do."""

        def emit(self, record):
            logging.getLogger("received").handle(record)

    waiting = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    listener = logging.handlers.QueueListener(waiting, Forwarding())
    logger.addHandler(handler)
    listener.start()
    async with watching(bot, LoggedErrors):
        for number in range(3):
            logger.error("order %s failed", number)
            logger.error("failed", exc_info=caught())
        await asyncio.to_thread(listener.stop)
    assert len(errors()) == 6


async def test_a_handler_that_forwards_to_another_logger_does_not_count_again(bot, watching, errors, logger):
    class Forwarding(logging.Handler):
        def emit(self, record):
            logging.getLogger("other").handle(record)

    logger.addHandler(Forwarding())
    async with watching(bot, LoggedErrors):
        logger.error("failed")
    assert len(errors()) == 1


async def test_errors_of_one_line_at_the_same_time_are_different_errors(bot, watching, errors, logger):
    frozen = logging.getLogRecordFactory()

    def factory(*args, **kwargs):
        record = frozen(*args, **kwargs)
        record.created = 5.0  # a coarse clock
        return record

    logging.setLogRecordFactory(factory)
    try:
        async with watching(bot, LoggedErrors):
            for number in range(5):
                logger.error("order %s failed", number)
    finally:
        logging.setLogRecordFactory(frozen)
    assert len(errors()) == 5


async def test_memory_of_handled_records_is_bounded(bot, watching, logger):
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    async with watching(bot, LoggedErrors) as surface:
        for _ in range(5_000):
            logger.error("failed")
        assert sum(map(len, surface._keys)) <= 4_000


async def test_a_handler_that_logs_an_error_of_its_own_gets_both_counted(bot, watching, errors, logger):
    class Failing(logging.Handler):
        def emit(self, record):
            logging.getLogger("handler").error("cannot send")

    logger.addHandler(Failing())
    async with watching(bot, LoggedErrors):
        logger.error("failed")
    assert sorted(error.operation for error in errors()) == ["handler", "shop.orders"]


async def test_a_fault_of_ours_is_reported_and_the_record_still_reaches_its_handlers(
    bot, watching, recorder, logger, caplog
):
    async with watching(bot, LoggedErrors) as surface:
        recorder.errors = None
        logger.error("failed")
        (finding,) = surface.findings()
    assert "failed" in caplog.messages
    assert not finding.well
    assert "1 faults of cogmeter" in finding.text


async def test_under_another_tools_wrapper_it_only_passes_records_on(bot, watching, errors, logger, caplog):
    before = logging.Logger.callHandlers
    async with watching(bot, LoggedErrors) as surface:
        (hook,) = surface.hooks
        ours = logging.Logger.callHandlers

        def foreign(self, record):
            return ours(self, record)

        logging.Logger.callHandlers = foreign
        logger.error("counted")
    assert hook.state is HookState.BURIED
    logger.error("only passed on")
    assert len(errors()) == 1
    assert caplog.messages[-1] == "only passed on"
    async with watching(bot, LoggedErrors):
        logger.error("counted once")
    assert len(errors()) == 1
    assert logging.Logger.callHandlers is foreign
    logging.Logger.callHandlers = before


async def test_logging_is_as_before_after_a_hundred_reloads(bot, watching):
    before = vars(logging.Logger)["callHandlers"]
    for _ in range(100):
        async with watching(bot, LoggedErrors) as surface:
            assert surface.findings()[0].text == "in place"
    assert vars(logging.Logger)["callHandlers"] is before


class Broken(ui.View):
    def __init__(self):
        super().__init__(timeout=None)

    @ui.button(label="x", custom_id="broken")
    async def press(self, interaction, button):
        fail()


class Vote(ui.DynamicItem[ui.Button], template=r"vote:(?P<poll>[0-9]+)"):
    def __init__(self, poll):
        super().__init__(ui.Button(label="Vote", custom_id=f"vote:{poll}"))

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        return cls(match["poll"])

    async def callback(self, interaction):
        fail()


async def fail_by_slash(server, bot):
    @bot.tree.command()
    async def buy(interaction: discord.Interaction):
        """Buy."""
        fail()

    await server.interact(server.owner.slash("buy"))


async def fail_by_autocomplete(server, bot):
    @bot.tree.command()
    async def buy(interaction: discord.Interaction, what: str):
        """Buy."""

    @buy.autocomplete("what")
    async def suggest(interaction: discord.Interaction, current: str):
        fail()

    await server.interact(server.owner.autocomplete("buy", "what", "a"))


async def fail_by_prefix(server, bot):
    @bot.command()
    async def buy(ctx):
        fail()

    await server.say("!buy")


async def fail_by_hybrid(server, bot):
    @bot.hybrid_command()
    async def buy(ctx):
        """Buy."""
        fail()

    await server.interact(server.owner.slash("buy"))


async def fail_by_button(server, bot):
    message = await bot.get_channel(int(server.world.channel["id"])).send("panel", view=Broken())
    payload = server.world.messages[str(message.channel.id)][str(message.id)]
    await server.interact(server.owner.button(payload, "broken"))


async def fail_by_dynamic_item(server, bot):
    bot.add_dynamic_items(Vote)
    message = await bot.get_channel(int(server.world.channel["id"])).send(
        "poll", view=ui.View(timeout=None).add_item(Vote(5))
    )
    payload = server.world.messages[str(message.channel.id)][str(message.id)]
    await server.interact(server.owner.button(payload, "vote:5"))


async def fail_by_listener(server, bot):
    @bot.listen()
    async def on_message(message):
        fail()

    await server.say("hello")


async def fail_by_event(server, bot):
    @bot.event
    async def on_message(message):
        fail()

    await server.say("hello")


async def fail_by_loop(server, bot):
    @tasks.loop(seconds=60)
    async def poll():
        fail("died" * 3)

    poll._valid_exception = ()  # the first failure ends it
    poll.start()
    await until(lambda: not poll.is_running())


async def fail_by_retried_loop(server, bot):
    @tasks.loop(seconds=60)
    async def poll():
        fail()

    poll.start()
    await asyncio.sleep(0.05)
    poll.cancel()


async def fail_by_job(server, bot):
    async def digest():
        fail()

    scheduler = AsyncIOScheduler()
    scheduler.start()
    scheduler.add_job(digest)
    await asyncio.sleep(0.05)
    scheduler.shutdown(wait=False)
    await asyncio.sleep(0)


FAILURES = [
    (fail_by_slash, "discord.commands"),
    (fail_by_autocomplete, "discord.autocomplete"),
    (fail_by_prefix, "discord.commands"),
    (fail_by_hybrid, "discord.commands"),
    (fail_by_button, "discord.components"),
    (fail_by_dynamic_item, "discord.components"),
    (fail_by_listener, "discord.listeners"),
    (fail_by_event, "discord.listeners"),
    (fail_by_loop, "discord.tasks"),
    (fail_by_retried_loop, "discord.tasks"),
    (fail_by_job, "discord.tasks"),
]


@pytest.mark.parametrize(("cause", "service"), FAILURES)
async def test_a_failure_that_a_library_logs_is_one_error_of_kind_failed(
    discord_server, ready_bot, watching, errors, recorded, cause, service
):
    async with watching(ready_bot, *ALL):
        await cause(discord_server, ready_bot)
        await until(lambda: [one for one in recorded(service) if one.outcome is Outcome.ERROR])
        await asyncio.sleep(0.1)  # its report follows
    (error,) = errors()
    assert (error.kind, error.type, error.service) == ("failed", "OSError", service)


async def test_without_the_surface_of_a_failure_its_report_is_one_logged_error(
    discord_server, ready_bot, watching, errors
):
    found = []
    async with watching(ready_bot, LoggedErrors):
        await fail_by_button(discord_server, ready_bot)
        await until(lambda: found.extend(errors()) or found)
    (error,) = found
    assert (error.kind, error.type, error.operation) == ("logged", "OSError", "discord.ui.view")


async def test_a_refused_command_is_no_error_although_discord_py_logs_it(
    discord_server, ready_bot, watching, errors, recorded
):
    @ready_bot.tree.command()
    @app_commands.checks.has_role("nobody has it")
    async def kick(interaction: discord.Interaction):
        """Kick."""

    @ready_bot.command()
    @commands.check(lambda ctx: False)
    async def ban(ctx): ...

    async with watching(ready_bot, *ALL):
        await discord_server.interact(discord_server.owner.slash("kick"))
        await discord_server.say("!ban")
        await discord_server.say("!unknown")
        await until(lambda: len(recorded("discord.commands")) == 3)
        await asyncio.sleep(0.1)
    assert {one.outcome for one in recorded("discord.commands")} == {Outcome.USER}
    assert errors() == []


async def test_a_listener_that_catches_and_logs_succeeds_with_its_logged_errors(
    discord_server, ready_bot, watching, errors, recorded, logger
):
    @ready_bot.listen()
    async def on_message(message):
        try:
            fail()
        except OSError:
            logger.exception("no answer for %s", message.content)
        logger.error("still no answer")

    async with watching(ready_bot, *ALL):
        await discord_server.say("hello")
        await until(lambda: [one for one in recorded("discord.listeners") if "logged_errors" in one.metadata])
    (one,) = [one for one in recorded("discord.listeners") if one.metadata]
    assert (one.outcome, one.metadata["logged_errors"]) == (Outcome.OK, 2)
    found = errors()
    assert {(error.kind, error.service, error.operation) for error in found} == {
        ("logged", "discord.listeners", one.operation)
    }
    assert len(found) == 2
    assert "hello" not in str(found)


async def test_a_command_that_logs_and_raises_is_one_error(
    discord_server, ready_bot, watching, errors, recorded, logger
):
    @ready_bot.tree.command()
    async def buy(interaction: discord.Interaction):
        """Buy."""
        try:
            fail()
        except OSError:
            logger.exception("cannot buy")
            raise

    async with watching(ready_bot, *ALL):
        await discord_server.interact(discord_server.owner.slash("buy"))
        await until(lambda: recorded("discord.commands"))
        await asyncio.sleep(0.05)
    (error,) = errors()
    assert (error.type, error.service, error.operation) == ("OSError", "discord.commands", "buy")
    (one,) = recorded("discord.commands")
    assert (one.outcome, one.metadata["logged_errors"]) == (Outcome.ERROR, 1)
