"""Delivers alerts to the log, in the guide's form. The one notifier that is always on."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from cogmeter.notifiers.base import guide_fields
from cogmeter.render import formatting

if TYPE_CHECKING:
    from cogmeter.notifiers.base import Notice

_LEVELS: Final = {"critical": logging.ERROR, "warning": logging.WARNING}
_CALM: Final = {"resolved", "acknowledged", "muted", "unmuted", "eased"}  # nothing became worse

_logger = logging.getLogger("cogmeter.alerts")


class LogNotifier:
    """One line for each change: an error when it is critical, a warning, or info; its fields as JSON at debug."""

    name = "log"
    living = False
    single = True

    async def prepare(self) -> None:
        """There is always a log."""

    async def notify(self, notice: Notice) -> str | None:
        """Write the line.

        An uncertain one is left out: writing takes no time in which a process could die, so that it was most likely
        written, and people who count lines count alerts.
        """
        if notice.uncertain:
            _logger.debug("[ALERT] %s was written before the last end, most likely", notice.event_id)
            return None
        change = notice.change
        level = logging.INFO if change.kind in _CALM else _LEVELS.get(change.severity, logging.INFO)
        _logger.log(level, "%s", line(notice))
        _logger.debug("[ALERT] %s", json.dumps(guide_fields(notice)))
        return None


def line(notice: Notice) -> str:
    """``[ALERT] ERROR_RATE: knowledge-graph error rate of 7.8% exceeds threshold of 5%``.

    What is not an alert's beginning says so: ``[ALERT] RESOLVED ERROR_RATE: ... (after 12 min)``.
    """
    alert, change = notice.alert, notice.change
    words = [alert.rule.upper()] if change.kind == "fired" else [change.kind.upper(), alert.rule.upper()]
    about = f"{alert.service}/{alert.operation}" if alert.operation else alert.service
    return f"[ALERT] {' '.join(words)}: {formatting.clean(f'{about} {_lowered(change.message)}{_more(notice)}')}"


def _lowered(message: str) -> str:
    """In the middle of a sentence; an abbreviation keeps its capitals."""
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _more(notice: Notice) -> str:
    """Who did it, how long it took, and how many a group has, in parentheses."""
    change = notice.change
    said = [f"by {change.actor}"] if change.actor and not notice.test else []
    if change.kind == "resolved":
        said.append(f"after {formatting.duration(max(change.at_us - notice.alert.started_us, 0))}")
    if notice.members:
        said.append(f"{len(notice.members)} alerts")
    if change.note:
        said.append(change.note)
    return f" ({', '.join(said)})" if said else ""
