"""Changes of extensions and cogs: one marker for each that is made to a bot that is up, none for starts and ends."""

from __future__ import annotations

import asyncio
import sys

import discord
import pytest
from discord.ext import commands

from cogmeter.watch.changes import Changes
from cogmeter.watch.hook import HookState

MUSIC = """
from discord.ext import commands

class Music(commands.Cog):
    pass

class Quotes(commands.Cog):
    pass

async def setup(bot):
    await bot.add_cog(Music())
    await bot.add_cog(Quotes(), override=True)
"""


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """``extension(text, name="music")``: the name of an extension with this source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = []

    def make(text=MUSIC, name="music"):
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def marked(recorder):
    """``marked()``: what was marked since it was asked last."""
    return lambda: [one.name for one in recorder.markers.take()]


class Hand(commands.Cog, name="By hand"):
    """A cog outside of an extension."""


async def test_an_extension_that_is_loaded_reloaded_and_unloaded_is_one_marker_each(
    ready_bot, watching, extension, marked
):
    music = extension()
    async with watching(ready_bot, Changes):
        await ready_bot.load_extension(music)
        assert marked() == ["loaded music"]
        await ready_bot.reload_extension(name=music)
        assert marked() == ["reloaded music"]
        await ready_bot.unload_extension(music)
        assert marked() == ["unloaded music"]
    await ready_bot.load_extension(music)
    assert marked() == []
    assert "load_extension" not in vars(ready_bot)


async def test_a_cog_outside_of_an_extension_is_marked_by_its_name(ready_bot, watching, marked):
    async with watching(ready_bot, Changes):
        await ready_bot.add_cog(Hand())
        await ready_bot.add_cog(Hand(), override=True)
        assert marked() == ["added cog By hand"]
        await ready_bot.remove_cog("By hand")
        await ready_bot.remove_cog("By hand")
        await ready_bot.remove_cog("nothing")
        assert marked() == ["removed cog By hand"]


async def test_what_is_loaded_before_the_bot_is_ready_is_its_start(discord_server, watching, extension, marked):
    music = extension()

    class Bot(commands.Bot):
        async def setup_hook(self):
            await self.load_extension(music)

    bot = Bot("!", intents=discord.Intents.none())
    async with watching(bot, Changes):
        async with discord_server.running(bot):
            assert music in bot.extensions
            assert marked() == []
            await bot.reload_extension(music)
            assert marked() == ["reloaded music"]
        assert not bot.extensions
    assert marked() == []


@pytest.mark.parametrize("kind", [commands.Bot, commands.AutoShardedBot])
async def test_the_end_of_the_bot_is_no_change(discord_server, watching, extension, marked, kind):
    music = extension()
    bot = kind("!", intents=discord.Intents.none())
    async with watching(bot, Changes):
        async with discord_server.running(bot):
            await bot.load_extension(music)
            await bot.add_cog(Hand())
            marked()
        assert not bot.extensions
        assert not bot.cogs
    assert marked() == []


async def test_a_failure_is_no_change_but_a_reload_that_restores_the_old_extension_is(
    ready_bot, watching, extension, marked
):
    music, broken = extension(), extension("raise ValueError", "broken")
    async with watching(ready_bot, Changes) as surface:
        for call, error in (
            (ready_bot.load_extension(broken), commands.ExtensionFailed),
            (ready_bot.load_extension("nowhere"), commands.ExtensionNotFound),
            (ready_bot.reload_extension("nowhere"), commands.ExtensionNotLoaded),
            (ready_bot.unload_extension("nowhere"), commands.ExtensionNotLoaded),
            (ready_bot.add_cog("nothing"), TypeError),
        ):
            with pytest.raises(error):
                await call
        assert marked() == []
        await ready_bot.load_extension(music)
        extension("raise ValueError('a much longer source, so that it is read again')")
        with pytest.raises(commands.ExtensionFailed):
            await ready_bot.reload_extension(music)
        assert marked() == ["loaded music", "could not reload music"]
        assert not any(hook.faults for hook in surface.hooks)


async def test_a_task_that_an_extension_starts_marks_what_it_changes_later(ready_bot, watching, extension, marked):
    """As a reloader in a cog does, which goes on when the load that started it has long ended."""
    extension(name="other")
    reloader = extension(
        "import asyncio\n"
        "async def setup(bot):\n"
        "    async def later():\n"
        "        await bot.wait_for('go')\n"
        "        await bot.load_extension('other')\n"
        "    bot.later = asyncio.create_task(later())\n",
        "reloader",
    )
    async with watching(ready_bot, Changes):
        await ready_bot.load_extension(reloader)
        await asyncio.sleep(0)
        ready_bot.dispatch("go")
        await asyncio.wait_for(ready_bot.later, 5)
    assert marked() == ["loaded reloader, other"]


async def test_two_tasks_that_change_at_once_are_both_marked(ready_bot, watching, extension, marked):
    slow = "import asyncio\nasync def setup(bot):\n    await asyncio.sleep(0.01)\n"
    names = [extension(slow, name) for name in ("one", "two")]
    async with watching(ready_bot, Changes):
        await asyncio.gather(*map(ready_bot.load_extension, names))
    assert marked() == ["loaded one, two"]


async def test_our_own_extension_is_no_change_of_the_bot(ready_bot, watching, marked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENABLE_PERFORMANCE_MONITORING", "false")
    async with watching(ready_bot, Changes):
        await ready_bot.load_extension("cogmeter.cog")
        await ready_bot.reload_extension(".cog", package="cogmeter")
        await ready_bot.unload_extension("cogmeter.cog")
        own = type("Perf", (commands.Cog,), {"__module__": "cogmeter.cog.perf"})
        await ready_bot.add_cog(own())
        await ready_bot.remove_cog("Perf")
    assert marked() == []


async def test_a_host_whose_methods_take_other_parameters_is_watched_as_well(discord_server, watching, extension):
    class Bot(commands.Bot):
        async def load_extension(self, *names, **options):
            for name in names:
                await super().load_extension(name, **options)

        async def add_cog(self, cog, /, **options):
            await super().add_cog(cog, **options)

    bot = Bot("!", intents=discord.Intents.none())
    async with discord_server.running(bot), watching(bot, Changes) as surface:
        await bot.load_extension(extension())
        assert [one.name for one in surface.context.recorder.markers.take()] == ["loaded music"]
        assert all(hook.state is HookState.ON for hook in surface.hooks)


@pytest.mark.parametrize("missing", ["load_extension", "reload_extension", "unload_extension", "add_cog", "remove_cog"])
async def test_without_one_of_the_hooks_each_change_is_still_marked_once(
    ready_bot, watching, extension, marked, missing, monkeypatch
):
    music = extension()

    async def strange(*, keyword):
        raise AssertionError(keyword)

    with monkeypatch.context() as patched:
        patched.setattr(type(ready_bot), missing, strange)
        at = watching(ready_bot, Changes)
        surface = await at.__aenter__()
    bad = [one.text.partition(":")[0] for one in surface.findings() if not one.well]
    assert bad == [f"{missing} calls"]
    for call, done in (
        (ready_bot.load_extension, "loaded"),
        (ready_bot.reload_extension, "reloaded"),
        (ready_bot.unload_extension, "unloaded"),
    ):
        await call(music)
        surface.sample()
        assert marked() == [f"{done} music"]
    await at.__aexit__(None, None, None)


async def test_the_comparison_sees_each_kind_of_change(ready_bot, watching, extension, marked):
    music = extension()
    ready_bot.close, close = 7, ready_bot.close
    async with watching(ready_bot, Changes) as surface:
        ready_bot.close = close
        assert [one.text for one in surface.findings() if not one.well] == [
            "close calls: failed (HookError: it is a int, not a function)"
        ]
        steps = (
            (ready_bot.load_extension(music), ["loaded music"]),
            (ready_bot.add_cog(Hand()), ["added cog By hand"]),
            (ready_bot.reload_extension(music), ["reloaded music"]),
            (ready_bot.add_cog(Hand(), override=True), ["replaced cog By hand"]),
            (ready_bot.remove_cog("By hand"), ["removed cog By hand"]),
            (ready_bot.unload_extension(music), ["unloaded music"]),
        )
        for call, expected in steps:
            await call
            assert marked() == []
            assert surface.sample() == {}
            assert marked() == expected
        surface.sample()
        assert marked() == []


async def test_a_fault_of_ours_keeps_no_extension_from_loading(ready_bot, watching, extension, monkeypatch, marked):
    async with watching(ready_bot, Changes) as surface:
        with monkeypatch.context() as patched:
            patched.setattr("cogmeter.watch.changes.own_module", None)
            await ready_bot.add_cog(Hand())
        assert ready_bot.get_cog("By hand") is not None
        assert sum(hook.faults for hook in surface.hooks) == 1
        await ready_bot.load_extension(extension())
    assert marked() == ["loaded music"]
