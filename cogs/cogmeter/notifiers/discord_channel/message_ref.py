"""Where an alert's message is in Discord, how that is stored, and how the message is known again without it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import discord

from cogmeter.notifiers.discord_channel.buttons import PREFIX
from cogmeter.render.embeds.alert import tag

if TYPE_CHECKING:
    from cogmeter.notifiers.base import Notice
    from cogmeter_storage.alerting import Alert

_logger = logging.getLogger("cogmeter.notifiers")


class MessageGoneError(Exception):
    """The alert's message is not there any more."""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """The channel notifier's receipt."""

    channel: int
    message: int
    posted_us: int
    thread: int | None = None
    chart: bool = False  # whether the chart is attached

    def written(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, receipt: str | None) -> MessageRef | None:
        """A stored receipt; None if there is none, or none that can be read."""
        try:
            return None if receipt is None else cls(**json.loads(receipt))
        except (ValueError, TypeError):
            _logger.warning("The receipt of an alert's message cannot be read; the message is looked for instead")
            return None


def nonce_of(notice: Notice, purpose: str) -> str:
    """The same for every attempt at one change, and no other's: at most 25 characters."""
    return f"{tag(notice.alert)}-{purpose}{notice.change.id:x}"[:25]


def is_about(message: discord.Message, alert: Alert) -> bool:
    """By its buttons, or where it has none any more by the tag in its footer; follow-ups have neither."""
    if not message.embeds:
        return False
    rows = [row.children for row in message.components if isinstance(row, discord.ActionRow)]
    ids = [getattr(item, "custom_id", None) or "" for row in rows for item in row]
    if any(one.startswith(PREFIX) and one.endswith(f":{alert.uid}") for one in ids):
        return True
    return tag(alert) in (message.embeds[0].footer.text or "")
