"""The table of all notifiers, and the notifiers that the settings switch on."""

from __future__ import annotations

import pkgutil
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from cogmeter.notifiers.base import Notifier, NotifierContext, NotifyError
from cogmeter.render.links import alert_link
from cogmeter.startup import StartupGuard

if TYPE_CHECKING:
    from cogmeter.notifiers.base import Notice
    from cogmeter.settings import Settings

# Every notifier, in the order of the alerts page. Names, because a class of discord_channel imports discord.
NOTIFIERS: Final = (
    "cogmeter.notifiers.log:LogNotifier",
    "cogmeter.notifiers.discord_channel.notifier:ChannelNotifier",
    "cogmeter.notifiers.discord_webhook:DiscordWebhookNotifier",
    "cogmeter.notifiers.webhook:WebhookNotifier",
)


@cache
def notifier_classes() -> tuple[type[Notifier], ...]:
    """Return the class of every notifier, in the table's order."""
    return tuple(pkgutil.resolve_name(name) for name in NOTIFIERS)


class UnavailableNotifier(Notifier):
    """A placeholder for a notifier that could not be created. It refuses each delivery, so that the outbox keeps it."""

    edits_in_place = False
    per_alert = False
    rate = None

    def __init__(self, name: str) -> None:
        """``name`` is that of the notifier that it replaces."""
        self.name = name

    async def prepare(self) -> None:
        """Raise NotifyError."""
        raise self._error()

    async def notify(self, notice: Notice) -> str | None:
        """Raise NotifyError."""
        del notice
        raise self._error()

    def _error(self) -> NotifyError:
        return NotifyError(f"The {self.name} target could not be started: see the log", permanent=False)


def build(context: NotifierContext, parts: StartupGuard | None = None) -> list[Notifier]:
    """Return the notifiers that the settings switch on.

    A notifier that cannot be created is reported to ``parts`` and replaced by one that refuses each delivery.
    """
    parts = StartupGuard(Counter()) if parts is None else parts
    notifiers: list[Notifier] = []
    for kind in notifier_classes():
        if not _is_on(kind, context.settings):
            continue
        notifier: Notifier = UnavailableNotifier(kind.name)
        with parts.guard(f"alert target {kind.name}", "its deliveries wait"):
            notifier = kind.create(context)
        notifiers.append(notifier)
    return notifiers


def build_out_of_band(settings: Settings) -> list[Notifier]:
    """Return new notifiers that need nothing of the bot, for alerts from outside its event loop."""
    return [
        kind.create(NotifierContext(settings, link_of=partial(alert_link, settings)))
        for kind in notifier_classes()
        if kind.out_of_band and _is_on(kind, settings)
    ]


def _is_on(kind: type[Notifier], settings: Settings) -> bool:
    return kind.setting is None or getattr(settings, kind.setting) is not None
