"""Background loops: their iterations, their lateness, and their deaths, which discord.py hardly reports."""

from __future__ import annotations

import asyncio
import time
from datetime import time as datetime_time

import discord
import pytest
from discord.ext import commands, tasks

from cogmeter.recording import tracing
from cogmeter.watch.background import overdue
from cogmeter.watch.background.loops import DIED, BackgroundLoops
from cogmeter_storage import Outcome

FAST = 0.01


@pytest.fixture
def bot():
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


@pytest.fixture
def started():
    """``started(loop)``: the loop, started, and cancelled when the test ends."""
    running = []

    def start(loop):
        loop.start()
        running.append(loop)
        return loop

    yield start
    for loop in running:
        loop.cancel()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def ended(loop):
    await until(lambda: not loop.is_running())
    await asyncio.sleep(0)


def make_loop(body, **options):
    return tasks.loop(**{"seconds": FAST, **options})(body)


async def work():
    await asyncio.sleep(FAST)


async def test_each_iteration_of_a_loop_is_recorded_whether_it_ran_before_or_starts_later(
    bot, watching, recorded, started
):
    earlier = started(make_loop(work))
    await asyncio.sleep(FAST)
    body = earlier.coro

    async def later():
        await asyncio.sleep(FAST)

    async with watching(bot, BackgroundLoops):
        started(make_loop(later))
        await until(lambda: {one.operation for one in recorded()} == {"work", "later"})
    assert earlier.coro is body
    await asyncio.sleep(3 * FAST)  # what was under way is still recorded
    seen = recorded()
    assert {(one.service, one.outcome) for one in seen} == {("discord.tasks", Outcome.OK)}
    assert all(one.duration_ms >= 9 for one in seen)
    await asyncio.sleep(5 * FAST)
    assert len(recorded()) == len(seen)


async def test_a_cogs_loop_keeps_its_name_and_the_class_its_own_body(bot, watching, recorded):
    class Feed(commands.Cog):
        def __init__(self):
            self.polled = 0
            self.poll.start()

        async def cog_unload(self):
            self.poll.cancel()

        @tasks.loop(seconds=FAST)
        async def poll(self):
            self.polled += 1

    body = Feed.poll.coro
    async with bot, watching(bot, BackgroundLoops):
        await bot.add_cog(Feed())
        cog = bot.get_cog("Feed")
        await until(lambda: cog.polled >= 2)
        assert cog.poll.coro.__name__ == "poll"
        assert Feed.poll.coro is body
        await bot.remove_cog("Feed")
    assert cog.poll.coro is body
    assert {one.operation.rpartition(".")[0] for one in recorded()} == {"Feed"}


async def test_a_retried_failure_is_recorded_and_no_death(bot, watching, recorded, started):
    async def fetch():
        raise OSError("no route")

    async with watching(bot, BackgroundLoops) as surface:
        loop = started(make_loop(fetch))
        await until(recorded)
        await asyncio.sleep(FAST)
        assert loop.is_running()
        assert all(finding.well for finding in surface.findings())
    (one,) = recorded()
    assert (one.outcome, one.error) == (Outcome.ERROR, "OSError: no route")


async def test_a_loop_that_dies_is_reported_once_and_forgotten_when_it_is_started_again(
    bot, watching, recorded, started
):
    handled = []
    failing = [True]

    async def count_down():
        if failing.pop():
            raise ValueError("zero")
        failing.append(False)

    failing.insert(0, False)
    loop = make_loop(count_down)

    @loop.error
    async def on_error(error):
        handled.append(error)

    async with watching(bot, BackgroundLoops) as surface:
        task = started(loop).get_task()
        await ended(loop)
        assert [str(error) for error in handled] == ["zero"]
        assert task.exception() is handled[0]
        (one,) = recorded()
        assert (one.outcome, one.error) == (Outcome.ERROR, DIED + "ValueError: zero")
        (finding,) = [finding for finding in surface.findings() if not finding.well]
        assert finding.text == "count_down: the loop died: ValueError: zero"
        started(loop)
        await until(lambda: len(recorded()) > 1)
        assert all(finding.well for finding in surface.findings())


async def test_a_loop_that_dies_before_its_first_iteration_is_reported_and_asyncio_still_warns(
    bot, watching, recorded, started
):
    loop = make_loop(work)

    @loop.before_loop
    async def prepare():
        raise LookupError("no channel")

    warned = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: warned.append(context["message"]))
    async with watching(bot, BackgroundLoops) as surface:
        started(loop)
        await ended(loop)
        assert [one.error for one in recorded()] == [DIED + "LookupError: no channel"]
        assert sum(not finding.well for finding in surface.findings()) == 1
        loop._task = None
        await until(lambda: warned)
    assert warned == ["Task exception was never retrieved"]


