"""The objects of Discord's API as it sends them: users, members, roles, channels, guilds, messages, the application."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

JSON = dict[str, Any]
ALL_PERMISSIONS = str((1 << 53) - 1)
MEMBER_PERMISSIONS = str((1 << 10) | (1 << 11) | (1 << 31))  # view channels, send messages, use application commands


def iso(time_s: float) -> str:
    """An ISO 8601 time as Discord writes it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat()


def user(user_id: str, name: str, *, bot: bool = False) -> JSON:
    """A user object."""
    return {
        "id": user_id,
        "username": name,
        "global_name": None if bot else name.title(),
        "discriminator": "0",
        "avatar": None,
        "bot": bot,
        "public_flags": 0,
        "flags": 0,
        "banner": None,
        "accent_color": None,
        "avatar_decoration_data": None,
        "clan": None,
        "primary_guild": None,
    }


def member(of: JSON, roles: list[str], joined_s: float) -> JSON:
    """A guild member object around a user."""
    return {
        "user": of,
        "roles": roles,
        "nick": None,
        "avatar": None,
        "banner": None,
        "joined_at": iso(joined_s),
        "premium_since": None,
        "communication_disabled_until": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
    }


def role(role_id: str, name: str, permissions: str = MEMBER_PERMISSIONS, position: int = 0) -> JSON:
    """A role object."""
    return {
        "id": role_id,
        "name": name,
        "permissions": permissions,
        "position": position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def text_channel(channel_id: str, guild_id: str, name: str, position: int = 0) -> JSON:
    """A text channel object."""
    return {
        "id": channel_id,
        "type": 0,
        "guild_id": guild_id,
        "name": name,
        "position": position,
        "topic": None,
        "nsfw": False,
        "parent_id": None,
        "last_message_id": None,
        "last_pin_timestamp": None,
        "rate_limit_per_user": 0,
        "permission_overwrites": [],
        "flags": 0,
    }


def dm_channel(channel_id: str, recipient: JSON) -> JSON:
    """A direct message channel object."""
    return {"id": channel_id, "type": 1, "last_message_id": None, "recipients": [recipient], "flags": 0}


def guild(guild_id: str, name: str, owner_id: str, roles: list[JSON]) -> JSON:
    """A guild object without the lists that only GUILD_CREATE carries."""
    return {
        "id": guild_id,
        "name": name,
        "owner_id": owner_id,
        "roles": roles,
        "emojis": [],
        "stickers": [],
        "features": [],
        "icon": None,
        "banner": None,
        "splash": None,
        "discovery_splash": None,
        "description": None,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "vanity_url_code": None,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "premium_progress_bar_enabled": False,
        "application_id": None,
    }


def message(message_id: str, channel_id: str, author: JSON, time_s: float) -> JSON:
    """A message object with nothing in it yet."""
    return {
        "id": message_id,
        "channel_id": channel_id,
        "author": author,
        "content": "",
        "timestamp": iso(time_s),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "pinned": False,
        "type": 0,
        "flags": 0,
    }


def application(application_id: str, bot: JSON, owner: JSON, guild_count: int) -> JSON:
    """The application object that a bot reads of itself."""
    return {
        "id": application_id,
        "name": bot["username"],
        "description": "",
        "icon": None,
        "bot": bot,
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": owner,
        "team": None,
        "verify_key": "0" * 64,
        "flags": 0,
        "tags": [],
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "integration_types_config": {"0": {}},
        "approximate_guild_count": guild_count,
        "approximate_user_install_count": 0,
    }
