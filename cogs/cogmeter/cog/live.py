"""``/perf live``: one message that updates itself every few seconds with a small chart, and stops by itself.

Its button has a custom id of ``views.ExpiredPress``: after a crash, a press says that the message has ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import discord
from discord.webhook.async_ import async_context

from cogmeter.cog.responder import CommandAnswer, UserError, files_of
from cogmeter.cog.views import Buttons
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.recording.background import detached
from cogmeter.render.embeds.live import live_embed
from cogmeter.schemas.live import snapshot
from cogmeter_storage.alerting import SENT
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from discord import app_commands
    from discord.webhook.async_ import AsyncWebhookAdapter

    from cogmeter.cog.responder import Responder
    from cogmeter.schemas.live import MinuteCounts

INTERVAL_S: Final = 10.0
LENGTH_S: Final = 870.0  # Discord lets an answer be edited for 15 minutes
MOST: Final = 2  # messages at once
SHOWN_US: Final = 30 * MINUTE_US  # of the chart
FAILURES: Final = 3  # refused edits in a row that end a message
STOPPED: Final = "This message is not updated any more: cogmeter was stopped."
TOO_MANY: Final = "Two live messages run already. Stop one of them, or wait until it ends."

_logger = logging.getLogger("cogmeter.cog")


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""
    running: set[LiveMessage] = set()

    @group.command(name="live", description="One message that updates itself every 10 s, for up to 15 minutes")
    async def live(interaction: discord.Interaction) -> None:
        async def reserved() -> LiveMessage:
            if len(running) >= MOST:
                raise UserError(TOO_MANY)
            return LiveMessage(responder, running)

        await responder.answer_checked(interaction, reserved, LiveMessage.answer)


class LiveMessage(Buttons):
    """A message that is edited until it is stopped, its time is over, or Discord refuses edits."""

    def __init__(self, responder: Responder, running: set[LiveMessage]) -> None:
        """Count as one of the ``running`` ones from now on."""
        super().__init__(responder)
        self._running = running
        self._counts: MinuteCounts | None = None
        self._until_us = now_us() + int(LENGTH_S * 1e6)
        self._task: asyncio.Task[None] | None = None
        button: discord.ui.Button[LiveMessage] = discord.ui.Button(
            label="Stop", custom_id=f"cogmeter:answer:live:{self._token}:0"
        )
        button.callback = self._stop  # type: ignore[method-assign]  # discord.py's way to set it without a subclass
        self.add_item(button)
        running.add(self)

    async def answer(self) -> CommandAnswer:
        """Return the present state, with this message's button. If that fails, the message does not count any more."""
        try:
            return await self._present()
        except BaseException:
            self.close()
            raise

    def shown(self, interaction: discord.Interaction) -> None:
        """Begin to update the message."""
        super().shown(interaction)
        if self._task is None:
            self._task = detached(self._updating(async_context.get()), name="cogmeter-live")

    def close(self) -> None:
        """Stop listening and updating."""
        super().close()
        self._running.discard(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def end(self, reason: str = "") -> None:
        """Show the last state without the button; without a reason, cogmeter stops. Never raises."""
        answered, finished = self._answered, self.is_finished()
        self.close()
        if answered is None or finished:
            return
        try:
            if reason:
                await self._edit(await self._present(ended=reason), view=None)
            else:  # nothing can be read or drawn any more
                await answered.edit_original_response(content=STOPPED, view=None)
        except (discord.DiscordException, StorageError, *BROKEN) as error:
            _logger.debug("A live message could not be ended: %s", error)

    async def on_timeout(self) -> None:
        """Do nothing: the message ends by its own time."""

    async def refresh(self) -> bool:
        """Show the present state once; return whether Discord accepted it.

        Raises:
            NotFound: the message was deleted.
            Forbidden: a permission is missing.
        """
        try:
            await self._edit(await self._present(), view=self)
        except (discord.NotFound, discord.Forbidden):
            raise
        except (discord.DiscordException, StorageError, *BROKEN) as error:
            _logger.debug("A live message could not be updated: %s", error)
            return False
        return True

    async def _updating(self, adapter: AsyncWebhookAdapter) -> None:
        """Update with the adapter of the interaction: the task has no other part of its context."""
        async_context.set(adapter)
        await self._update()

    async def _update(self) -> None:
        """Refresh until the end. A deleted message or a missing permission ends it quietly."""
        end_s, failures = time.perf_counter() + LENGTH_S, 0
        try:
            while time.perf_counter() + INTERVAL_S < end_s and failures < FAILURES:
                await asyncio.sleep(INTERVAL_S)
                failures = 0 if await self.refresh() else failures + 1
            await self.end("after 15 minutes" if not failures else "Discord does not accept updates")
        except (discord.NotFound, discord.Forbidden) as error:
            _logger.debug("A live message has ended: %s", error)
            self.close()
        except Exception:
            self._responder.monitor.faults["live messages"] += 1
            _logger.exception("A live message failed")
            self.close()

    async def _stop(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        self._answered = interaction
        await self.end(f"stopped by {interaction.user.display_name}")

    async def _edit(self, answer: CommandAnswer, view: LiveMessage | None) -> None:
        assert self._answered is not None
        await self._answered.edit_original_response(
            embed=answer.embed, attachments=files_of(answer), view=view, allowed_mentions=NO_MENTIONS
        )

    async def _present(self, ended: str = "") -> CommandAnswer:
        """Return the present state: the figures of the dashboard's live stream, and a small chart.

        Raises:
            StorageError: the store cannot be read.
        """
        monitor, at_us = self._responder.monitor, now_us()
        verdict = await self._responder.health.verdict()
        live, self._counts = await snapshot(
            monitor.store,
            at_us,
            self._counts,
            waiting=len(monitor.recorder.buffer) + monitor.flusher.pending,
            active_alerts=sum(alert.state in SENT for alert in monitor.alerting.engine.active),
            health=verdict.status,
        )
        span = Range((at_us - SHOWN_US) // MINUTE_US * MINUTE_US, at_us, "last 30 minutes")
        timeline = await monitor.query.timeline(period=span, step_us=MINUTE_US, trim=True)
        picture = await monitor.chart_builder.timeline(timeline, small=True) if any(timeline.per_minute) else None
        running = len(await monitor.running())
        embed = live_embed(live, verdict, monitor.gauges, running, picture, until_us=self._until_us, ended=ended)
        return CommandAnswer(embed, picture, self)
