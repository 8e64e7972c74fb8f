"""Task factories that wrap coroutines, as error trackers install them: loops, listeners and stalls are recognized."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import time
import weakref
from collections.abc import Coroutine

import pytest
from discord import ui
from discord.ext import tasks

from cogmeter.watch.background.coroutines import Wrappers, objects_in
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import DIED, BackgroundLoops
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter_storage import Outcome


def closure(loop, coro, **options):
    """Wraps in a function inside of the factory, and renames the task."""

    async def wrapper():
        return await coro

    task = asyncio.Task(wrapper(), loop=loop, **options)
    task.set_name("wrapped")
    return task


def renamed(loop, coro, **options):
    """Wraps as an error tracker does that gives the wrapper the name of what it runs."""

    async def run():
        try:
            return await coro
        except Exception as error:
            raise error from None

    wrapper = run()
    wrapper.__qualname__ = coro.__qualname__
    return asyncio.Task(wrapper, loop=loop, **options)


async def wrapper_of_the_module(*coroutines):
    return await coroutines[0]


def argument(loop, coro, **options):
    """Wraps in a function that gets the coroutine among its arguments."""
    return asyncio.Task(wrapper_of_the_module(coro), loop=loop, **options)


class Traced(Coroutine):
    """Wraps in an object with a coroutine's methods."""

    def __init__(self, coro):
        self.coro = coro

    def send(self, value):
        return self.coro.send(value)

    def throw(self, *error):
        return self.coro.throw(*error)

    def close(self):
        self.coro.close()

    def __await__(self):
        return self.coro.__await__()


def of_a_class(loop, coro, **options):
    return asyncio.Task(Traced(coro), loop=loop, **options)


def nested(loop, coro, **options):
    return renamed(loop, wrapper_of_the_module(Traced(coro)), **options)


class Rest:
    """The remaining steps of a coroutine whose first step is made."""

    def __init__(self, coro, first):
        self.coro, self.first = coro, first

    def __await__(self):
        yield self.first
        return (yield from self.coro.__await__())


async def rest_of(rest):
    return await rest


def eager(loop, coro, **options):
    """Makes the first step at once, in the task of the caller, as Python 3.12's own eager tasks do."""
    context = options.pop("context", None)
    try:
        first = coro.send(None) if context is None else context.run(coro.send, None)
    except StopIteration as end:
        done = loop.create_future()
        done.set_result(end.value)
        done.set_name = lambda name: None
        return done
    return asyncio.Task(rest_of(Rest(coro, first)), loop=loop, context=context)


def eager_apart(loop, coro, **options):
    """The same, in a context of its own."""
    return eager(loop, coro, **{**options, "context": contextvars.copy_context()})


FACTORIES = [closure, renamed, argument, of_a_class, nested]
EAGER = [eager_apart]
if hasattr(asyncio, "eager_task_factory"):  # Python 3.12
    FACTORIES.append(asyncio.eager_task_factory)
    EAGER.append(asyncio.eager_task_factory)


@pytest.fixture
async def factory():
    """``factory(function)``: that task factory, until the test ends."""
    loop = asyncio.get_running_loop()
    yield loop.set_task_factory
    loop.set_task_factory(None)


@pytest.fixture
def bot(ready_bot):
    return ready_bot


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def body():
    await asyncio.sleep(0)


def make_loop(function=body, **options):
    return tasks.loop(**{"seconds": 0.01, **options})(function)


@pytest.mark.parametrize("kind", FACTORIES)
async def test_loops_are_recognized_whether_the_factory_wrapped_them_before_or_does_so_later(
    bot, watching, recorded, factory, kind
):
    async def early():
        await asyncio.sleep(0)

    async def late():
        await asyncio.sleep(0)

    factory(kind)
    loops = [make_loop(early), make_loop()]
    for loop in loops:
        loop.start()
    await asyncio.sleep(0.02)
    loops[1].cancel()
    async with watching(bot, BackgroundLoops):
        loops.append(make_loop(late))
        loops[-1].start()
        await until(lambda: {one.operation for one in recorded()} >= {"early", "late"})
        for loop in loops:
            loop.cancel()
    assert {one.outcome for one in recorded()} == {Outcome.OK}