async def test_a_loop_that_ends_because_something_it_awaits_was_cancelled_has_died(bot, watching, recorded, started):
    async def wait_for_another():
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    async with watching(bot, BackgroundLoops) as surface:
        await ended(started(make_loop(wait_for_another)))
        assert sum(not finding.well for finding in surface.findings()) == 1
    assert [(one.outcome, one.error) for one in recorded()] == [(Outcome.ERROR, DIED + "CancelledError")]


@pytest.mark.parametrize("how", ["count", "stop", "cancel between", "cancel within"])
async def test_the_end_of_a_count_stop_and_cancel_are_no_deaths(bot, watching, recorded, started, how):
    async with watching(bot, BackgroundLoops) as surface:
        loop = started(make_loop(work, count=2 if how == "count" else None, seconds=0 if how == "count" else 0.05))
        await until(lambda: len(recorded()) >= 1)
        if how == "stop":
            loop.stop()
        if how == "cancel within":
            await until(lambda: loop.current_loop == 1)
            await asyncio.sleep(0)
        if how.startswith("cancel"):
            loop.cancel()
        await ended(loop)
        assert all(finding.well for finding in surface.findings())
    assert {one.outcome for one in recorded()} <= {Outcome.OK, Outcome.CANCELLED}


async def test_an_iteration_that_begins_late_says_how_late(bot, watching, recorded, started):
    async def block():
        time.sleep(0.15)

    async with watching(bot, BackgroundLoops):
        started(make_loop(block, seconds=0.05))
        await until(lambda: len(recorded()) >= 2)
    assert recorded()[1].metadata["late_ms"] >= 95


async def test_a_call_of_the_loop_as_a_function_is_no_iteration(bot, watching, recorded, started):
    async with watching(bot, BackgroundLoops):
        loop = started(make_loop(work, seconds=60))
        await until(recorded)
        await loop()
    assert len(recorded()) == 1


async def test_a_loop_that_a_command_starts_is_no_part_of_that_command(bot, watching, started):
    scopes = []

    async def look():
        scopes.append(tracing.current())

    async with watching(bot, BackgroundLoops):
        trace = tracing.Trace("start", time.perf_counter_ns())
        token = tracing.begin(trace)
        started(make_loop(look))
        assert tracing.current().trace is trace
        tracing.end(token)
        await until(lambda: scopes)
    assert set(scopes) == {None}


async def test_a_loop_that_is_started_twice_still_says_so(bot, watching, started):
    async with watching(bot, BackgroundLoops):
        loop = started(make_loop(work))
        with pytest.raises(RuntimeError, match="already launched"):
            loop.start()


async def test_our_own_loops_are_not_the_hosts(bot, watching, recorded, started):
    async def ours():
        pass

    ours.__module__ = "cogmeter.runtime"
    async with watching(bot, BackgroundLoops):
        loop = started(make_loop(ours))
        assert loop.coro is ours
        await asyncio.sleep(3 * FAST)
    assert recorded() == []


async def test_removal_leaves_another_ones_wrappers_in_place(bot, watching, recorded, started):
    before = vars(tasks.Loop)["start"]
    async with watching(bot, BackgroundLoops):
        loop = started(make_loop(work))
        below = loop.coro
        calls = []

        async def theirs():
            calls.append(1)
            await below()

        loop.coro = theirs
        await until(lambda: calls)
    assert vars(tasks.Loop)["start"] is before
    assert loop.coro is theirs
    await asyncio.sleep(3 * FAST)
    seen, count = len(recorded()), len(calls)
    await until(lambda: len(calls) > count + 1)
    assert len(recorded()) == seen


async def test_without_the_hook_loops_are_found_when_samples_are_taken(bot, watching, recorded, started, monkeypatch):
    start = tasks.Loop.start

    def without_arguments(loop):
        return start(loop)

    monkeypatch.setattr(tasks.Loop, "start", without_arguments)
    async with watching(bot, BackgroundLoops) as surface:
        assert "it takes (loop)" in surface.findings()[0].text
        started(make_loop(work))
        await asyncio.sleep(0)
        assert surface.sample() == {}
        await until(recorded)


# The states that alerts are made of


@pytest.fixture
def impatient(monkeypatch):
    """Overdue after two intervals, or a short while."""
    monkeypatch.setattr(overdue, "GRACE_S", 0.2)


