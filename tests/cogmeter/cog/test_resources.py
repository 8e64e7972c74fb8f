"""``/perf resources``: use and growth of the bot's process."""

import io
import time

import pytest
from PIL import Image

from cogmeter.alerts.model import GrownObjects
from cogmeter.monitor.jobs import sample
from cogmeter.watch.memory.memory import MemoryWatch


async def answer(home, command="perf resources"):
    result = await home.owner.slash(home.channel, command)
    return result.response


async def grow(home, hours=6):
    """Store samples of a memory that grows by 10 MB an hour."""
    now_us = time.time_ns() // 1000
    for minutes in range(hours * 60, 0, -5):
        memory = 100e6 - minutes * 10e6 / 60
        await home.monitor.store.add_samples(now_us - minutes * 60_000_000, {"resources.memory_bytes": memory})


async def test_without_samples_the_answer_names_the_setting(move_in):
    async with move_in(PERFORMANCE_WATCH_RESOURCES="false") as home:
        message = await answer(home)
    assert "PERFORMANCE_WATCH_RESOURCES" in message.embeds[0].description
    assert not message.attachments


async def test_the_resources_of_the_process_are_listed_with_a_chart(move_in):
    async with move_in() as home:
        await sample(home.monitor)
        message = await answer(home)
        (file,) = message.attachments
        size = Image.open(io.BytesIO(await file.read())).size
        (embed,) = message.embeds
    assert size == (1600, 1200)
    assert embed.title == "Resources (last 24 hours)"
    for name in ("CPU", "Memory", "Open files", "Threads", "Longest GC pause"):
        assert f"**{name}**" in embed.description
    assert "Resources of the bot's process" in file.description


async def test_steady_growth_is_named_first(move_in):
    async with move_in(PERFORMANCE_CHARTS="false", PERFORMANCE_WATCH_RESOURCES="false") as home:
        await grow(home)
        (embed,) = (await answer(home)).embeds
    assert embed.description.splitlines()[0] == "**Growing:** Memory +240 MB/day"


async def test_the_objects_that_grew_are_listed(move_in, monkeypatch):
    names = tuple(f"cogs.music.*Music*.queue{number} @everyone" for number in range(10))
    async with move_in(PERFORMANCE_CHARTS="false") as home:
        (watch,) = [surface for surface in home.monitor.watcher.surfaces if isinstance(surface, MemoryWatch)]
        monkeypatch.setattr(watch, "grown", GrownObjects(3_600.0, names))
        await sample(home.monitor)
        (embed,) = (await answer(home)).embeds
    (field,) = embed.fields
    assert field.name == "Objects that grew in the last 1 h"
    assert field.value.count("\n- ") == 4
    assert field.value.endswith("\nand 5 more")
    assert r"\*Music\*" in field.value
    assert "@everyone" not in field.value


@pytest.mark.parametrize(("label", "title"), [("7d", "Resources (last 7 days)"), ("Health", "Bot health")])
async def test_its_buttons_lead_to_other_periods_and_answers(move_in, label, title):
    async with move_in(PERFORMANCE_CHARTS="false") as home:
        message = await answer(home)
        await home.owner.click(message, label=label)
        assert home.channel.last_message.embeds[0].title.startswith(title)


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf resources")
    assert result.ephemeral
