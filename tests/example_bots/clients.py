"""`discord.Client` without commands: listeners, loops, replies, reactions."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import discord
from discord.ext import tasks
from loopback import Loopback

from example_bots.example import LISTENERS, SENT, TASKS, Example


def counter_task(server: Loopback) -> discord.Client:
    class Counter(discord.Client):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.seconds = 0

        async def setup_hook(self) -> None:
            self.report.start()

        @tasks.loop(seconds=0.02, count=3)
        async def report(self) -> None:
            channel = self.get_channel(int(server.world.channel["id"]))
            self.seconds += 1
            await channel.send(str(self.seconds))

        @report.before_loop
        async def wait(self) -> None:
            await self.wait_until_ready()

    return Counter(intents=discord.Intents.default())


async def three_messages(server: Loopback, client: Any) -> None:
    await server.requested(SENT, count=3)


def counter_asyncio(server: Loopback) -> discord.Client:
    class Counter(discord.Client):
        async def setup_hook(self) -> None:
            self.counting = self.loop.create_task(self.count())

        async def count(self) -> None:
            await self.wait_until_ready()
            number = 0
            channel = self.get_channel(int(server.world.channel["id"]))
            while not self.is_closed() and number < 3:
                number += 1
                await channel.send(f"so far: {number}")
                await asyncio.sleep(0.01)

    return Counter(intents=discord.Intents.default())


def deletions(_server: Loopback) -> discord.Client:
    intents = discord.Intents.default()
    intents.message_content = True
    client = discord.Client(intents=intents)

    @client.event
    async def on_message(message: discord.Message) -> None:
        if message.content.startswith("!forget"):
            answer = await message.channel.send("this will be gone")
            await answer.delete()

    @client.event
    async def on_message_delete(message: discord.Message) -> None:
        await message.channel.send(f"{message.author} had written: {message.content}")

    return client


async def forget(server: Loopback, client: Any) -> None:
    await server.say("nothing of interest")
    await server.say("!forget it")
    await server.requested(SENT, count=2)


def edits(_server: Loopback) -> discord.Client:
    intents = discord.Intents.default()
    intents.message_content = True

    class Editor(discord.Client):
        async def on_message(self, message: discord.Message) -> None:
            if message.content.startswith("!change"):
                answer = await message.channel.send("one")
                await asyncio.sleep(0.01)
                await answer.edit(content="two")

        async def on_message_edit(self, before: discord.Message, after: discord.Message) -> None:
            await before.channel.send(f"**{before.author}** changed {before.content} -> {after.content}")

    return Editor(intents=intents)


async def change(server: Loopback, client: Any) -> None:
    await server.say("!change")
    await server.requested(SENT, count=2)


def guessing(_server: Loopback) -> discord.Client:
    intents = discord.Intents.default()
    intents.message_content = True

    class Guess(discord.Client):
        async def on_message(self, message: discord.Message) -> None:
            if message.author.id == self.user.id:
                return
            if message.content.startswith("$guess"):
                await message.channel.send("A number from 1 to 10?")

                def is_number(reply: discord.Message) -> bool:
                    return reply.author == message.author and reply.content.isdigit()

                number = random.randint(1, 10)
                try:
                    guess = await self.wait_for("message", check=is_number, timeout=20.0)
                except TimeoutError:
                    await message.channel.send(f"Too late, it was {number}.")
                    return
                if int(guess.content) == number:
                    await message.channel.send("Right!")
                else:
                    await message.channel.send(f"No, it is {number}.")

    return Guess(intents=intents)


async def guess(server: Loopback, client: Any) -> None:
    await server.say("$guess")
    await server.requested(SENT)
    await server.say("I am not sure")
    await server.say("5")
    await server.requested(SENT, count=2)


def newcomers(server: Loopback) -> discord.Client:
    server.world.guild["system_channel_id"] = server.world.channel["id"]
    intents = discord.Intents.default()
    intents.members = True

    class Greeter(discord.Client):
        async def on_member_join(self, member: discord.Member) -> None:
            guild = member.guild
            if guild.system_channel is not None:
                await guild.system_channel.send(f"Welcome {member.mention} to {guild.name}!")

    return Greeter(intents=intents)


async def join(server: Loopback, client: Any) -> None:
    guild_id = server.world.guild["id"]
    for name in ("ada", "grace"):
        member = server.world.add_member(guild_id, name)
        await server.dispatch("GUILD_MEMBER_ADD", member | {"guild_id": guild_id})
    await server.requested(SENT, count=2)


def reaction_roles(server: Loopback) -> discord.Client:
    for number, name in enumerate(("red", "blue")):
        role = server.world.guild["roles"][0] | {"id": str(900_000_000_000_000_000 + number), "name": name}
        server.world.guild["roles"].append(role)

    class Roles(discord.Client):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.message_id = 0
            self.roles = {
                discord.PartialEmoji(name="🔴"): 900_000_000_000_000_000,
                discord.PartialEmoji(name="🔵"): 900_000_000_000_000_001,
            }

        async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
            guild = self.get_guild(payload.guild_id)
            if payload.message_id != self.message_id or guild is None or payload.emoji not in self.roles:
                return
            with contextlib.suppress(discord.HTTPException):
                await payload.member.add_roles(guild.get_role(self.roles[payload.emoji]))

        async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
            guild = self.get_guild(payload.guild_id)
            if payload.message_id != self.message_id or guild is None or payload.emoji not in self.roles:
                return
            member = guild.get_member(payload.user_id)
            if member is not None:
                await member.remove_roles(guild.get_role(self.roles[payload.emoji]))

    intents = discord.Intents.default()
    intents.members = True
    return Roles(intents=intents)


async def react(server: Loopback, client: Any) -> None:
    world = server.world
    message = await server.say("choose your colour")
    client.message_id = int(message["id"])
    reaction = {
        "user_id": world.member["id"],
        "channel_id": world.channel["id"],
        "guild_id": world.guild["id"],
        "message_id": message["id"],
        "type": 0,
        "burst": False,
    }
    member = world.members[world.guild["id"]][world.member["id"]]
    for emoji in ("🔴", "🔵", "🟢"):
        added = reaction | {"emoji": {"id": None, "name": emoji}, "member": member}
        await server.dispatch("MESSAGE_REACTION_ADD", added)
    await server.requested("PUT /guilds/{guild_id}/members/{user_id}/roles/{role_id}", count=2)
    await server.dispatch("MESSAGE_REACTION_REMOVE", reaction | {"emoji": {"id": None, "name": "🔴"}})
    await server.requested("DELETE /guilds/{guild_id}/members/{user_id}/roles/{role_id}")


def replies(_server: Loopback) -> discord.Client:
    intents = discord.Intents.default()
    intents.message_content = True

    class Polite(discord.Client):
        async def on_ready(self) -> None:
            self.name = str(self.user)

        async def on_message(self, message: discord.Message) -> None:
            if message.author.id == self.user.id:
                return
            if message.content.startswith("!hello"):
                await message.reply("Hello!", mention_author=True)
            elif message.content.startswith("!fail"):
                raise LookupError("nothing to say")

    return Polite(intents=intents)


async def hello(server: Loopback, client: Any) -> None:
    await server.say("!hello", author=server.world.member)
    await server.say("!fail")
    await server.say("!hello")
    await server.requested(SENT, count=2)


def listening(*names: str) -> frozenset[tuple[str, str]]:
    return frozenset((LISTENERS, name) for name in names)


EXAMPLES = {
    "background_task": Example(counter_task, three_messages, frozenset({(TASKS, "Counter.report")})),
    "background_task_asyncio": Example(
        counter_asyncio, three_messages, frozenset({("discord.rest", "POST /channels/{channel_id}/messages")})
    ),
    "deleted": Example(deletions, forget, listening("on_message", "on_message_delete")),
    "edits": Example(
        edits, change, listening("on_message Editor.on_message", "on_message_edit Editor.on_message_edit")
    ),
    "guessing_game": Example(guessing, guess, listening("on_message Guess.on_message")),
    "new_member": Example(newcomers, join, listening("on_member_join Greeter.on_member_join")),
    "reaction_roles": Example(
        reaction_roles,
        react,
        listening(
            "on_raw_reaction_add Roles.on_raw_reaction_add", "on_raw_reaction_remove Roles.on_raw_reaction_remove"
        ),
    ),
    "reply": Example(replies, hello, listening("on_message Polite.on_message")),
}
