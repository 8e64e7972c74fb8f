"""The alert channel: found by its setting, checked before it is needed, and its refusals explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
import discord

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_wording import REFUSALS, RETRY_S, explained

if TYPE_CHECKING:
    from cogmeter.settings import Settings

MessageableChannel: TypeAlias = (
    discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread | discord.DMChannel
)

THREAD_EXISTS: Final = 160004
THREAD_LOCKED: Final = 160005
FORBIDDEN: Final = frozenset({50001, 50013})  # missing access, missing permissions
NOT_CONNECTED_S: Final = 10.0  # until the next attempt

# The permissions of an alert, by discord.py's names and by those of Discord's settings.
NEEDED: Final = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
# The connection failed; the request may have arrived.
BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)
NO_MENTIONS: Final = discord.AllowedMentions.none()


class AlertChannel:
    """The channel of PERFORMANCE_ALERT_CHANNEL_ID."""

    def __init__(self, bot: discord.Client, settings: Settings, *, name: str = "") -> None:
        """``name`` stands for the channel in errors, instead of the setting and its value."""
        self._bot = bot
        self._settings = settings
        self._setting = name or f"PERFORMANCE_ALERT_CHANNEL_ID={settings.alert_channel_id}"

    async def resolve(self) -> MessageableChannel:
        """Return the channel, from discord.py's cache or from Discord.

        Raises:
            NotifyError: it is not available; the text names the setting, its value and the fix.
        """
        if not self._bot.is_ready() or self._bot.is_closed():
            raise NotifyError("The bot is not connected to Discord", permanent=False, retry_after_s=NOT_CONNECTED_S)
        channel_id = self._settings.alert_channel_id or 0
        channel = self._bot.get_channel(channel_id)
        if channel is None:
            try:
                channel = await self._bot.fetch_channel(channel_id)
            except (discord.DiscordException, *BROKEN) as error:
                raise self.refused(error) from error
        if not isinstance(channel, MessageableChannel):
            text = f"{self._setting} is a {type(channel).__name__}; name a text channel"
            raise NotifyError(text, permanent=True, gone=True)
        return channel

    async def check(self) -> None:
        """Check that the channel allows everything that an alert needs.

        Raises:
            NotifyError: it does not, or there is no such channel.
        """
        channel = await self.resolve()
        if guild := getattr(channel, "guild", None):
            self._check_member(guild.me)
        missing = missing_in(channel, self._needed(channel))
        if missing:
            text = f"{self._setting}: the bot lacks {_and(missing)} there; allow it in that channel's permissions"
            raise NotifyError(text, permanent=True)
        if isinstance(channel, discord.Thread) and channel.locked and not self.may(channel, "manage_threads"):
            raise NotifyError(f"{self._setting}: {explained(THREAD_LOCKED, {})}", permanent=True)
        self._check_role(channel)

    def may(self, channel: MessageableChannel, permission: str) -> bool:
        """Return True if the bot has a permission there, as far as discord.py's cache knows."""
        return not missing_in(channel, {permission: permission})

    def refused(self, error: BaseException) -> NotifyError:
        """Return Discord's error as a NotifyError: whether to retry, and how to fix it."""
        if isinstance(error, discord.RateLimited):
            return NotifyError("Discord limits the rate", permanent=False, retry_after_s=error.retry_after)
        if not isinstance(error, discord.HTTPException):
            return NotifyError(f"Discord cannot be reached: {type(error).__name__}", permanent=False)
        known = REFUSALS.get(error.code)
        text = f"{self._setting} cannot be posted in: {self._reason(error)}"
        if error.status == 401 or (known and known.gone):
            return NotifyError(text, permanent=True, gone=True)
        if error.status == 403 or (known and known.retry):
            # What waits is sent once it is allowed again. Retry rarely: Discord counts forbidden requests.
            return NotifyError(text, permanent=False, retry_after_s=RETRY_S)
        return NotifyError(text, permanent=400 <= error.status < 500 and error.status != 429)

    def _reason(self, error: discord.HTTPException) -> str:
        """Return why Discord refused, and the fix: the missing permissions by name where discord.py knows them."""
        channel = self._bot.get_channel(self._settings.alert_channel_id or 0)
        if error.status == 403 and error.code in FORBIDDEN and isinstance(channel, MessageableChannel):
            missing = missing_in(channel, self._needed(channel))
            if missing:
                return f"the bot lacks {_and(missing)} there; allow it in that channel's permissions"
        if error.code:
            return explained(error.code, {"message": error.text})
        return f"Discord answered {error.status} {error.text}".rstrip()

    def _needed(self, channel: MessageableChannel) -> dict[str, str]:
        names = dict(NEEDED)
        if isinstance(channel, discord.Thread):
            del names["send_messages"]
            names["send_messages_in_threads"] = "Send Messages in Threads"
        elif self._settings.alert_thread:
            names["create_public_threads"] = "Create Public Threads"
            names["send_messages_in_threads"] = "Send Messages in Threads"
        return names

    def _check_member(self, me: discord.Member | None) -> None:
        """Raise NotifyError if the bot is timed out in that server: Discord then refuses everything that it sends."""
        if me is not None and me.is_timed_out():
            text = f"{self._setting}: the bot is timed out in that server; remove the timeout from it"
            raise NotifyError(text, permanent=True)

    def _check_role(self, channel: MessageableChannel) -> None:
        """Raise NotifyError if the role that an escalation pings does not exist, or cannot be pinged."""
        role_id, guild = self._settings.alert_escalate_role_id, getattr(channel, "guild", None)
        if role_id is None or guild is None:
            return
        setting, role = f"PERFORMANCE_ALERT_ESCALATE_ROLE_ID={role_id}", guild.get_role(role_id)
        if role is None:
            raise NotifyError(f"{setting} is not a role of the alert channel's server; name one", permanent=True)
        if not role.mentionable and not self.may(channel, "mention_everyone"):
            text = f"{setting} cannot be pinged; let anyone mention that role, or allow the bot to mention all roles"
            raise NotifyError(text, permanent=True)


def missing_in(channel: MessageableChannel, names: dict[str, str]) -> list[str]:
    """Return the permissions that the bot lacks, of these; none where discord.py cannot know."""
    guild = getattr(channel, "guild", None)
    if guild is None or guild.me is None:
        return []
    try:
        allowed = channel.permissions_for(guild.me)
    except discord.ClientException:  # a thread whose channel is not in the cache
        return []
    return [name for permission, name in names.items() if not getattr(allowed, permission)]


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
