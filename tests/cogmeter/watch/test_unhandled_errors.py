"""Unhandled errors: of tasks, callbacks, threads and finalizers, once each, and every handler still gets its report."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import logging
import sys
import threading

import discord
import pytest
from discord.ext import commands

from cogmeter.recording.background import detached
from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.unhandled_errors import UnhandledErrors

SURFACES = (UnhandledErrors, LoggedErrors)


@pytest.fixture
def bot():
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


@pytest.fixture
async def reports(monkeypatch):
    """The reports that the host's own handlers got, by handler."""
    got = {"loop": [], "thread": [], "finalizer": []}
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: got["loop"].append(context["message"]))
    monkeypatch.setattr(threading, "excepthook", lambda args: got["thread"].append(args.exc_type))
    monkeypatch.setattr(sys, "unraisablehook", lambda args: got["finalizer"].append(args.exc_type))
    yield got
    loop.set_exception_handler(None)


class Feed:
    """A part of the host."""

    async def refresh(self):
        raise LookupError("no feed")

    def poll(self, secret="", failing=True):
        if failing:
            raise LookupError("no feed")

    async def wait(self):
        await asyncio.get_running_loop().create_future()

    def __del__(self):
        raise LookupError("no end")


class Quiet(Feed):
    def __del__(self): ...


async def lost(coroutine):
    """Run this coroutine in a task that nobody awaits, until the garbage collector finds it."""
    task = asyncio.create_task(coroutine)
    await asyncio.wait([task])
    del task
    gc.collect()


