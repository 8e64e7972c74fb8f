"""The loopback Discord: starts, points discord.py at itself, runs a bot, and puts everything back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar

import discord
import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket
from discord.http import Route

from loopback.exchanges import Exchange, Exchanges
from loopback.faults import Fault
from loopback.gateway import Gateway
from loopback.interactions import Asker
from loopback.payloads import JSON
from loopback.recording import GatewayOp, Log, Request, Violation, turns
from loopback.rest import API, Rest
from loopback.world import World

BotT = TypeVar("BotT", bound=discord.Client)
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GloopB.not-a-secret-but-shaped-like-one"


class Loopback:
    """An async context manager; inside it, every discord.py client of this process talks to this server.

    `shards` is what `/gateway/bot` recommends; `keep` bounds the records (None keeps all) for long runs.
    """

    def __init__(self, world: World | None = None, *, shards: int = 1, keep: int | None = None) -> None:
        self.token = TOKEN
        self.world = world or World(guilds=shards)
        self.gateway = Gateway(self.world, self.token, keep)
        self.rest = Rest(self.world, self.gateway, shards=shards, keep=keep)
        self.shards = shards
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._before: tuple[str, yarl.URL] | None = None
        self._bots: list[discord.Client] = []

    @property
    def requests(self) -> Log[Request]:
        """Every REST request, in the order of their answers."""
        return self.rest.requests

    @property
    def violations(self) -> Log[Violation]:
        """Every reason for which a body was refused."""
        return self.rest.violations

    @property
    def ops(self) -> Log[GatewayOp]:
        """Every payload that clients sent over the gateway."""
        return self.gateway.ops

    @property
    def exchanges(self) -> Exchanges:
        """The interactions, and their deadlines."""
        return self.rest.exchanges

    @property
    def owner(self) -> Asker:
        """The guild's owner in the first guild's channel, who may do everything."""
        return Asker(self.world, self.world.owner, self.world.channel)

    @property
    def member(self) -> Asker:
        """A plain member in the first guild's channel."""
        return Asker(self.world, self.world.member, self.world.channel)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens on a free port of 127.0.0.1 and points discord.py at it."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/", self.gateway.handle)
        app.router.add_get("/resume", self.gateway.handle)
        self.rest.add_to(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self.rest.gateway_url = f"ws://{host}:{port}/"
        self.rest.cdn_url = f"{self.url}/cdn"
        self.gateway.resume_url = f"ws://{host}:{port}/resume"
        self._before = (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)
        Route.BASE = self.url + API
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self.rest.gateway_url)

    async def stop(self) -> None:
        """Ends all connections and points discord.py back to where it was."""
        if self._before is not None:
            Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = self._before
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def fail(self, fault: Fault, route: str = "*", *, times: int = 1) -> None:
        """Plans a fault for the next `times` requests to `route`; see `Faults.plan`."""
        self.rest.faults.plan(fault, route, times=times)

    async def dispatch(self, event: str, data: JSON, shard: int = 0) -> None:
        """Sends any gateway event to a shard."""
        await self.gateway.dispatch(event, data, shard)

    async def interact(self, interaction: JSON) -> Exchange:
        """Sends an interaction of an `Asker` to the shard of its guild; its 3 seconds begin now."""
        exchange = self.exchanges.open(interaction)
        await self.dispatch("INTERACTION_CREATE", interaction, self._shard_of(interaction))
        return exchange

    async def say(self, content: str, *, author: JSON | None = None, channel: JSON | None = None) -> JSON:
        """Sends a member's message, such as a prefix command; returns its MESSAGE_CREATE payload."""
        message = self.world.message_create(content, author=author, channel=channel)
        await self.dispatch("MESSAGE_CREATE", message, self._shard_of(message))
        return message

    async def settled(self, *, timeout_s: float = 60.0) -> None:
        """Waits until every running bot has received all events, and until what discord.py started for them has ended.

        Raises:
            TimeoutError: some of it, such as a command that waits for another event, has not ended in time.
        """
        async with asyncio.timeout(timeout_s):
            while not all(map(self.gateway.has_reached, self._bots)) or any(map(_is_discords, asyncio.all_tasks())):
                await asyncio.sleep(0.002)
        await turns()

    async def requested(self, route: str, *, count: int = 1, timeout_s: float = 30.0) -> list[Request]:
        """The requests to a route such as `POST /channels/{channel_id}/messages`, once there are `count`."""
        found = await self.requests.wait_for(lambda request: request.route == route, count=count, timeout_s=timeout_s)
        await turns()
        return found

    async def sent_op(self, op: int, *, count: int = 1, timeout_s: float = 30.0) -> list[GatewayOp]:
        """The gateway payloads with that op, once there are `count`."""
        return await self.ops.wait_for(lambda sent: sent.op == op, count=count, timeout_s=timeout_s)

    @contextlib.asynccontextmanager
    async def running(self, bot: BotT, *, hurry: bool = True, timeout_s: float = 60.0) -> AsyncIterator[BotT]:
        """Runs a bot in this loop from before its login until it is ready, and closes it at the end.

        With `hurry`, two waits of discord.py are left out that only time would tell: 5 s before each further
        IDENTIFY, and 2 s for a guild after the last one.

        Raises:
            TimeoutError: the bot did not become ready in time.
        """
        if hurry:
            _hurry(bot)
        others = set(threading.enumerate())
        async with bot:
            await bot.login(self.token)
            connection = asyncio.create_task(bot.connect(), name="loopback: connect")
            try:
                await _ready(bot, connection, timeout_s)
                self._bots.append(bot)
                yield bot
            finally:
                self._bots = [other for other in self._bots if other is not bot]
                await bot.close()
                await asyncio.gather(connection, return_exceptions=True)
                await _threads_ended(others)

    def _shard_of(self, payload: JSON) -> int:
        shards = max(self.gateway.shards_identified, 1)
        return (int(payload.get("guild_id") or 0) >> 22) % shards


def _is_discords(task: asyncio.Task[Any]) -> bool:
    """Tells if discord.py started a task for an event, a command or a component."""
    return task.get_name().startswith(("discord.py: ", "CommandTree-invoker", "discord-ui-"))


def _hurry(bot: Any) -> None:
    async def at_once(shard_id: int | None, *, initial: bool = False) -> None:
        return None

    bot.before_identify_hook = at_once
    bot._connection.guild_ready_timeout = 0.05


async def _ready(bot: discord.Client, connection: asyncio.Task[None], timeout_s: float) -> None:
    """Waits for READY, or raises what ended the connection before it."""
    ready = asyncio.create_task(bot.wait_until_ready())
    try:
        await asyncio.wait({connection, ready}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if connection.done():
            connection.result()
        if not ready.done():
            raise TimeoutError(f"the bot was not ready after {timeout_s} s")
    finally:
        ready.cancel()


async def _threads_ended(others: set[threading.Thread], timeout_s: float = 30.0) -> None:
    """discord.py asks its heartbeat threads to end; this waits until they did, but for those of other bots."""
    async with asyncio.timeout(timeout_s):
        while any(one.name.startswith("keep-alive-handler") for one in set(threading.enumerate()) - others):
            await asyncio.sleep(0.005)
