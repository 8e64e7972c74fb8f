"""The menus and buttons of ``/perf setup``. They have custom ids alone: no view waits for a press."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

import discord

from cogmeter.cog.options import MAX_CHOICES
from cogmeter.render.formatting import cut
from cogmeter.settings import Settings, env_name

if TYPE_CHECKING:
    from discord.ui import Item

PREFIX: Final = "cogmeter:setup:"
CHANNEL, ROLES, DASHBOARD, DIGEST = "alert_channel_id", "ops_role_ids", "analytics_dashboard", "digest"
ON, OFF = "on", "off"
WATCHED: Final = [field for field in Settings.model_fields if field.startswith("watch_")][:MAX_CHOICES]
CHANNEL_TYPES: Final = [
    discord.ChannelType.text,
    discord.ChannelType.news,
    discord.ChannelType.public_thread,
    discord.ChannelType.private_thread,
]
VERBS: Final = re.compile(r"^(Record|Sample|Count|Mark) ")


def menus(settings: Settings, guild: discord.Guild) -> list[Item[Any]]:
    """Return the menus of all steps, with what is chosen now."""
    channel, roles = settings.alert_channel_id, sorted(filter(guild.get_role, settings.ops_role_ids))[:MAX_CHOICES]
    here = channel is not None and guild.get_channel_or_thread(channel) is not None
    items: list[Item[Any]] = [
        discord.ui.ChannelSelect(
            custom_id=f"{PREFIX}channel",
            placeholder="Channel for alerts",
            channel_types=CHANNEL_TYPES,
            min_values=0,
            default_values=[discord.SelectDefaultValue.from_channel(discord.Object(channel or 0))] if here else [],
        ),
        discord.ui.RoleSelect(
            custom_id=f"{PREFIX}roles",
            placeholder="Roles with access",
            min_values=0,
            max_values=MAX_CHOICES,
            default_values=[discord.SelectDefaultValue.from_role(discord.Object(role)) for role in roles],
        ),
        select(
            "watch",
            "What to watch",
            [
                discord.SelectOption(
                    label=cut(what_is_watched(field), 100),
                    description=env_name(field),
                    value=field,
                    default=getattr(settings, field),
                )
                for field in WATCHED
            ],
            least=0,
            most=len(WATCHED),
        ),
    ]
    names = get_args(Settings.model_fields[DIGEST].annotation)
    options = [
        discord.SelectOption(label=f"Digest: {name}", value=name, default=name == settings.digest) for name in names
    ]
    return [*items, select("digest", "Digest", options, most=1)]


def buttons(settings: Settings, changed: int) -> list[Item[Any]]:
    """Return the buttons below the menus; ``changed`` settings can be reset."""
    wanted = OFF if settings.analytics_dashboard else ON
    always = [
        button("Thresholds", "thresholds"),
        button(f"Dashboard {wanted}", f"dashboard-{wanted}"),  # what a press does, whatever has changed since
        button("Test alert", "test-alert", discord.ButtonStyle.primary),
        button("Test error", "test-error"),
    ]
    return [*always, button(f"Changes ({changed})", "changes")] if changed else [*always]


def what_is_watched(field: str) -> str:
    """Return what a setting switches on, in plain words, from its description."""
    text = VERBS.sub("", Settings.model_fields[field].description or field)
    return f"{text[:1].upper()}{text[1:]}"


def view_of(*items: Item[Any]) -> discord.ui.View:
    """Return a finished view: discord.py neither stores it nor waits for it to time out."""
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    view.stop()
    return view


def button(
    label: str, action: str, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> discord.ui.Button[Any]:
    """Return a button whose press runs an action."""
    return discord.ui.Button(label=label, style=style, custom_id=f"{PREFIX}{action}")


def select(
    action: str, placeholder: str, options: list[discord.SelectOption], *, most: int, least: int = 1
) -> discord.ui.Select[Any]:
    """Return a menu whose choice runs an action."""
    return discord.ui.Select(
        custom_id=f"{PREFIX}{action}", placeholder=placeholder, options=options, min_values=least, max_values=most
    )