async def test_a_lost_task_is_named_by_its_coroutine(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        await lost(Quiet().refresh())
    (error,) = errors()
    assert error[:2] == ("unhandled", "LookupError")
    assert (error.service, error.operation) == ("unhandled", "Feed.refresh")
    assert reports["loop"] == ["Task exception was never retrieved"]


async def test_asyncios_own_log_record_about_a_lost_task_is_not_counted_again(bot, watching, errors, caplog):
    async with watching(bot, *SURFACES):
        await lost(Quiet().refresh())
        asyncio.get_running_loop().call_soon(Quiet().poll)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [error.kind for error in errors()] == ["unhandled"] * 2
    assert [record.name for record in caplog.records] == ["asyncio"] * 2


async def test_without_this_surface_asyncios_log_record_counts(bot, watching, errors):
    async with watching(bot, LoggedErrors):
        await lost(Quiet().refresh())
    (error,) = errors()
    assert (error.kind, error.type, error.operation) == ("logged", "LookupError", "asyncio")


async def test_a_hosts_handler_that_logs_the_report_does_not_count_it_again(bot, watching, errors):
    def handle(loop, context):
        logging.getLogger("shop").error("the loop reports: %s", context["message"])

    loop = asyncio.get_running_loop()
    async with watching(bot, *SURFACES):
        loop.set_exception_handler(handle)
        await lost(Quiet().refresh())
        assert loop.get_exception_handler() is handle
    loop.set_exception_handler(None)
    assert [error.kind for error in errors()] == ["unhandled"]


async def test_an_error_that_was_logged_before_is_not_counted_again(bot, watching, errors, reports):
    async def log_and_raise():
        try:
            Quiet().poll()
        except LookupError:
            logging.getLogger("shop").exception("no feed")
            raise

    async with watching(bot, *SURFACES):
        await lost(log_and_raise())
    assert [error.kind for error in errors()] == ["logged"]
    assert reports["loop"] == ["Task exception was never retrieved"]


async def test_an_exception_that_is_retrieved_is_no_error(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        with pytest.raises(LookupError):
            await asyncio.create_task(Quiet().refresh())
        task = asyncio.create_task(Quiet().wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
    assert errors() == []
    assert reports["loop"] == []


async def test_a_task_that_is_destroyed_before_its_end_is_an_error_at_its_coroutine(bot, watching, recorder, reports):
    async with watching(bot, *SURFACES):
        task = asyncio.create_task(Quiet().wait())
        await asyncio.sleep(0)
        del task
        gc.collect()
    (batch,) = recorder.errors.take()
    assert [operation for _, operation, _ in batch.counts] == ["Feed.wait"]
    assert batch.message == "Task was destroyed but it is pending!: Feed.wait"
    assert (batch.place.file.rpartition("/")[2], batch.place.function) == ("test_unhandled_errors.py", "Feed.wait")
    assert reports["loop"] == ["Task was destroyed but it is pending!"]


async def test_a_callback_is_named_without_its_arguments(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        asyncio.get_running_loop().call_soon(Quiet().poll, "a secret")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    (error,) = errors()
    assert (error.kind, error.operation) == ("unhandled", "Feed.poll")
    assert "secret" not in str(error)
    assert len(reports["loop"]) == 1


async def test_a_future_of_a_thread_pool_is_named_by_its_function(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        future = asyncio.get_running_loop().run_in_executor(None, Quiet().poll)
        await asyncio.wait([future])
        del future
        gc.collect()
    (error,) = errors()
    assert (error.kind, error.service, error.operation) == ("unhandled", "unhandled", "Feed.poll")


async def test_a_thread_is_named_by_its_function(bot, watching, errors, reports):
    class Worker(threading.Thread):
        def run(self):
            raise LookupError("no work")

    async with watching(bot, *SURFACES):
        for thread in (threading.Thread(target=Quiet().poll), Worker()):
            thread.start()
            thread.join()
        leaving = threading.Thread(target=sys.exit)
        leaving.start()
        leaving.join()
    found = errors()
    assert [(error.kind, error.type) for error in found] == [("unhandled", "LookupError")] * 2
    assert {error.operation for error in found} == {"Feed.poll", "Worker.run"}
    assert reports["thread"] == [LookupError, LookupError, SystemExit]


async def test_a_thread_is_named_by_the_hosts_function_also_below_a_library(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        thread = threading.Thread(target=functools.reduce, args=(lambda x, y: Quiet().poll(), [1, 2]))
        pool = concurrent.futures.ThreadPoolExecutor()
        lost_in_pool = threading.Thread(target=lambda: pool.submit(Quiet().poll).result())
        for one in (thread, lost_in_pool):
            one.start()
            one.join()
        pool.shutdown()
    names = [error.operation.rpartition(".")[2] for error in errors()]
    assert names == ["<lambda>", "<lambda>"]


async def test_an_error_in_a_finalizer_is_unhandled(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        Feed()
        gc.collect()
    (error,) = errors()
    assert (error.kind, error.type, error.operation) == ("unhandled", "LookupError", "Feed.__del__")
    assert reports["finalizer"] == [LookupError]


async def test_other_reports_of_asyncio_are_counted_as_the_log_records_that_they_become(bot, watching, errors):
    async with watching(bot, *SURFACES):
        asyncio.get_running_loop().call_exception_handler({"message": "Unclosed client session"})
    (error,) = errors()
    assert (error.kind, error.service, error.operation) == ("logged", "log", "asyncio")


async def test_cogmeters_own_tasks_are_not_the_hosts(bot, watching, errors, reports):
    async with watching(bot, *SURFACES):
        task = detached(Quiet().refresh(), name="cogmeter: test")
        await asyncio.wait([task])
        del task
        gc.collect()
    assert errors() == []
    assert reports["loop"] == ["Task exception was never retrieved"]


async def test_a_task_that_a_command_starts_belongs_to_it_also_after_the_command_ended(
    discord_server, ready_bot, watching, errors, reports
):
    go, started = asyncio.Event(), []

    async def later():
        await go.wait()
        Quiet().poll()

    @ready_bot.tree.command()
    async def follow(interaction: discord.Interaction):
        """Follow a feed."""
        started.append(asyncio.create_task(later()))
        asyncio.get_running_loop().call_later(0.2, Quiet().poll)
        await interaction.response.send_message("following")

    async with watching(ready_bot, Arrivals, SlashCommands, *SURFACES):
        await (await discord_server.interact(discord_server.owner.slash("follow"))).answered()
        await asyncio.sleep(0.05)
        go.set()
        await asyncio.wait(started)
        started.clear()
        gc.collect()
        async with asyncio.timeout(5):
            while len(reports["loop"]) < 2:
                await asyncio.sleep(0.01)
    found = errors()
    assert [(error.kind, error.service, error.operation) for error in found] == [
        ("unhandled", "discord.commands", "follow")
    ] * 2
    assert reports["loop"][0] == "Task exception was never retrieved"


async def test_the_wrapper_of_a_task_factory_does_not_name_the_task(bot, watching, errors, reports):
    async def wrapper(coroutine):
        return await coroutine

    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(wrapper(coro), loop=loop, **options))
    async with watching(bot, *SURFACES):
        await asyncio.sleep(0.01)
        await lost(Quiet().refresh())
    loop.set_task_factory(None)
    assert [error.operation for error in errors()] == ["Feed.refresh"]


async def test_a_fault_of_ours_is_reported_and_the_host_gets_its_report(bot, watching, recorder, reports):
    async with watching(bot, UnhandledErrors) as surface:
        recorder.errors = None
        await lost(Quiet().refresh())
        thread = threading.Thread(target=Quiet().poll)
        thread.start()
        thread.join()
        texts = [finding.text for finding in surface.findings()]
    assert texts == ["event loop errors: 1 faults of cogmeter", "thread errors: 1 faults of cogmeter"]
    assert (len(reports["loop"]), len(reports["thread"])) == (1, 1)


async def test_everything_is_as_before_after_a_hundred_reloads(bot, watching):
    def state():
        loop = asyncio.get_running_loop()
        handlers = loop.get_exception_handler(), vars(loop).get("call_exception_handler")
        return *handlers, threading.excepthook, sys.unraisablehook

    before = state()
    for _ in range(100):
        async with watching(bot, UnhandledErrors) as surface:
            assert [finding.text for finding in surface.findings()] == ["in place"]
    assert state() == before


async def test_under_the_hooks_of_another_tool_ours_only_pass_on(bot, watching, errors, reports, monkeypatch):
    async with watching(bot, UnhandledErrors) as surface:
        monkeypatch.setattr(threading, "excepthook", functools.partial(threading.excepthook))
        monkeypatch.setattr(sys, "unraisablehook", functools.partial(sys.unraisablehook))
        hooks = {hook.name: hook for hook in surface.hooks}
    assert hooks["thread errors"].state is hooks["finalizer errors"].state is HookState.BURIED
    assert hooks["event loop errors"].state is HookState.OFF
    thread = threading.Thread(target=Quiet().poll)
    thread.start()
    thread.join()
    Feed()
    gc.collect()
    assert errors() == []
    assert (reports["thread"], reports["finalizer"]) == ([LookupError], [LookupError])
