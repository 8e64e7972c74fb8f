"""The state behind the API: one application, its guilds, channels, members, messages, webhooks and commands."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import defaultdict
from typing import Any

from loopback import payloads
from loopback.payloads import JSON

EPOCH_MS = 1_420_070_400_000
# A guild's shard is (id >> 22) % shards; a first number divisible by 1 to 16 puts guild i on shard i % shards.
FIRST_GUILD = 720_720 * 400_000
MESSAGES_KEPT = 1000


class World:
    """A small Discord: `guilds` guilds with one text channel, a bot, an owner and a plain member each.

    `clock_skew_s` moves Discord's clock against ours: ids, timestamps, `Date` and reset headers follow it.
    """

    def __init__(self, guilds: int = 1) -> None:
        self.clock_skew_s = 0.0
        self._count = itertools.count()
        self.bot = payloads.user(self.snowflake(), "testbot", bot=True)
        self.application_id: str = self.bot["id"]
        self.owner = payloads.user(self.snowflake(), "owner")
        self.member = payloads.user(self.snowflake(), "member")
        self.users: dict[str, JSON] = {u["id"]: u for u in (self.bot, self.owner, self.member)}
        self.guilds: dict[str, JSON] = {}
        self.channels: dict[str, JSON] = {}
        self.members: dict[str, dict[str, JSON]] = defaultdict(dict)
        self.messages: dict[str, dict[str, JSON]] = defaultdict(dict)
        self.webhooks: dict[str, JSON] = {}
        self.commands: dict[str | None, list[JSON]] = defaultdict(list)
        self.files: dict[str, tuple[str, bytes]] = {}
        for _ in range(guilds):
            self.add_guild()

    def now_s(self) -> float:
        """Discord's wall clock, seconds since 1970."""
        return time.time() + self.clock_skew_s

    def snowflake(self) -> str:
        """A new id that carries the present time, as Discord's do."""
        return str((int(self.now_s() * 1000) - EPOCH_MS) << 22 | next(self._count) & 0x3FFFFF)

    @property
    def guild(self) -> JSON:
        """The first guild."""
        return next(iter(self.guilds.values()))

    @property
    def channel(self) -> JSON:
        """The text channel of the first guild."""
        return self.channels_of(self.guild["id"])[0]

    def add_guild(self, name: str | None = None) -> JSON:
        """A further guild with a channel and the three members; the i-th is on shard i % shards."""
        number = len(self.guilds)
        guild_id = str((FIRST_GUILD + number) << 22)
        everyone = payloads.role(guild_id, "@everyone")
        admin = payloads.role(self.snowflake(), "admin", payloads.ALL_PERMISSIONS, 1)
        guild = payloads.guild(guild_id, name or f"guild-{number}", self.owner["id"], [everyone, admin])
        self.guilds[guild_id] = guild
        self.add_channel(guild_id, "general")
        for user, roles in ((self.bot, [admin["id"]]), (self.owner, [admin["id"]]), (self.member, [])):
            self.members[guild_id][user["id"]] = payloads.member(user, roles, self.now_s())
        return guild

    def add_channel(self, guild_id: str, name: str) -> JSON:
        """A further text channel."""
        channel = payloads.text_channel(self.snowflake(), guild_id, name, len(self.channels_of(guild_id)))
        self.channels[channel["id"]] = channel
        return channel

    def add_member(self, guild_id: str, name: str) -> JSON:
        """A further plain member; returns the member object."""
        user = payloads.user(self.snowflake(), name)
        self.users[user["id"]] = user
        self.members[guild_id][user["id"]] = payloads.member(user, [], self.now_s())
        return self.members[guild_id][user["id"]]

    def add_webhook(self, channel_id: str, name: str = "hook") -> JSON:
        """An incoming webhook of a channel."""
        webhook_id = self.snowflake()
        self.webhooks[webhook_id] = {
            "id": webhook_id,
            "type": 1,
            "token": secrets.token_urlsafe(51),
            "name": name,
            "avatar": None,
            "channel_id": channel_id,
            "guild_id": self.channels[channel_id].get("guild_id"),
            "application_id": None,
            "user": self.owner,
        }
        return self.webhooks[webhook_id]

    def open_dm(self, user_id: str) -> JSON:
        """The direct message channel with a user, made on first use."""
        for channel in self.channels.values():
            if channel["type"] == 1 and channel["recipients"][0]["id"] == user_id:
                return channel
        channel = payloads.dm_channel(self.snowflake(), self.users[user_id])
        self.channels[channel["id"]] = channel
        return channel

    def channels_of(self, guild_id: str) -> list[JSON]:
        """The channels of a guild, in order."""
        return [channel for channel in self.channels.values() if channel.get("guild_id") == guild_id]

    def guild_create(self, guild_id: str) -> JSON:
        """The GUILD_CREATE payload of a guild."""
        return self.guilds[guild_id] | {
            "joined_at": payloads.iso(self.now_s()),
            "large": False,
            "unavailable": False,
            "member_count": len(self.members[guild_id]),
            "members": list(self.members[guild_id].values()),
            "channels": self.channels_of(guild_id),
            "voice_states": [],
            "threads": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def new_message(self, channel_id: str, author: JSON, **fields: Any) -> JSON:
        """A stored message; the oldest of a channel go when it holds a thousand."""
        message = payloads.message(self.snowflake(), channel_id, author, self.now_s()) | fields
        stored = self.messages[channel_id]
        stored[message["id"]] = message
        if len(stored) > MESSAGES_KEPT:
            del stored[next(iter(stored))]
        return message

    def message_create(self, content: str, *, author: JSON | None = None, channel: JSON | None = None) -> JSON:
        """The MESSAGE_CREATE payload of a member's message, as prefix commands arrive."""
        channel = channel or self.channel
        author = author or self.owner
        message = self.new_message(channel["id"], author, content=content)
        if "guild_id" not in channel:
            return message
        member = {key: value for key, value in self.members[channel["guild_id"]][author["id"]].items() if key != "user"}
        return message | {"guild_id": channel["guild_id"], "member": member}
