"""``/perf live``: a message that updates itself and ends by itself."""

import asyncio
import contextlib
import sys

import pytest

import cogmeter


@pytest.fixture
def with_live(move_in, monkeypatch):
    """Opens a home whose messages are refreshed by the tests only, with the loaded module (a reload replaces it)."""

    @contextlib.asynccontextmanager
    async def opened(**constants):
        async with move_in(PERFORMANCE_CHARTS="false") as home:
            live = sys.modules["cogmeter.cog.live"]
            for name, value in ({"INTERVAL_S": 1e6, "LENGTH_S": 1e9} | constants).items():
                monkeypatch.setattr(live, name, value)
            yield home, live

    return opened


async def begin(home):
    result = await home.owner.slash(home.channel, "perf live")
    return result.response


def responder_of(home):
    return home.bot.get_cog("cogmeter")._installation._responder


def messages(home):
    return [one for one in responder_of(home).open if type(one).__name__ == "LiveMessage"]


async def until(condition):
    """Let the loop run until something has happened."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_message_shows_the_last_minute_and_is_updated(with_live):
    async with with_live() as (home, _live):
        message = await begin(home)
        (first,) = message.embeds
        for _ in range(7):
            cogmeter.record("a", "x", duration_ms=5)
        await home.monitor.flusher.flush()
        (one,) = messages(home)
        assert await one.refresh()
        assert "0 of 7" in home.channel.last_message.embeds[0].fields[1].value
        assert len(home.channel.history()) == 1
    assert first.title == "Live"
    assert "Updates every 10 s" in first.description
    assert {field.name for field in first.fields} >= {"Operations", "Failed", "Response time", "Running now"}


async def test_the_button_stops_it(with_live):
    async with with_live() as (home, _live):
        message = await begin(home)
        await home.owner.click(message, label="Stop")
        await until(lambda: home.channel.last_message.embeds[0].title == "Live (ended)")
        assert "Ended: stopped by owner." in home.channel.last_message.embeds[0].description
        assert not home.channel.last_message.components
        assert messages(home) == []


async def test_a_stranger_cannot_stop_it(with_live):
    async with with_live() as (home, _live):
        message = await begin(home)
        refused = await home.stranger.click(message, label="Stop")
        assert refused.ephemeral
        assert len(messages(home)) == 1


async def test_it_ends_after_its_time(with_live, monkeypatch):
    async with with_live() as (home, live):
        await begin(home)
        (one,) = messages(home)
        monkeypatch.setattr(live, "LENGTH_S", 0.0)
        await one._update()
        assert home.channel.last_message.embeds[0].title == "Live (ended)"
        assert "after 15 minutes" in home.channel.last_message.embeds[0].description


async def test_two_run_at_most_and_an_ended_one_makes_room(with_live):
    async with with_live() as (home, live):
        first = await begin(home)
        await begin(home)
        refused = await home.owner.slash(home.channel, "perf live")
        assert refused.ephemeral
        assert refused.response.content == live.TOO_MANY
        await home.owner.click(first, label="Stop")
        assert (await begin(home)).embeds[0].title == "Live"


async def test_a_deleted_message_ends_it_quietly(with_live, caplog, monkeypatch):
    async with with_live() as (home, live):
        await begin(home)
        (one,) = messages(home)
        await one._answered.delete_original_response()
        monkeypatch.setattr(live, "INTERVAL_S", 0.0)
        await one._update()
        assert messages(home) == []
        assert "live messages" not in home.monitor.faults
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_unloading_ends_it(with_live):
    async with with_live() as (home, live):
        await begin(home)
        await home.bot.unload_extension("cogmeter.cog")
        assert home.channel.last_message.content == live.STOPPED
        assert not home.channel.last_message.components


async def test_the_button_of_a_message_that_a_crash_left_says_that_it_has_ended(with_live):
    async with with_live() as (home, _live):
        message = await begin(home)
        for one in messages(home):
            one.close()  # nobody listens any more, as after a crash
        with contextlib.suppress(AssertionError):
            await home.owner.click(message, label="Stop")
        assert "`/perf live`" in home.channel.last_message.content
        assert not home.channel.last_message.components


async def test_a_failing_store_does_not_end_it(with_live, monkeypatch):
    async with with_live() as (home, live):
        await begin(home)
        (one,) = messages(home)

        async def fail(*_, **__):
            raise live.StorageError("no", permanent=False)

        monkeypatch.setattr(live, "snapshot", fail)
        assert not await one.refresh()
        assert messages(home) == [one]


async def test_edits_that_are_refused_again_and_again_end_it(with_live, monkeypatch):
    async with with_live() as (home, live):
        await begin(home)
        (one,) = messages(home)
        refused = []

        async def refuse():
            refused.append(1)
            return False

        monkeypatch.setattr(one, "refresh", refuse)
        monkeypatch.setattr(live, "INTERVAL_S", 0.0)
        await one._update()
        assert len(refused) == live.FAILURES
        assert messages(home) == []
        assert "Discord does not accept updates" in home.channel.last_message.embeds[0].description


async def test_a_stranger_is_refused(with_live):
    async with with_live() as (home, _live):
        result = await home.stranger.slash(home.channel, "perf live")
        assert result.ephemeral
        assert messages(home) == []


async def test_its_own_task_updates_the_message(with_live):
    async with with_live(INTERVAL_S=0.01) as (home, _live):
        await begin(home)
        cogmeter.record("a", "x", duration_ms=5)
        await home.monitor.flusher.flush()
        await until(lambda: "0 of 1" in home.channel.last_message.embeds[0].fields[1].value)
        assert home.monitor.faults["live messages"] == 0
