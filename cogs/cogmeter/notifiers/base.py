"""What a notifier is, and how one says that it could not deliver."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cogmeter_storage.model import AlertEvent


class NotifyError(Exception):
    """An alert was not delivered; ``permanent`` tells whether trying again is useless."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Notifier(Protocol):
    """Delivers an alert event somewhere."""

    name: str

    async def notify(self, event: AlertEvent) -> None:
        """Deliver it and return None, or raise NotifyError, and nothing else that can be foreseen."""
        ...


def guide_fields(event: AlertEvent) -> dict[str, Any]:
    """The event as the guide's JSON: response times in whole milliseconds, rates as shares, the time in UTC."""
    digits = {"error_rate": 3, "response_time": 0, "throughput": 1}.get(event.rule, 3)
    return {
        "type": event.rule,
        "service": event.service,
        "message": event.message,
        "threshold": _number(event.threshold, digits + 1),
        "current": _number(event.current, digits),
        "timestamp": datetime.fromtimestamp(event.at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "severity": event.severity,
    }


def _number(value: float, digits: int) -> float | int:
    """Rounded; whole numbers without a decimal point, as JSON readers expect of counts and milliseconds."""
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded
