"""A chat bot that catches and logs everything, and the services that it calls. ``troubled`` makes it fail quietly.

The lines that fail end with ``# place: NAME``; ``place(NAME)`` returns file and line as cogmeter writes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import discord
import httpx
from aiohttp import web
from discord.ext import commands

BLOCKED_S = 3.0
MODEL_TIMEOUT_S = 0.2

log = logging.getLogger("chat")


def place(name: str) -> str:
    lines = Path(__file__).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# place: {name}")]
    return f"{Path(__file__).name}:{number}"


class Services:
    """Two services on one port of this machine, by two names: two hosts. Troubled, one fails and one hangs."""

    def __init__(self, *, troubled: bool) -> None:
        self.troubled = troubled
        self.weather = self.model = ""  # their addresses

    async def answer_weather(self, request: web.Request) -> web.Response:
        return web.json_response({"sky": "clear"}, status=500 if self.troubled else 200)

    async def answer_model(self, request: web.Request) -> web.Response:
        if self.troubled:
            await asyncio.Event().wait()
        return web.json_response({"text": "fine"})

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Services]:
        app = web.Application()
        app.router.add_get("/weather", self.answer_weather)
        app.router.add_post("/model", self.answer_model)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        self.weather, self.model = f"http://127.0.0.1:{port}/weather", f"http://localhost:{port}/model"
        try:
            yield self
        finally:
            await runner.cleanup()


class Chat(commands.Cog):
    """Answers each message; whatever fails is logged, and the user gets an apology."""

    def __init__(self, services: Services, *, troubled: bool, key: str) -> None:
        self.services, self.troubled, self.key = services, troubled, key
        self.history: list[str] = []
        self.leaked = 0  # texts that each remembered message adds
        self.chats = False
        self.answered = 0
        self.never = asyncio.Event()

    async def cog_load(self) -> None:
        self.session = aiohttp.ClientSession()
        self.client = httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=MODEL_TIMEOUT_S if self.troubled else 10.0))

    async def cog_unload(self) -> None:
        await self.session.close()
        await self.client.aclose()

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        question, asker = message.content, message.author.id  # local variables, which no frame may show
        for ask in (self.ask_weather, self.ask_model):
            try:
                await ask(question, asker)
            except Exception:
                log.exception("Could not answer %s, who asked: %s", message.author, question)
        if self.troubled and question.startswith("digest"):
            self.write_digest(question)
        if self.leaked and question.startswith("remember"):
            self.history += [f"{number} {question}".ljust(1_000, ".") for number in range(self.leaked)]
        if self.chats:
            async with message.channel.typing():
                await message.reply("it is clear", mention_author=False)
        asyncio.create_task(self.summarize(question, asker))  # noqa: RUF006 - nobody keeps it, nobody awaits it
        self.answered += 1

    async def ask_weather(self, question: str, asker: int) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        params = {"q": question, "user": str(asker), "key": self.key}
        url = self.services.weather
        async with self.session.get(url, params=params, headers=headers) as answer:  # place: request
            answer.raise_for_status()  # place: weather

    async def ask_model(self, question: str, asker: int) -> None:
        prompt = {"user": str(asker), "text": question, "key": self.key}
        (await self.client.post(self.services.model, json=prompt)).raise_for_status()  # place: model

    async def summarize(self, question: str, asker: int) -> None:
        await asyncio.sleep(0)
        if self.troubled:
            raise LookupError(f"no summary of {question} by {asker} with Bearer {self.key}")  # place: summary

    def write_digest(self, question: str) -> None:
        time.sleep(BLOCKED_S)  # place: digest

    @discord.app_commands.command(description="Thinks about a question")
    async def ponder(self, interaction: discord.Interaction, question: str) -> None:
        """Answer at once, or never."""
        await interaction.response.defer()
        if self.troubled:
            await self.think(question)
        await interaction.followup.send("42")

    async def think(self, question: str) -> None:
        await self.never.wait()  # place: ponder


async def make_bot(services: Services, *, owner: int, key: str = "k") -> commands.Bot:
    bot = commands.Bot("!", intents=discord.Intents.all(), help_command=None, owner_id=owner)
    await bot.add_cog(Chat(services, troubled=services.troubled, key=key))
    return bot
