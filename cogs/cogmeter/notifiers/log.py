"""Delivers alerts to the log, in the guide's form. The one notifier that is always on."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from cogmeter.notifiers.base import guide_fields

if TYPE_CHECKING:
    from cogmeter_storage.model import AlertEvent

_logger = logging.getLogger("cogmeter.alerts")


class LogNotifier:
    """One line for each alert: a warning, or an error when it is critical; its fields as JSON at debug."""

    name = "log"

    async def notify(self, event: AlertEvent) -> None:
        """Write the line."""
        level = logging.ERROR if event.severity == "critical" else logging.WARNING
        message = event.message[:1].lower() + event.message[1:]
        _logger.log(level, "[ALERT] %s: %s %s", event.rule.upper(), event.service, message)
        _logger.debug("[ALERT] %s", json.dumps(guide_fields(event)))
