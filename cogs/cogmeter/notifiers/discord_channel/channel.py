"""The alert channel: found by its setting, looked at before it is needed, and its refusals put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
import discord

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_refusals import REFUSALS, RETRY_S, explained

if TYPE_CHECKING:
    from cogmeter.settings import Settings

Room: TypeAlias = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread | discord.DMChannel
ROOMS: Final = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel, discord.Thread, discord.DMChannel)

UNKNOWN_CHANNEL: Final = 10003
UNKNOWN_MESSAGE: Final = 10008
EDITED_TOO_OFTEN: Final = 30046  # "Maximum number of edits to messages older than 1 hour reached"
THREAD_EXISTS: Final = 160004
THREAD_LOCKED: Final = 160005
FORBIDDEN: Final = frozenset({50001, 50013})  # missing access, missing permissions
NOT_YET_S: Final = 10.0

# What an alert needs, by discord.py's names and by those of Discord's settings.
NEEDED: Final = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
# Where the connection broke; nobody knows whether the request arrived.
BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)


class AlertChannel:
    """The channel of PERFORMANCE_ALERT_CHANNEL_ID."""

    def __init__(self, bot: discord.Client, settings: Settings) -> None:
        self._bot = bot
        self._settings = settings
        self._named = f"PERFORMANCE_ALERT_CHANNEL_ID={settings.alert_channel_id}"

    async def room(self) -> Room:
        """The channel, asked of Discord where discord.py does not remember it.

        Raises:
            NotifyError: it cannot be had; the text names the setting, its value and the mend.
        """
        if not self._bot.is_ready() or self._bot.is_closed():
            raise NotifyError("The bot is not connected to Discord", permanent=False, retry_after_s=NOT_YET_S)
        number = self._settings.alert_channel_id or 0
        channel = self._bot.get_channel(number)
        if channel is None:
            try:
                channel = await self._bot.fetch_channel(number)
            except (discord.DiscordException, *BROKEN) as error:
                raise self.refused(error) from error
        if not isinstance(channel, ROOMS):
            text = f"{self._named} is a {type(channel).__name__}; name a text channel"
            raise NotifyError(text, permanent=True, gone=True)
        return channel

    async def examine(self) -> None:
        """Look whether all that an alert needs is allowed there.

        Raises:
            NotifyError: it is not, or there is no such channel.
        """
        room = await self.room()
        if guild := getattr(room, "guild", None):
            self._examine_member(guild.me)
        missing = missing_in(room, self._names(room))
        if missing:
            text = f"{self._named}: the bot lacks {_and(missing)} there; allow it in that channel's permissions"
            raise NotifyError(text, permanent=True)
        if isinstance(room, discord.Thread) and room.locked and not self.may(room, "manage_threads"):
            raise NotifyError(f"{self._named}: {explained(THREAD_LOCKED, {})}", permanent=True)
        self._examine_role(room)

    def may(self, room: Room, permission: str) -> bool:
        """Whether the bot has a permission there, as far as discord.py remembers."""
        return not missing_in(room, {permission: permission})

    def refused(self, error: BaseException) -> NotifyError:
        """What Discord answered, as this project says it: whether to try again, and what to mend."""
        if isinstance(error, discord.RateLimited):
            return NotifyError("Discord limits the rate", permanent=False, retry_after_s=error.retry_after)
        if not isinstance(error, discord.HTTPException):
            return NotifyError(f"Discord cannot be reached: {type(error).__name__}", permanent=False)
        known = REFUSALS.get(error.code)
        text = f"{self._named} cannot be posted in: {self._reason(error)}"
        if error.status == 401 or (known and known.gone):
            return NotifyError(text, permanent=True, gone=True)
        if error.status == 403 or (known and known.retry):
            # What waits is sent once it is allowed again. Seldom: Discord counts what it forbids.
            return NotifyError(text, permanent=False, retry_after_s=RETRY_S)
        return NotifyError(text, permanent=400 <= error.status < 500 and error.status != 429)

    def _reason(self, error: discord.HTTPException) -> str:
        """Return why Discord refused, and the fix: the missing permissions by name where discord.py knows them."""
        room = self._bot.get_channel(self._settings.alert_channel_id or 0)
        if error.status == 403 and error.code in FORBIDDEN and isinstance(room, ROOMS):
            missing = missing_in(room, self._names(room))
            if missing:
                return f"the bot lacks {_and(missing)} there; allow it in that channel's permissions"
        if error.code:
            return explained(error.code, {"message": error.text})
        return f"Discord answered {error.status} {error.text}".rstrip()

    def _names(self, room: Room) -> dict[str, str]:
        names = dict(NEEDED)
        if isinstance(room, discord.Thread):
            del names["send_messages"]
            names["send_messages_in_threads"] = "Send Messages in Threads"
        elif self._settings.alert_thread:
            names["create_public_threads"] = "Create Public Threads"
            names["send_messages_in_threads"] = "Send Messages in Threads"
        return names

    def _examine_member(self, me: discord.Member | None) -> None:
        """Check that the bot itself is not timed out in that server: then Discord refuses all that it sends."""
        if me is not None and me.is_timed_out():
            text = f"{self._named}: the bot is timed out in that server; remove the timeout from it"
            raise NotifyError(text, permanent=True)

    def _examine_role(self, room: Room) -> None:
        """Whether the role that an escalation pings is there, and would be pinged."""
        number, guild = self._settings.alert_escalate_role_id, getattr(room, "guild", None)
        if number is None or guild is None:
            return
        named, role = f"PERFORMANCE_ALERT_ESCALATE_ROLE_ID={number}", guild.get_role(number)
        if role is None:
            raise NotifyError(f"{named} is no role of the alert channel's server; name one", permanent=True)
        if not role.mentionable and not self.may(room, "mention_everyone"):
            text = f"{named} would not be pinged; let anyone mention that role, or allow the bot to mention all roles"
            raise NotifyError(text, permanent=True)


def missing_in(room: Room, names: dict[str, str]) -> list[str]:
    """Which of these permissions the bot lacks; none where it cannot be known."""
    guild = getattr(room, "guild", None)
    if guild is None or guild.me is None:
        return []
    try:
        allowed = room.permissions_for(guild.me)
    except discord.ClientException:  # a thread whose channel is not known
        return []
    return [name for permission, name in names.items() if not getattr(allowed, permission)]


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
