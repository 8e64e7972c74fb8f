"""Delivers alerts to a Discord channel, as an embed with the chart of the breach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogmeter.notifiers.base import NotifyError
from cogmeter.render.embeds import alert_embed, chart_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.render.chart import Picture
    from cogmeter_storage.model import AlertEvent


class ChannelNotifier:
    """One message for each alert, in one channel; nobody is ever mentioned."""

    name = "channel"

    def __init__(
        self, bot: discord.Client, channel_id: int, picture_of: Callable[[AlertEvent], Awaitable[Picture | None]]
    ) -> None:
        """``picture_of`` draws the breach; None where there is nothing to draw."""
        self._bot = bot
        self._channel_id = channel_id
        self._picture_of = picture_of

    async def notify(self, event: AlertEvent) -> None:
        """Post it. A missing channel or permission is permanent; Discord's own trouble is not."""
        channel = await self._channel()
        picture = await self._picture_of(event)
        drawn, trouble = (picture.drawn, picture.trouble) if picture else (False, "")
        embed = alert_embed(event, chart=drawn, chart_trouble=trouble)
        files = [chart_file(picture.png, picture.chart)] if picture and drawn else []
        try:
            await channel.send(embed=embed, files=files, allowed_mentions=discord.AllowedMentions.none())
        except (discord.Forbidden, discord.NotFound) as error:
            raise self._refused(error) from error
        except discord.HTTPException as error:
            raise NotifyError(f"Discord did not take the alert: {error}", permanent=False) from error

    async def _channel(self) -> discord.abc.Messageable:
        channel = self._bot.get_channel(self._channel_id)
        if channel is None:
            try:
                channel = await self._bot.fetch_channel(self._channel_id)
            except (discord.Forbidden, discord.NotFound) as error:
                raise self._refused(error) from error
            except discord.HTTPException as error:
                raise NotifyError(f"Discord did not show the alert channel: {error}", permanent=False) from error
        if not isinstance(channel, discord.abc.Messageable):
            kind = type(channel).__name__
            raise NotifyError(
                f"PERFORMANCE_ALERT_CHANNEL_ID={self._channel_id} is a {kind}; name a text channel", permanent=True
            )
        return channel

    def _refused(self, error: discord.HTTPException) -> NotifyError:
        return NotifyError(
            f"PERFORMANCE_ALERT_CHANNEL_ID={self._channel_id} cannot be posted in ({error.text or error.status}); "
            "name another channel, or let the bot view it, send messages, embed links and attach files there",
            permanent=True,
        )
