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

LOOK_S: Final = 0.5
CLOCK_S: Final = 15.0

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
            self._news = False  # what was posted before is on the page from the start
            refreshing = asyncio.create_task(self._keep_fresh(preview))
            try:
                yield preview.url
            finally:
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)

    async def _keep_fresh(self, preview: simcord.Preview) -> None:
        """Move the simulated clock along with the real one, and show what the bot posted by itself.

        While either is done, the simulation turns away what the visitor does, and the page then wants to be loaded
        anew. Both take milliseconds; they are done only when needed, and not while a visitor types or waits.
        """
        asked = 0
        while True:
            await asyncio.sleep(LOOK_S)
            asked, before = len(self._env.http_requests), asked
            if asked != before or not (self._news or self._behind_s() > CLOCK_S):
                continue
            news, self._news = self._news, False
            try:
                await self._follow_clock()
                if news:
                    await preview.refresh()
            except simcord.SetupError:
                self._news = True  # a command is under way: try again after it
            except TimeoutError as error:
                _log.warning("The simulation is behind: %s", error)

    async def _follow_clock(self) -> None:
        await self._env.advance_time(max(self._behind_s(), 0.0))

    def _behind_s(self) -> float:
        return (datetime.now(UTC) - self._env.now()).total_seconds()

    async def _seen(self, message: discord.Message) -> None:
        # A refresh rejects a click that is on its way. Answers to commands show without one.
        self._news = self._news or message.interaction_metadata is None

    async def _edited(self, event: discord.RawMessageUpdateEvent) -> None:
        self._news = self._news or event.message.interaction_metadata is None
