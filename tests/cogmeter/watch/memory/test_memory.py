"""Real leaks of a bot, named by their owner within an hour of virtual time; a bot without a leak names nothing."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import sys
import weakref
from collections import deque
from itertools import pairwise

import discord
import pytest
from discord.ext import commands

from cogmeter.settings import Settings
from cogmeter.watch.memory import memory, owners
from cogmeter.watch.memory.heap import ITEMS, OWN_ITEMS, PIECE, WHOLE, HeapWalk
from cogmeter.watch.memory.owners import walk_all

HERE = f"{__name__}."
ORDERS: list[object] = []


class Track:
    """An object of the host."""

    plays: dict[int, list[int]] = {}  # noqa: RUF012 - a leak of a class

    def __init__(self, number: int) -> None:
        self.number = number
        self.tags = [number]


class Library:
    """An attribute of a cog that has attributes of its own."""

    def __init__(self) -> None:
        self.shelf: dict[int, object] = {}


class Music(commands.Cog):
    """A cog that leaks."""

    def __init__(self, bot: commands.Bot) -> None:
        self.bot = bot
        self.queue: list[object] = []
        self.images: list[bytes] = []
        self.recent: deque[object] = deque(maxlen=100)
        self.library = Library()


@functools.cache
def lyrics(number: int) -> str:
    return f"la {number}"


def greet(number: int, seen: list[object] = []) -> None:  # noqa: B006 - the leak
    seen.extend(Track(number + more) for more in range(15_000))


async def ask_later() -> None:
    await asyncio.sleep(3_600)


@pytest.fixture
async def bot():
    bot = commands.Bot(command_prefix="!", intents=discord.Intents.none(), max_messages=None)
    await bot.add_cog(Music(bot))
    yield bot
    Track.plays.clear()
    ORDERS.clear()
    lyrics.cache_clear()
    greet.__defaults__[0].clear()


@pytest.fixture
def music(bot) -> Music:
    return bot.get_cog("Music")


@pytest.fixture
def clock(monkeypatch):
    """A virtual clock, in seconds; walks make no pauses."""
    time_s = [1_000.0]
    monkeypatch.setattr(memory, "now_ns", lambda: int(time_s[0] * 1e9))
    monkeypatch.setattr(memory, "PAUSE_S", 0)
    monkeypatch.setattr(memory, "SLICE_S", 0.1)
    return time_s


@pytest.fixture
def modules(monkeypatch):
    """Only this module is walked: in the others, what earlier tests have started may still grow."""
    walk_rest = owners._walk_rest
    monkeypatch.setattr(owners, "_is_host", lambda module: module.__name__ == __name__)
    monkeypatch.setattr(owners, "_walk_rest", lambda heap, loop, _: walk_rest(heap, loop, []))


@pytest.fixture
def grown(bot, watching, clock, modules):
    """``await grown(leak)``: what is named an hour after ``leak`` began to run every 20 minutes."""

    async def run(leak=lambda hour: None) -> tuple[str, ...]:
        async with watching(bot, memory.MemoryWatch) as surface:
            await surface.take()
            assert surface.grown is None, "one sample has nothing to be compared with"
            for third in range(3):
                clock[0] += 1_200
                leak(third)
                await surface.take()
            return surface.grown.names

    return run


def sizes(name: str) -> tuple[str, str, int, int]:
    """Owner, kind of container, and items before (0 for "at most", which is little) and now."""
    found = re.fullmatch(
        r"(.+) \((?:(\w+), )?from (at most )?([\d,]+) to ([\d,]+) items(?: in its containers)?\)", name
    )
    assert found, name
    before, now = (int(found[number].replace(",", "")) for number in (4, 5))
    assert before < 2_000
    return found[1], found[2] or "", 0 if found[3] else before, now


async def test_a_bot_without_a_leak_names_nothing(grown, music):
    music.library.shelf = {number: Track(number) for number in range(30_000)}

    def traffic(third: int) -> None:
        music.recent.extend(Track(number) for number in range(10_000))
        music.queue = [Track(number) for number in range(1_000 + third)]

    music.queue = [Track(number) for number in range(1_000)]
    assert await grown(traffic) == ()


async def test_a_list_is_named_with_its_size_before_and_now(grown, music):
    music.queue = list(range(12_000))
    (name,) = await grown(lambda third: music.queue.extend(range(100_000)))
    assert name == f"{HERE}Music.queue (list, from 12,000 to 312,000 items)"


async def test_objects_in_a_nested_dictionary_are_named_with_their_type(grown, music):
    music.queue = [{} for _ in range(500)]

    def leak(third: int) -> None:
        for rows in music.queue:
            rows.update({number: Track(number) for number in range(third * 20, third * 20 + 20)})

    (name,) = await grown(leak)
    kind, count, owner = name.split()
    assert (kind, owner) == (f"{HERE}Track", f"({HERE}Music.queue)")
    assert 29_500 <= int(count.replace(",", "")) <= 30_000, "what was too little to be kept is not counted as growth"


async def test_an_attribute_of_an_attribute_is_named(grown, music):
    def leak(third: int) -> None:
        music.library.shelf.update({(third, number): Track(number) for number in range(20_000)})

    (name,) = await grown(leak)
    assert sizes(name) == (f"{HERE}Music.library.shelf", "dict", 0, 60_000)


async def test_globals_class_attributes_defaults_and_caches_are_named(grown):
    def leak(third: int) -> None:
        ORDERS.extend(Track(number) for number in range(15_000))
        Track.plays[third] = list(range(50_000))
        greet(third)
        for number in range(third * 15_000, third * 15_000 + 15_000):
            lyrics(number)

    names = await grown(leak)
    assert len(names) == 4
    (default,) = [name for name in names if name.startswith(f"{HERE}Track +")]
    assert default.endswith(f"({HERE}greet)")
    assert {sizes(name) for name in names if name != default} == {
        (f"{HERE}ORDERS", "list", 0, 45_000),
        (f"{HERE}Track.plays", "", 0, 150_003),
        (f"{HERE}lyrics", "cache", 0, 45_000),
    }


async def test_large_texts_are_named_with_their_size(grown, music):
    (name,) = await grown(lambda third: music.images.extend(bytes(1_000_000) for _ in range(5)))
    assert name == f"{HERE}Music.images (texts and bytes, from 0 to 15 MB)"


async def test_tasks_are_named_with_their_coroutine(grown):
    tasks: list[asyncio.Task[None]] = []
    names = await grown(lambda third: tasks.extend(asyncio.create_task(ask_later()) for _ in range(1_000)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    (name,) = names
    assert re.fullmatch(r"asyncio tasks \+(2,99\d|3,000) \(ask_later\)", name)


async def test_cached_messages_are_named(bot, grown):
    state = bot._connection
    channel = discord.PartialMessageable(state, 1)
    user = {"id": 5, "username": "a", "discriminator": "0", "avatar": None}
    empty = dict.fromkeys(("attachments", "embeds", "mentions", "mention_roles", "reactions"), ())
    data = {"author": user, "content": "", "type": 0, "pinned": False, "mention_everyone": False, "tts": False}
    data |= {"edited_timestamp": None, **empty}
    state._messages = deque()

    def leak(third: int) -> None:
        state._messages.extend(
            discord.Message(state=state, channel=channel, data=data | {"id": number}) for number in range(2_000)
        )

    (name,) = await grown(leak)
    assert sizes(name) == ("discord.py's message cache", "deque", 0, 6_000)


async def test_a_leak_of_earlier_hours_that_has_stopped_is_not_named(bot, music, watching, clock):
    async with watching(bot, memory.MemoryWatch) as surface:
        await surface.take()
        music.queue = [Track(number) for number in range(30_000)]
        clock[0] += 1_200
        await surface.take()
        assert surface.grown.names
        for _ in range(4):
            clock[0] += 1_200
            await surface.take()
        assert surface.grown.names == ()
        assert surface.grown.span_s == 3_600


async def test_a_sample_is_taken_every_20_minutes_and_two_hours_are_kept(bot, watching, clock, monkeypatch):
    monkeypatch.setattr(memory, "walk_all", lambda _, heap, **__: heap.walk("", [[1]]))
    async with watching(bot, memory.MemoryWatch) as surface:
        ages = []
        for _ in range(4 * 3_600 // 15):
            clock[0] += 15
            taken = len(surface.samples), surface.samples[-1].at_s if surface.samples else 0
            assert surface.sample() == {}
            if surface._task is not None:
                await surface._task
            if (len(surface.samples), surface.samples[-1].at_s if surface.samples else 0) != taken:
                ages.append(clock[0])
        assert {later - earlier for earlier, later in pairwise(ages)} == {1_200}
        assert ages[0] == 1_000 + memory.FIRST_S
        assert len(surface.samples) == memory.SAMPLES


async def test_a_sample_is_bounded(bot, music, watching, clock):
    for number in range(3_000):
        setattr(music, f"kind_{number}", [type(f"Kind{number}", (), {"number": 1})() for _ in range(3)])
    async with watching(bot, memory.MemoryWatch) as surface:
        await surface.take()
        (sample,) = surface.samples
        assert len(sample.counts) <= 2 * memory.MOST_ROWS
        assert sample.floor > 0


async def test_removal_stops_a_sample_and_keeps_nothing(bot, music, watching, monkeypatch):
    monkeypatch.setattr(memory, "FIRST_S", -1)
    music.queue = [Track(number) for number in range(15_000)]
    for _ in range(100):
        async with watching(bot, memory.MemoryWatch) as surface:
            surface.sample()
            await asyncio.sleep(0.001)
            task = surface._task
        assert task.cancelled()
        assert not surface.samples
    track = weakref.ref(music.queue[7])
    music.queue.clear()
    gc.collect()
    assert track() is None


async def test_a_sample_that_fails_is_counted_and_the_next_one_is_taken(bot, watching, clock, monkeypatch, caplog):
    async with watching(bot, memory.MemoryWatch) as surface:
        with monkeypatch.context() as broken:
            broken.setattr(memory, "walk_all", lambda *_, **__: 1 / 0)
            clock[0] += memory.FIRST_S
            surface.sample()
            await surface._task
        assert surface.faults == 1
        assert not surface.findings()[0].well
        assert "could not be counted" in caplog.text
        clock[0] += memory.EVERY_S
        surface.sample()
        await surface._task
        assert len(surface.samples) == 1


def test_the_setting_switches_it_off():
    assert memory.MemoryWatch.wanted(Settings(_env_file=None))
    assert not memory.MemoryWatch.wanted(Settings(_env_file=None, watch_memory=False))


class Refusing(type):
    """A metaclass whose classes cannot be hashed or compared."""

    def __hash__(cls) -> int:
        raise AssertionError("the host's code ran")

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("the host's code ran")


class Hostile(list, metaclass=Refusing):  # type: ignore[type-arg]
    """A list that refuses everything."""

    def _refuse(self, *_: object) -> None:
        raise AssertionError("the host's code ran")

    __len__ = __iter__ = __eq__ = __hash__ = __getitem__ = __getattribute__ = __bool__ = _refuse  # type: ignore[assignment]
    __class__ = property(_refuse)  # type: ignore[assignment]


async def test_no_code_of_the_host_runs(bot, music):
    music.queue = [Hostile([1, 2, 3]) for _ in range(150)]
    music.hostile = Hostile([Track(number) for number in range(WHOLE + 1)])
    heap = HeapWalk()
    for _ in walk_all(bot, heap, known_tasks=0):
        pass
    assert heap.counts[f"{HERE}Music.queue", f"{HERE}Hostile"] == 150
    assert heap.counts[f"{HERE}Music.hostile", OWN_ITEMS] == WHOLE + 1


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, deque, lambda items: dict(enumerate(items))])
def test_the_objects_of_a_large_container_are_estimated(kind):
    heap = HeapWalk()
    value = kind([Track(number) for number in range(50_000)])
    pieces = sum(1 for _ in heap.walk("cache", [value]))
    assert heap.counts["cache", f"{HERE}Track"] == pytest.approx(50_000, rel=0.02)
    assert heap.counts["cache", ITEMS] >= (0 if kind is tuple else 50_000)
    assert pieces < 200 * PIECE


def test_the_objects_of_a_small_container_are_counted_once():
    heap = HeapWalk()
    shared = [Track(number) for number in range(1_000)]
    for owner in ("first", "second"):
        for _ in heap.walk(owner, [[shared, list(shared)]]):
            pass
    assert heap.counts["first", f"{HERE}Track"] == 1_000
    assert heap.counts["second", f"{HERE}Track"] == 0


async def test_a_container_that_changes_during_the_walk_does_no_harm(bot, music):
    music.queue = [[number] for number in range(15_000)]
    music.library.shelf = {number: [number] for number in range(30_000)}
    heap = HeapWalk()
    for number, _ in enumerate(walk_all(bot, heap, known_tasks=0)):
        music.queue[:100] = []
        music.library.shelf[-number] = [number]
        setattr(music, f"more_{number % 50}", number)
        sys.modules.pop("no_such_module", None)
    assert heap.counts[f"{HERE}Music.library.shelf", OWN_ITEMS] >= 30_000


async def test_ids_in_names_of_attributes_are_removed(bot, music):
    music.guild_123456789012345678 = [[number] for number in range(100)]
    heap = HeapWalk()
    for _ in walk_all(bot, heap, known_tasks=0):
        pass
    assert not any("123456789012345678" in owner for owner, _ in heap.counts)
