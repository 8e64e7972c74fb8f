"""The simulated Discord: a guild with one channel, its owner, a member, and the page. Only this module uses simcord."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

import simcord
from discord.webhook.async_ import AsyncWebhookAdapter
from simcord.http import FakeWebhookAdapter

from cogmeter_bot.demo.profiles import GUILDS, LIVE_GUILDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    import discord

    from cogmeter_bot.bot import ExampleBot

POLL_S: Final = 0.5
MEMBERS: Final = 60  # of the second server, each further one has as many more: always more than those who use the bot
MAX_CLOCK_LAG_S: Final = 5.0
MOST_CLOCK_LAG_S: Final = 20.0  # from which it is advanced although a visitor is active: times would be ahead of it
# discord.py's own method, which the monitor watches. The simulator looks it up at each call, so its class lacks it.
_METHOD: Final = "create_interaction_response"

_log = logging.getLogger(__name__)


class World:
    """A Discord in memory with the bot online; ``async with`` opens and closes it."""

    def __init__(self, bot: ExampleBot) -> None:
        self._bot = bot
        # Long enough for a chart on a slow machine; after this time the bot counts as hung.
        self._run = simcord.run(bot, check_errors=False, settle_timeout=20)
        self._has_news = False
        self._preview: simcord.Preview | None = None

    async def __aenter__(self) -> Self:
        setattr(FakeWebhookAdapter, _METHOD, getattr(AsyncWebhookAdapter, _METHOD))
        self._env = await self._run.__aenter__()
        await self._follow_clock()  # the simulation starts on 2026-01-01
        owner, member = self._env.create_user("owner"), self._env.create_user("member")
        guild = self._env.create_guild("cogmeter demo", owner=owner)
        self.channel = guild.create_text_channel("ops", topic="Commands, answers and alerts")
        for number in range(2, GUILDS + LIVE_GUILDS + 1):
            self._env.create_guild(f"Server {number}", owner=owner)
        # In the simulation the bot is its own owner; on a real Discord the visitor would be.
        self._bot.owner_id = owner.id
        self._viewers = [guild.add_member(owner), guild.add_member(member)]
        await self._follow_clock()  # then the bot knows its servers
        for place, server in enumerate(self._bot.guilds[1:], start=1):
            server._member_count = place * MEMBERS  # noqa: SLF001 - of whom the simulation has only the owner
        self._bot.add_listener(self._on_message, "on_message")
        self._bot.add_listener(self._on_edit, "on_raw_message_edit")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The simulation does not close the bot, which still has files, threads and child processes.
        await self._bot.close()
        await self._run.__aexit__(kind, error, trace)
        delattr(FakeWebhookAdapter, _METHOD)

    async def command(self, name: str, **options: object) -> None:
        """Use a slash command as the owner, and show its answer on the page. ``user=True`` names the member."""
        owner, member = self._viewers
        if "user" in options:
            options["user"] = member
        await self._when_free(lambda: owner.slash(self.channel, name, **options))
        if self._preview is not None:
            await self._when_free(self._preview.refresh)

    async def _when_free(self, action: Callable[[], Awaitable[object]]) -> None:
        """Run an action once the simulation runs no other: it rejects two at a time."""
        while True:
            try:
                await action()
            except simcord.SetupError as error:
                if "overlaps" not in str(error):
                    raise
                await asyncio.sleep(POLL_S / 5)
            else:
                return

    @asynccontextmanager
    async def page(self, port: int) -> AsyncIterator[str]:
        """Serve the channel on loopback, keep it up to date, and provide its address."""
        preview = self._env.preview(self.channel, viewers=self._viewers, layout="channel", timezone="UTC", port=port)
        async with preview:
            self._preview = preview
            self._has_news = False  # earlier messages are on the page from the start
            refreshing = asyncio.create_task(self._refresh_loop(preview))
            try:
                yield preview.url
            finally:
                self._preview = None
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)

    async def _refresh_loop(self, preview: simcord.Preview) -> None:
        """Advance the simulated clock with the real one, and show messages that the bot posted by itself.

        During either, the simulation rejects actions of the visitor, and the page must then be reloaded. Both take
        milliseconds. They run only when needed, and not while a visitor types or waits.
        """
        requests = 0
        while True:
            await asyncio.sleep(POLL_S)
            requests, before = len(self._env.http_requests), requests
            behind_s = self._behind_s()
            active = requests != before and behind_s < MOST_CLOCK_LAG_S
            if active or not (self._has_news or behind_s > MAX_CLOCK_LAG_S):
                continue
            has_news, self._has_news = self._has_news, False
            try:
                await self._follow_clock()
                if has_news:
                    await preview.refresh()
            except simcord.SetupError:
                self._has_news = True  # a command runs: retry after it
            except TimeoutError as error:
                _log.warning("The simulation is late: %s", error)

    async def _follow_clock(self) -> None:
        await self._env.advance_time(max(self._behind_s(), 0.0))

    def _behind_s(self) -> float:
        return (datetime.now(UTC) - self._env.now()).total_seconds()

    async def _on_message(self, message: discord.Message) -> None:
        # A refresh rejects a pending click. Responses to commands are shown without a refresh.
        self._has_news = self._has_news or message.interaction_metadata is None

    async def _on_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        self._has_news = self._has_news or event.message.interaction_metadata is None
