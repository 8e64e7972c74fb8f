"""Hands a stored alert event to every notifier; one that fails is logged and counted, and holds up no other."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from cogmeter.notifiers.base import NotifyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.notifiers.base import Notifier
    from cogmeter_storage.model import AlertEvent

_logger = logging.getLogger("cogmeter.notifiers")


class Delivery:
    """Delivers in the notifiers' order, and remembers what became of it."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self.notifiers = notifiers
        self.delivered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    async def deliver(self, event: AlertEvent) -> None:
        """Try every notifier once."""
        for notifier in self.notifiers:
            try:
                await notifier.notify(event)
            except NotifyError as error:
                self.failed[notifier.name] += 1
                _logger.error("The %s notifier did not deliver: %s", notifier.name, error)  # noqa: TRY400 - the text says it all
            except Exception:
                self.failed[notifier.name] += 1
                _logger.exception("The %s notifier failed on %s of %s", notifier.name, event.rule, event.service)
            else:
                self.delivered[notifier.name] += 1
