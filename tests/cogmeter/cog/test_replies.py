"""A chat bot in the simulated Discord: its replies are in the summary by name, and nothing else of it is in front."""

from __future__ import annotations

import asyncio

from cogmeter.query.records import Period


async def chat(home, monkeypatch):
    @home.bot.event
    async def on_message(message):
        if message.author.bot:
            return
        async with message.channel.typing():
            await asyncio.sleep(0)
        for piece in ("first", "second"):
            await message.channel.send(piece)


async def test_the_replies_of_a_chat_bot_are_in_its_summary_by_name(move_in):
    async with move_in(prepare=chat) as home:
        for _ in range(3):
            await home.stranger.send(home.channel, "hello")
        await home.flushed()
        summary = await home.monitor.query.summary(Period.HOUR)
        result = await home.owner.slash(home.channel, "perf summary", period="1h")
        texts = "\n".join(field.value for field in result.response.embeds[0].fields)
        stats = await home.monitor.query.stats("discord.replies", "on_message", Period.HOUR)
        series = [one.id for one in await home.monitor.store.series() if one.service == "discord.replies"]
        stored = await home.monitor.store.recent(series, 0, 2**62, limit=10)
    (replies,) = [command for command in summary.commands if command.service == "discord.replies"]
    assert (replies.label, replies.figures.operations, replies.figures.failures) == ("reply on_message", 3, 0)
    assert "reply on_message" in texts.replace("\\", "")
    assert stats.total.operations == 3
    assert [set(one.metadata) for one in stored] == [{"first_ms"}] * 3
