"""What users write is in no text of an error, wherever the error is recorded."""

from __future__ import annotations

import asyncio
import logging

import discord
import pytest
from discord import app_commands

from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.unhandled_errors import UnhandledErrors

SECRET = "zanzibar is my password"
ALL = (Arrivals, SlashCommands, PrefixCommands, Listeners, UnhandledErrors, LoggedErrors)
log = logging.getLogger("shop.orders")


async def later(text):
    await asyncio.sleep(0)
    raise LookupError(text)


@pytest.fixture
def bot(ready_bot):
    @ready_bot.command()
    async def find(ctx, *, member: discord.Member):
        """Fail to convert the text."""

    @ready_bot.command()
    async def order(ctx, *, text):
        """Fail with the text, here and later."""
        asyncio.create_task(later(text))  # noqa: RUF006 - nobody awaits it
        log.error(f"cannot order {text}")  # noqa: G004 - as hosts do
        raise ValueError(f"{ctx.author.id}: {text}")

    @ready_bot.tree.command()
    @app_commands.describe(text="A text")
    async def ask(interaction: discord.Interaction, text: str):
        """Fail with the option."""
        raise KeyError(text)

    @ready_bot.listen()
    async def on_message(message):
        if message.content == SECRET:
            raise RuntimeError(f"cannot answer {message.content!r}")

    @ready_bot.listen()
    async def on_message_edit(before, after):
        raise RuntimeError(f"cannot answer {after.content}")

    @ready_bot.event
    async def on_command_error(ctx, error):
        """Say nothing."""

    return ready_bot


async def test_no_text_of_a_user_is_in_a_recorded_error(discord_server, bot, watching, recorder, recorded):
    async with watching(bot, *ALL):
        await discord_server.say(f"!find {SECRET}")
        await discord_server.say(f"!order {SECRET}")
        said = await discord_server.say(SECRET)
        await discord_server.settled()
        await discord_server.dispatch("MESSAGE_UPDATE", {**said, "content": f"{SECRET}!"}, 0)
        await discord_server.interact(discord_server.owner.slash("ask", {"text": SECRET}))
        async with asyncio.timeout(60):
            while len(recorder.errors) < 6 or len([one for one in recorded() if one.error]) < 5:
                await asyncio.sleep(0.01)
    errors = {one.operation: one.error for one in recorded() if one.error}
    assert errors == {
        "find": 'MemberNotFound: Member "[message]" not found.',
        "order": "ValueError: (id): [message]",
        "on_message": "RuntimeError: cannot answer '[message]'",
        "on_message_edit": "RuntimeError: cannot answer [message]",
        "ask": "KeyError: '[message]'",
    }
    batches = recorder.errors.take()
    assert "zanzibar" not in str(batches)
    assert sorted(batch.message for batch in batches) == [
        "'[message]'",
        "(id): [message]",
        "[message]",
        "cannot answer '[message]'",
        "cannot answer [message]",
        "cannot order [message]",
    ]