@pytest.mark.parametrize("kind", FACTORIES)
async def test_a_loop_that_was_just_started_is_found_before_its_wrapper_has_run(bot, watching, recorded, factory, kind):
    factory(kind)
    loop = make_loop()
    loop.start()
    async with watching(bot, BackgroundLoops):
        await until(recorded)
        loop.cancel()


@pytest.mark.parametrize("kind", FACTORIES)
async def test_the_death_of_a_wrapped_loop_is_reported(bot, watching, recorded, factory, kind):
    async def fails():
        raise ValueError("zero")

    factory(kind)
    loop = make_loop(fails)
    loop.start()
    async with watching(bot, BackgroundLoops) as surface:
        await until(lambda: not loop.is_running())
        await until(recorded)
        assert [one.error for one in recorded()] == [DIED + "ValueError: zero"]
        assert [state.text for state in surface.loops()] == ["ValueError: zero"]
    assert isinstance(loop.get_task().exception(), ValueError)


async def test_a_factory_that_is_set_later_changes_nothing_for_loops_and_listeners(bot, watching, recorded, factory):
    heard = []

    @bot.listen("on_ping")
    async def pinged():
        heard.append(1)
        raise OSError("no route")

    loop = make_loop()
    async with watching(bot, BackgroundLoops, Listeners) as (surface, _):
        factory(closure)
        loop.start()
        bot.dispatch("ping")
        await until(lambda: len(recorded("discord.tasks")) > 2 and heard)
        assert all(finding.well for finding in surface.findings())
        loop.cancel()
    (listener,) = [one for one in recorded("discord.listeners") if "pinged" in one.operation]
    assert (listener.operation, listener.error) == ("on_ping pinged", "OSError: no route")


async def test_an_eager_factory_does_not_hide_iterations_nor_count_a_call_as_one(bot, watching, recorded, factory):
    factory(eager)

    async def twice():
        return None

    async with watching(bot, BackgroundLoops):
        loop = make_loop(twice, count=2)
        loop.start()
        await loop()
        await until(lambda: not loop.is_running())
    assert [(one.operation, one.outcome) for one in recorded()] == [("twice", Outcome.OK)] * 2


async def test_a_factory_that_runs_a_loop_in_another_task_than_it_returns_does_not_hide_its_iterations(
    bot, watching, recorded, factory
):
    def proxies(event_loop, coro, **options):
        task = asyncio.Task(coro, loop=event_loop, **options)
        given = event_loop.create_future()
        task.add_done_callback(lambda _: given.done() or given.set_result(None))
        given.add_done_callback(lambda _: task.cancel())
        given.set_name = task.set_name
        return given

    factory(proxies)
    async with watching(bot, BackgroundLoops) as surface:
        loop = make_loop()
        loop.start()
        await loop()
        await until(lambda: len(recorded()) >= 2)
        loop.cancel()
        await asyncio.sleep(0.02)
        assert surface.loops() == []
        assert surface.hooks[0].faults == 0


@pytest.mark.parametrize("kind", FACTORIES)
async def test_a_wrapped_listener_and_task_that_block_are_named(discord_server, bot, watching, recorded, factory, kind):
    async def search():
        time.sleep(0.25)

    @bot.listen("on_ping")
    async def answers():
        time.sleep(0.25)

    factory(kind)
    async with watching(bot, StallWatch):
        await asyncio.sleep(0.2)
        for _ in range(20):  # a busy machine keeps the watchdog from reading some stacks
            bot.dispatch("ping")
            await asyncio.sleep(0.3)
            await asyncio.create_task(search())
            await asyncio.sleep(0.1)
            during = {one.operation.rpartition(" ")[2]: one.metadata["during"] for one in recorded("discord.stalls")}
            if {"answers", "search"} <= during.keys():
                break
    assert during["answers"] == "on_ping"
    assert during["search"].endswith("search")


