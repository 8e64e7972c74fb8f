"""What runs now is found with its age and the line that it waits in, and nothing is left of what has ended."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from cogmeter.recording import running as module
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.running import enter, leave, operation_in, pause, running_operation
from cogmeter.recording.waiting import RunningReader, line_of

SLEEP = "waiting in asyncio/tasks.py"


@pytest.fixture
def recorder():
    return Recorder(Buffer(1_000))


@pytest.fixture
async def run():
    """``await run(coroutine)``: starts it as a task, and lets it run to its first wait."""
    tasks = []

    async def start(*coroutines):
        tasks.extend(asyncio.create_task(coroutine) for coroutine in coroutines)
        await asyncio.sleep(0.01)
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def names(recorder):
    reader = await RunningReader.read(recorder)
    return sorted(f"{one.service}/{one.operation}" for one in await reader.page(100))


async def test_operations_of_with_blocks_are_found_while_their_task_waits(recorder, run):
    async def plain():
        with recorder.operation("db", "query"):
            await asyncio.sleep(60)

    async def nested():
        async with recorder.operation("db", "outer", table="x") as outer:
            outer.annotate(rows=1)
            with recorder.track("db", "inner")():
                await asyncio.sleep(60)

    await run(plain(), nested())
    assert await names(recorder) == ["db/inner", "db/outer", "db/query"]


async def test_an_operation_that_has_ended_or_not_begun_is_not_found(recorder, run):
    async def work():
        over = recorder.operation("db", "over")
        with over:
            pass
        early = recorder.operation("db", "early")
        await asyncio.sleep(60)
        return over, early

    await run(work())
    assert await names(recorder) == []


async def test_decorated_coroutines_and_generators_are_found(recorder, run):
    @recorder.track("llm", "ask")
    async def ask():
        await asyncio.sleep(60)

    @recorder.track("llm", "stream")
    async def stream():
        yield 1
        await asyncio.sleep(60)

    @recorder.track("llm", "parts")
    def parts():
        yield 1
        yield 2

    async def inside_the_stream():
        async for _ in stream():
            pass

    async def between_two_values():
        async for _ in stream():
            await asyncio.sleep(60)

    async def between_two_parts():
        for _ in parts():
            await asyncio.sleep(60)

    await run(ask(), inside_the_stream(), between_two_values(), between_two_parts())
    assert await names(recorder) == ["llm/ask", "llm/parts", "llm/stream", "llm/stream"]


async def test_a_decorated_function_in_a_thread_is_found_with_the_line_of_the_thread(recorder):
    go = threading.Event()

    @recorder.track("files", "read")
    def read():
        go.wait(10)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read)
        await asyncio.sleep(0.05)
        (found,) = await (await RunningReader.read(recorder)).page(10)
        go.set()
        future.result()
    assert (found.service, found.operation) == ("files", "read")
    assert "test_running.py" in found.line
    assert " in read, waiting in threading.py:" in found.line
    assert await names(recorder) == []


async def test_an_operation_of_another_recorder_is_not_found(recorder, run):
    other = Recorder(Buffer(10))

    @other.track("llm", "ask")
    async def ask():
        with other.operation("db", "query"):
            await asyncio.sleep(60)

    await run(ask())
    assert await names(recorder) == []
    assert await names(other) == ["db/query", "llm/ask"]


async def test_the_line_is_the_innermost_of_the_host_and_that_of_the_library_below_it(run):
    async def inner():
        await asyncio.sleep(60)

    async def outer():
        await inner()

    line = line_of(await run(outer()))
    place, _, library = line.partition(", ")
    assert place.endswith(f"test_running.py:{inner.__code__.co_firstlineno + 1} in inner")
    assert library.startswith(SLEEP)
    assert library.endswith(" in sleep")
    assert not line.startswith("/")  # no path of the machine


async def test_a_line_of_the_host_that_waits_for_a_future_names_no_library(run):
    async def waits():
        await asyncio.get_running_loop().create_future()

    assert line_of(await run(waits())).endswith(f":{waits.__code__.co_firstlineno + 1} in waits")


@pytest.mark.parametrize("how", ["task", "gather", "wait_for", "timeout", "shield"])
async def test_the_line_follows_what_a_task_waits_for_into_another_task(run, how):
    async def inner():
        await asyncio.sleep(60)

    async def outer():
        if how == "task":
            await asyncio.create_task(inner())
        elif how == "gather":
            await asyncio.gather(asyncio.sleep(0), inner())
        elif how == "wait_for":
            await asyncio.wait_for(inner(), 60)
        elif how == "timeout":
            async with asyncio.timeout(60):
                await inner()
        else:
            await asyncio.shield(inner())

    line = line_of(await run(outer()))
    if how != "shield":  # whose future does not lead to its task
        assert f":{inner.__code__.co_firstlineno + 1} in inner, {SLEEP}" in line
    else:
        assert " in outer" in line


async def test_the_longest_is_first_and_pages_follow_each_other(recorder, run):
    async def work(number):
        with recorder.operation("db", f"query {number}"):
            await asyncio.sleep(60)

    for number in range(5):
        await run(work(number))
    reader = await RunningReader.read(recorder)
    pages = [await reader.page(2, offset) for offset in (0, 2, 4, 6)]
    assert [[one.operation[-1] for one in page] for page in pages] == [["0", "1"], ["2", "3"], ["4"], []]
    assert len(reader) == 5
    ages = [one.age_s for page in pages for one in page]
    assert ages == sorted(ages, reverse=True)


async def test_the_oldest_of_each_name_is_one_operation(recorder, run):
    async def work():
        with recorder.operation("db", "query"):
            await asyncio.sleep(60)

    await run(work(), work())
    reader = await RunningReader.read(recorder)
    assert [one.operation for one in await reader.oldest(0.0)] == ["query"]
    assert await reader.oldest(3600.0) == []


async def test_nothing_in_a_line_comes_from_the_variables_of_the_host(recorder, run):
    async def ask(token):
        with recorder.operation("llm", "ask"):
            message = f"secret {token}"
            await asyncio.sleep(60)
            return message

    await run(ask("mfa.1234"))
    (found,) = await (await RunningReader.read(recorder)).page(10)
    assert "secret" not in repr(found)
    assert "mfa" not in repr(found)


async def test_looking_keeps_nothing_of_the_host_alive(recorder, run):
    class Thing:
        pass

    seen = []

    async def work():
        with recorder.operation("db", "query"):
            thing = Thing()
            seen.append(weakref.ref(thing))
            await asyncio.sleep(0.05)
            del thing
            await asyncio.sleep(60)

    await run(work())
    await (await RunningReader.read(recorder)).page(10)
    await asyncio.sleep(0.1)
    assert seen[0]() is None


async def test_a_proxy_of_the_host_that_raises_does_no_harm(recorder, run):
    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError("working outside of request context")

    async def work():
        proxy = Proxy()
        with recorder.operation("db", "query"):
            await asyncio.sleep(60)
        return proxy

    await run(work())
    assert await names(recorder) == ["db/query"]


async def test_a_registered_operation_is_that_of_its_code_until_it_ends(recorder):
    begun = recorder.running.begin("discord.commands", "ask")
    token = enter(begun)
    inside = running_operation()
    child = asyncio.create_task(asyncio.sleep(0))
    recorder.running.end(begun)
    assert (inside, running_operation(), operation_in(contextvars.copy_context())) == (begun, None, begun)
    assert (list(recorder.running), len(recorder.running)) == ([], 0)
    leave(token)
    assert operation_in(contextvars.copy_context()) is None
    await child


async def test_a_task_belongs_to_the_operation_that_started_it_and_a_paused_one_to_none(recorder):
    async def seen():
        return running_operation()

    begun = recorder.running.begin("discord.commands", "ask")
    token = enter(begun)
    inherited = await asyncio.create_task(seen())
    outer = pause()
    own = await asyncio.create_task(seen())
    leave(outer)
    leave(token)
    assert (inherited, own) == (begun, None)


async def test_an_operation_is_known_in_the_context_that_it_was_started_in(recorder):
    begun = recorder.running.begin("discord.commands", "ask")
    context = contextvars.copy_context()
    context.run(enter, begun)
    assert operation_in(context) is begun
    assert operation_in(contextvars.copy_context()) is None


async def test_a_closed_or_cancelled_task_leaves_nothing_registered(recorder):
    async def work():
        begun = recorder.running.begin("discord.commands", "ask")
        token = enter(begun)
        try:
            await asyncio.sleep(60)
        finally:
            leave(token)
            recorder.running.end(begun)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert len(recorder.running) == 1
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(recorder.running) == 0

    unfinished = work()
    unfinished.send(None)
    assert len(recorder.running) == 1
    del unfinished
    gc.collect()
    assert len(recorder.running) == 0


async def test_a_registered_operation_does_not_keep_its_task_alive(recorder):
    begun = recorder.running.begin("discord.commands", "ask")

    async def work():
        enter(begun)

    task = asyncio.create_task(work())
    await task
    reference = weakref.ref(task)
    del task
    await asyncio.sleep(0)  # the loop refers to the task until its next turn
    gc.collect()
    assert reference() is None
    (found,) = await (await RunningReader.read(recorder)).page(10)
    assert found.line == ""


def test_more_than_can_be_registered_still_know_their_operation(recorder, monkeypatch):
    monkeypatch.setattr(module, "MAX_RUNNING", 2)
    begun = [recorder.running.begin("discord.commands", "ask") for _ in range(3)]
    assert len(recorder.running) == 2
    for one in begun:
        recorder.running.end(one)
    assert len(recorder.running) == 0


def test_threads_may_begin_and_end_operations_while_they_are_listed(recorder):
    over = threading.Event()

    def work():
        while not over.is_set():
            recorder.running.end(recorder.running.begin("discord.tasks", "job"))

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work) for _ in range(4)]
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            list(recorder.running)
        over.set()
        for future in futures:
            future.result()
    assert len(recorder.running) == 0
