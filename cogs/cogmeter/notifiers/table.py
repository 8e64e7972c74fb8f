"""Every notifier by name: what it needs, and which setting switches it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.notifiers.channel import ChannelNotifier
from cogmeter.notifiers.log import LogNotifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import discord

    from cogmeter.notifiers.base import Notifier
    from cogmeter.render.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter_storage.model import AlertEvent


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a notifier may be built from."""

    bot: discord.Client
    settings: Settings
    picture_of: Callable[[AlertEvent], Awaitable[Picture | None]]


def _channel(around: Surroundings) -> Notifier | None:
    channel_id = around.settings.alert_channel_id
    return None if channel_id is None else ChannelNotifier(around.bot, channel_id, around.picture_of)


# The order is the order of delivery: the log first, because it cannot fail.
NOTIFIERS: Final[dict[str, Callable[[Surroundings], Notifier | None]]] = {
    "log": lambda _: LogNotifier(),
    "channel": _channel,
}


def build(around: Surroundings) -> list[Notifier]:
    """The notifiers that the settings switch on."""
    made = [make(around) for make in NOTIFIERS.values()]
    return [notifier for notifier in made if notifier is not None]
