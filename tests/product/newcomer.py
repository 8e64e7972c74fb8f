"""A newcomer's bot and what its owner does, on the loopback Discord; prints the steps and the alert as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands
from loopback import Loopback

from cogmeter.notifiers.discord_channel import notifier

steps: list[str] = []
notifier.LATE_S = 60.0  # a machine that is busy with other tests takes long to draw the first chart


class Bot(commands.Bot):
    """A bot as its owner wrote it, and one line."""

    async def setup_hook(self) -> None:
        """Add the command, load the monitor, register the commands."""
        self.tree.add_command(ask)
        await self.load_extension("cogmeter.cog")
        await self.tree.sync()


@app_commands.command(description="Answers a question")
async def ask(interaction: discord.Interaction, question: str) -> None:
    """Fail, as the host of the model is down."""
    raise ConnectionError(f"no answer to {question}")


async def until(found: Callable[[], Any], what: str) -> Any:
    """Wait for something that people would see."""
    deadline = time.perf_counter() + 100
    while not (value := found()):
        assert time.perf_counter() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.05)
    return value


def shown(server: Loopback) -> list[Any]:
    """The alerts in the channel that was chosen."""
    messages = server.world.messages[server.world.channel["id"]].values()
    return [message for message in messages if message.get("embeds") and "Error rate" in message["embeds"][0]["title"]]


async def main() -> None:
    async with Loopback() as server:
        world = server.world
        steps.append("write await bot.load_extension('cogmeter.cog') into the bot")
        bot = Bot("!", intents=discord.Intents.default(), owner_id=int(world.owner["id"]))
        async with server.running(bot):
            steps.append("start the bot")
            exchange = await server.interact(server.owner.slash("perf setup"))
            guide = await exchange.answered()
            steps.append("/perf setup")
            refused = await server.interact(
                server.member.select(guide, "cogmeter:setup:channel", [world.channel["id"]], component_type=8)
            )
            (refusal,) = await refused.followed_up()
            await server.interact(
                server.owner.select(guide, "cogmeter:setup:channel", [world.channel["id"]], component_type=8)
            )
            steps.append("choose the channel")
            await until(lambda: "alerts go to <#" in guide["embeds"][0]["description"], "the chosen channel")
            for number in range(30):  # people use the bot
                await server.interact(server.member.slash("ask", {"question": f"question {number}"}))
            await until(lambda: shown(server), "the first alert")
            await until(lambda: shown(server)[0].get("attachments"), "its chart")
            (alert,) = shown(server)
            await bot.unload_extension("cogmeter.cog")
        embed = alert["embeds"][0]
        report = {
            "steps": steps,
            "refused": refusal["content"],
            "alert": {
                "title": embed["title"],
                "image": embed["image"]["url"],
                "attachment": alert["attachments"][0]["url"],
                "fields": [field["name"] for field in embed["fields"]],
            },
            "violations": [str(violation) for violation in server.violations],
        }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