async def test_the_names_of_stalls_follow_a_factory_that_is_set_later(bot, watching, recorded, factory):
    async def search():
        time.sleep(0.25)

    async with watching(bot, StallWatch):
        await asyncio.sleep(0.2)
        factory(argument)
        await asyncio.create_task(asyncio.sleep(2.5))  # the watchdog asks the loop every two seconds at least
        await asyncio.create_task(search())
        await until(lambda: any(one.metadata["during"] for one in recorded("discord.stalls")))
    names = [one.metadata["during"].rpartition(".")[2] for one in recorded("discord.stalls")]
    assert [name for name in names if name] == ["search"]  # a busy machine makes stalls of its own, which have no task


async def test_a_factory_that_fails_costs_nothing(factory):
    def refuses(loop, coro, **options):
        raise TypeError("not like this")

    factory(refuses)
    wrappers = Wrappers()
    wrappers.learn(asyncio.get_running_loop())
    factory(None)
    assert wrappers.codes == frozenset()


async def test_looking_through_a_wrapper_keeps_nothing_of_the_hosts_alive(factory):
    class Big:
        pass

    ready, go = asyncio.Event(), asyncio.Event()

    async def work():
        big = Big()
        known.append(weakref.ref(big))
        ready.set()
        await go.wait()
        big = None
        await asyncio.sleep(60)
        return big

    known = []
    factory(closure)
    task = asyncio.create_task(work())
    await ready.wait()
    assert list(objects_in(task.get_coro(), Big)) == [known[0]()]
    go.set()
    await asyncio.sleep(0.01)
    gc.collect()
    assert known[0]() is None
    task.cancel()


async def test_a_task_made_of_a_partial_and_a_finished_one_are_looked_into_without_harm():
    assert list(objects_in(functools.partial(body), tasks.Loop)) == []
    assert list(objects_in(None, tasks.Loop)) == []


class Both(ui.View):
    """A view with a button of its own."""

    @ui.button(label="go", custom_id="go")
    async def go(self, interaction, button):
        await interaction.response.send_message("done")


class Form(ui.Modal, title="Form"):
    word = ui.TextInput(label="Word", custom_id="word")

    async def on_submit(self, interaction):
        raise OSError("no route")


class Vote(ui.DynamicItem[ui.Button], template=r"vote:(?P<poll>[0-9]+)"):
    def __init__(self, poll):
        super().__init__(ui.Button(label="Vote", custom_id=f"vote:{poll}"))
        self.poll = poll

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        return cls(match["poll"])

    async def interaction_check(self, interaction):
        return self.poll != "3"

    async def callback(self, interaction):
        if self.poll == "2":
            raise OSError("no route")
        await interaction.response.send_message("counted")


@pytest.mark.parametrize("kind", EAGER)
async def test_an_eager_factory_does_not_hide_what_becomes_of_a_press(
    discord_server, bot, watching, recorded, factory, kind
):
    view = Both(timeout=None)
    for poll in "123":
        view.add_item(Vote(poll))
    message = await bot.get_channel(int(discord_server.world.channel["id"])).send("panel", view=view)
    payload = discord_server.world.messages[str(message.channel.id)][str(message.id)]
    view.stop()
    bot.add_view(Both(timeout=None), message_id=message.id)
    bot.add_dynamic_items(Vote)
    bot._connection.store_view(Form(custom_id="form"))
    owner = discord_server.owner
    presses = [owner.button(payload, custom_id) for custom_id in ("go", "vote:1", "vote:2", "vote:3")]
    async with watching(bot, Arrivals, Components):
        factory(kind)
        for press in [*presses, owner.modal("form", {"word": "tea"})]:
            await discord_server.interact(press)
        await until(lambda: len(recorded("discord.components")) >= 5)
        ended = sorted((one.operation, one.outcome) for one in recorded("discord.components"))
    assert ended == [
        ("Both.go", Outcome.OK),
        ("Form", Outcome.ERROR),
        ("Vote", Outcome.OK),
        ("Vote", Outcome.ERROR),
        ("Vote", Outcome.USER),
    ]
