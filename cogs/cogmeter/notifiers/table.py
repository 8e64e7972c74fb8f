"""Every notifier by name: what it needs, and which setting switches it on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.notifiers.discord_channel.notifier import ChannelNotifier
from cogmeter.notifiers.discord_webhook import DiscordWebhookNotifier
from cogmeter.notifiers.log import LogNotifier
from cogmeter.notifiers.unavailable import UnavailableNotifier
from cogmeter.notifiers.webhook import WebhookNotifier
from cogmeter.query.records import IncidentContext
from cogmeter.startup import StartupGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

    from cogmeter.notifiers.base import Notifier
    from cogmeter.render.charts.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier may be built from."""

    bot: discord.Client
    settings: Settings
    story_of: Callable[[Alert], Awaitable[IncidentContext]]
    picture_of: Callable[[Alert], Awaitable[Picture | None]]


def _channel(around: NotifierContext) -> Notifier | None:
    if around.settings.alert_channel_id is None:
        return None
    return ChannelNotifier(around.bot, around.settings, story_of=around.story_of, picture_of=around.picture_of)


def _discord_webhook(around: NotifierContext) -> Notifier | None:
    settings = around.settings
    if settings.alert_discord_webhook is None:
        return None
    alone = settings.alert_channel_id is None  # else the channel pings, and once is enough
    return DiscordWebhookNotifier(
        settings.alert_discord_webhook,
        story_of=around.story_of,
        ping_role=settings.alert_escalate_role_id if alone else None,
        ping_user=settings.alert_escalate_user_id if alone else None,
        kind_of=lambda channel: _kind_of(around.bot, channel),
    )


def _kind_of(bot: discord.Client, channel: int) -> str:
    """Return the kind of a channel, "text" or "forum" for example; empty if the bot does not see it."""
    found = bot.get_channel(channel)
    return found.type.name if isinstance(found, discord.abc.GuildChannel | discord.Thread) else ""


def _webhook(around: NotifierContext) -> Notifier | None:
    url = around.settings.alert_webhook_url
    return None if url is None else _own_endpoint(around.settings, url)


def _own_endpoint(settings: Settings, url: SecretStr) -> Notifier:
    return WebhookNotifier(
        url, settings.alert_webhook_secret, private_redirects=settings.alert_webhook_private_redirects
    )


NOTIFIERS: Final[dict[str, Callable[[NotifierContext], Notifier | None]]] = {
    "log": lambda _: LogNotifier(),
    "channel": _channel,
    "discord_webhook": _discord_webhook,
    "webhook": _webhook,
}


async def _untold(alert: Alert) -> IncidentContext:
    """No circumstances: nobody can look for them now."""
    return IncidentContext(alert.started_us, alert.seen_us, 0, 0)


def build_apart(settings: Settings) -> list[Notifier]:
    """Those that need nothing of the bot: for the lifeline, which tells what the bot itself cannot."""
    made: list[Notifier] = []
    if settings.alert_discord_webhook is not None:
        made.append(DiscordWebhookNotifier(settings.alert_discord_webhook, story_of=_untold))
    if settings.alert_webhook_url is not None:
        made.append(_own_endpoint(settings, settings.alert_webhook_url))
    return made


def build(around: NotifierContext, parts: StartupGuard | None = None) -> list[Notifier]:
    """The notifiers that the settings switch on. One that fails is reported to ``parts`` and refuses for now."""
    parts = StartupGuard(Counter()) if parts is None else parts
    found: list[Notifier] = []
    for name, make in NOTIFIERS.items():
        notifier: Notifier | None = UnavailableNotifier(name, "see the log")
        with parts.guard(f"alert target {name}", "what waits for it is kept"):
            notifier = make(around)
        if notifier is not None:
            found.append(notifier)
    return found
