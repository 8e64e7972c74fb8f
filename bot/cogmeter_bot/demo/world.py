"""The simulated Discord: a guild with one channel, its owner, a member, and the page. The only user of simcord."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

import simcord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    import discord

    from cogmeter_bot.bot import ExampleBot

REFRESH_S: Final = 0.5

_log = logging.getLogger(__name__)


class World:
    """A Discord in memory, with the bot online in it; ``async with`` opens and closes it."""

    def __init__(self, bot: ExampleBot) -> None:
        self._bot = bot
        # A chart may take a moment on a slow machine; only after this long is the bot said to hang.
        self._run = simcord.run(bot, check_errors=False, settle_timeout=20)
        self._news = False

    async def __aenter__(self) -> Self:
        self._env = await self._run.__aenter__()
        await self._follow_clock()  # the simulation begins on 2026-01-01
        owner, member = self._env.create_user("owner"), self._env.create_user("member")
        guild = self._env.create_guild("cogmeter demo", owner=owner)
        self.channel = guild.create_text_channel("ops", topic="Commands, answers and alerts")
        # In the simulation the bot owns itself; the visitor must own it, as on a real Discord.
        self._bot.owner_id = owner.id
        self._viewers = [guild.add_member(owner), guild.add_member(member)]
        self._bot.add_listener(self._seen, "on_message")
        self._bot.add_listener(self._edited, "on_raw_message_edit")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The simulation only lets go of a bot; the bot still has files, threads and children to give back.
        await self._bot.close()
        await self._run.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def page(self, port: int) -> AsyncIterator[str]:
        """Serve the channel on loopback, and keep it fresh; gives the address."""
        preview = self._env.preview(self.channel, viewers=self._viewers, layout="channel", timezone="UTC", port=port)
        async with preview:
            refreshing = asyncio.create_task(self._keep_fresh(preview))
            try:
                yield preview.url
            finally:
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)

    async def _keep_fresh(self, preview: simcord.Preview) -> None:
        """Move the simulated clock along with the real one, and show what the bot posted by itself."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self._follow_clock()
                if self._news:
                    await preview.refresh()
                    self._news = False
            except simcord.SetupError:
                continue  # the visitor's command is under way: the page refreshes itself, and we try again
            except TimeoutError as error:
                _log.warning("The simulation is behind: %s", error)

    async def _follow_clock(self) -> None:
        behind = (datetime.now(UTC) - self._env.now()).total_seconds()
        await self._env.advance_time(max(behind, 0.0))

    async def _seen(self, message: discord.Message) -> None:
        # A refresh rejects a click that is on its way. Answers to commands show without one.
        self._news = self._news or message.interaction_metadata is None

    async def _edited(self, event: discord.RawMessageUpdateEvent) -> None:
        self._news = self._news or event.message.interaction_metadata is None
