"""Writes alerts to the log, in the guide's format. The only notifier that is always on."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final, Self

from cogmeter.alerts.model import split_counts
from cogmeter.notifiers.base import Notifier, guide_fields
from cogmeter.render import formatting
from cogmeter.render.rule_text import extreme, is_block

if TYPE_CHECKING:
    from cogmeter.notifiers.base import Notice, NotifierContext

_LEVELS: Final = {"critical": logging.ERROR, "warning": logging.WARNING}
_IMPROVED: Final = {"resolved", "acknowledged", "muted", "unmuted", "eased"}  # kinds that are logged at info

_logger = logging.getLogger("cogmeter.alerts")


class LogNotifier(Notifier):
    """One line per change at error (critical), warning or info; its fields as JSON at debug."""

    name = "log"
    label = "the bot's log"
    setting = None
    edits_in_place = False
    per_alert = True
    out_of_band = False  # a line in the log notifies nobody
    rate = None

    @classmethod
    def create(cls, context: NotifierContext) -> Self:
        """Return the notifier; it needs no setting."""
        del context
        return cls()

    async def notify(self, notice: Notice) -> str | None:
        """Write the line.

        Skip an uncertain notice: the process can hardly end while the line is written, so the line is most likely
        there, and operators who count lines count alerts.
        """
        if notice.uncertain:
            _logger.debug("[ALERT] %s was most likely written by the last run", notice.event_id)
            return None
        change = notice.change
        level = logging.INFO if change.kind in _IMPROVED else _LEVELS.get(change.severity, logging.INFO)
        _logger.log(level, "%s", line(notice))
        _logger.debug("[ALERT] %s", json.dumps(guide_fields(notice)))
        return None


def line(notice: Notice) -> str:
    """Return ``[ALERT] ERROR_RATE: knowledge-graph error rate of 7.8% exceeds threshold of 5%``.

    A change after the first names its kind: ``[ALERT] RESOLVED ERROR_RATE: ... (threshold 5%, lasted 12 min)``.
    """
    alert, change = notice.alert, notice.change
    words = [alert.rule.upper()] if change.kind == "fired" else [change.kind.upper(), alert.rule.upper()]
    subject = f"{alert.service}/{alert.operation}" if alert.operation else alert.service
    past = extreme(alert.rule, alert.worst, alert.threshold) if change.kind == "resolved" else None
    message, *details = past or (split_counts(change.message)[0],)
    details += _details(notice)
    text = f"{subject} {_lowered(message)}" + (f" ({', '.join(details)})" if details else "")
    return f"[ALERT] {' '.join(words)}: {formatting.clean(text)}"


def _lowered(message: str) -> str:
    """Return the message for the middle of a sentence; an abbreviation keeps its capitals."""
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _details(notice: Notice) -> list[str]:
    """Return who changed it, how long it lasted, and how many alerts a group has."""
    change = notice.change
    details = [f"by {change.actor}"] if change.actor and not notice.test else []
    if change.kind == "resolved":
        lasted = formatting.duration(max(change.at_us - notice.alert.started_us, 0))
        details.append(f"the alert lasted {lasted}" if is_block(notice.alert.rule) else f"lasted {lasted}")
    if notice.members:
        details.append(formatting.counted(len(notice.members), "alert"))
    if change.note:
        details.append(change.note)
    return details
