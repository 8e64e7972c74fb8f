"""The limits of a mute, in chat and on the web: its length, and that it covers something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT
from cogmeter.query.name_matching import suggest
from cogmeter.query.records import UnknownNameError

if TYPE_CHECKING:
    from cogmeter.query.query import Query

SHORTEST_S: Final = 60
LONGEST_S: Final = 30 * 86_400
REASON: Final = 300  # characters


async def check_service(query: Query, service: str) -> None:
    """Check that a service has operations or alerts: else the mute would cover nothing.

    Raises:
        UnknownNameError: it has neither.
    """
    if service in {"", BOT}:
        return
    stored = await query.names()
    if service not in stored and not await query.store.alerting.alerts(service=service, limit=1):
        raise UnknownNameError("service", service, await suggest(service, stored))