async def test_a_dead_loop_is_dead_until_it_is_started_again_or_its_cog_is_taken_out(bot, watching, started):
    class Feed(commands.Cog):
        @tasks.loop(seconds=FAST)
        async def poll(self):
            raise ValueError("zero")

        @poll.error
        async def on_error(self, error):
            pass

    async with bot, watching(bot, BackgroundLoops) as surface:
        cog = Feed()
        await bot.add_cog(cog)
        for _ in range(2):
            cog.poll.start()
            assert surface.loops() == []
            await asyncio.wait([cog.poll.get_task()])
            (one,) = surface.loops()
            assert (one.dead, one.overdue_s, one.text) == (True, 0.0, "ValueError: zero")
            assert one.name.endswith("Feed.poll")
            cog.poll.get_task().exception()
        await bot.remove_cog("Feed")
        assert surface.loops() == []
        assert all(finding.well for finding in surface.findings())


async def test_a_loop_that_runs_on_time_passes(bot, watching, recorded, started, impatient):
    async with watching(bot, BackgroundLoops) as surface:
        started(make_loop(work, seconds=0.2))
        started(tasks.loop(time=[datetime_time(hour) for hour in range(0, 24, 6)])(work))
        await until(lambda: len(recorded()) >= 2)
        assert surface.loops() == []


async def test_a_loop_that_nothing_wakes_is_overdue_until_it_runs_again(bot, watching, recorded, started, impatient):
    async with watching(bot, BackgroundLoops) as surface:
        loop = started(make_loop(work, seconds=0.3))
        await until(lambda: len(recorded()) >= 1)
        loop._handle.handle.cancel()  # as a timer that is lost
        await until(surface.loops)
        (one,) = surface.loops()
        assert (one.name, one.dead, one.text) == ("work", False, "it was not woken")
        assert one.overdue_s > 0.6
        loop._handle._wrapped_set_result(loop._handle.future)
        await until(lambda: len(recorded()) >= 2)
        assert surface.loops() == []


async def test_an_iteration_that_does_not_end_is_overdue_when_it_never_took_nearly_as_long(
    bot, watching, recorded, started, impatient
):
    hang = asyncio.Event()

    async def fetch():
        if len(recorded()) >= overdue.ENOUGH:
            await hang.wait()

    async with watching(bot, BackgroundLoops) as surface:
        started(make_loop(fetch, seconds=0.05))
        await until(surface.loops)
        (one,) = surface.loops()
        assert (one.name, one.dead, one.text) == ("fetch", False, "its iteration does not end")
        hang.set()
        await until(lambda: len(recorded()) > overdue.ENOUGH)
        assert surface.loops() == []


async def test_a_loop_that_waits_for_what_happens_and_one_that_falls_behind_are_at_work(
    bot, watching, recorded, started, impatient
):
    queue = asyncio.Queue()

    async def take():
        await queue.get()

    async def slow():
        await asyncio.sleep(0.15)

    async with watching(bot, BackgroundLoops) as surface:
        started(make_loop(take, seconds=0))
        started(make_loop(slow, seconds=0.05))
        for _ in range(10):
            queue.put_nowait(None)
            await asyncio.sleep(0.1)
            assert surface.loops() == []
        await asyncio.sleep(0.5)
        assert surface.loops() == []
        assert sum(one.operation == "slow" for one in recorded()) > 3


async def test_stopped_cancelled_retrying_and_restarted_loops_are_not_overdue(
    bot, watching, recorded, started, impatient
):
    async def refused():
        if sum(one.operation == "refused" for one in recorded()) >= 1:
            raise OSError("no route")

    async def wait():
        await asyncio.sleep(60)

    async with watching(bot, BackgroundLoops) as surface:
        stopped = started(make_loop(work, seconds=0.01))
        restarted = make_loop(work, seconds=0.01)
        started(make_loop(refused, seconds=0.01))
        started(restarted)
        await until(lambda: {one.operation for one in recorded()} == {"work", "refused"} and len(recorded()) > 8)
        stopped.cancel()
        restarted.cancel()
        await ended(restarted)
        restarted.before_loop(wait)
        restarted.start()
        await asyncio.sleep(0.4)
        assert surface.loops() == []
        assert restarted.is_running()


async def test_a_short_delay_of_a_loop_is_not_reported(bot, watching, recorded, started):
    async with watching(bot, BackgroundLoops) as surface:
        loop = started(make_loop(work, seconds=0.01))
        await until(lambda: len(recorded()) >= 2)
        await until(lambda: loop._handle is not None and not loop._handle.done())
        loop._handle.handle.cancel()
        await asyncio.sleep(0.1)
        assert surface.loops() == []
