"""The colours of charts, embeds, dashboard and terminal: each state has the same colour everywhere."""

from __future__ import annotations

import enum
from typing import Final

from cogmeter.diagnosis import Status
from cogmeter.query.time_parts import TimePart
from cogmeter_storage.alerting import AlertState

BACKGROUND = "#2b2d31"  # Discord's dark embed
TEXT = "#dbdee1"
MUTED = "#a5abb5"
GRID = "#43464c"
MEAN = "#ffffff"
P50 = "#4aa3ff"
P95 = "#b3dbff"
P99 = "#ffc440"
BARS = "#6d7683"
FAILED = "#ff8466"


class DisplayState(enum.Enum):
    """The state of a service or of the bot, with its word and colour (0xRRGGBB)."""

    HEALTHY = ("healthy", 0x4CB387)
    DEGRADED = ("degraded", 0xFFC440)
    UNHEALTHY = ("unhealthy", 0xFF8466)
    NEUTRAL = ("unknown", 0x6D7683)

    def __init__(self, word: str, colour: int) -> None:
        self.word = word
        self.colour = colour


# The parts of a run's time; the dashboard has the same in app.css.
PARTS: Final[dict[TimePart, str]] = {
    TimePart.OWN: MUTED,
    TimePart.REST: P50,
    TimePart.HOST: P99,
    TimePart.DATABASE: f"#{DisplayState.HEALTHY.colour:06x}",
    TimePart.RATE_LIMIT: P95,
    TimePart.BLOCKED: FAILED,
}

_STATES: Final = {
    Status.HEALTHY: DisplayState.HEALTHY,
    Status.DEGRADED: DisplayState.DEGRADED,
    Status.UNHEALTHY: DisplayState.UNHEALTHY,
    Status.UNKNOWN: DisplayState.NEUTRAL,
}


class Look(enum.Enum):
    """The icon, word and colour (0xRRGGBB) of an alert. Icons differ in shape as well as in colour."""

    INFO = ("\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}", "info", 0x4AA3FF)
    WARNING = ("\N{WARNING SIGN}\N{VARIATION SELECTOR-16}", "warning", 0xFFC440)
    CRITICAL = ("\N{OCTAGONAL SIGN}", "critical", 0xFF8466)
    ACKNOWLEDGED = ("\N{EYES}", "acknowledged", 0xB3DBFF)
    MUTED = ("\N{BELL WITH CANCELLATION STROKE}", "muted", 0x6D7683)
    RESOLVED = ("\N{WHITE HEAVY CHECK MARK}", "resolved", 0x4CB387)

    def __init__(self, icon: str, word: str, colour: int) -> None:
        self.icon = icon
        self.word = word
        self.colour = colour


WORST_FIRST: Final = (Look.CRITICAL, Look.WARNING, Look.INFO, Look.ACKNOWLEDGED, Look.MUTED, Look.RESOLVED)
_BY_STATE = {
    AlertState.ACKNOWLEDGED: Look.ACKNOWLEDGED,
    AlertState.MUTED: Look.MUTED,
    AlertState.RESOLVED: Look.RESOLVED,
}
_BY_SEVERITY = {look.word: look for look in (Look.INFO, Look.WARNING, Look.CRITICAL)}


def look_of(severity: str, state: AlertState) -> Look:
    """Return the look of an acknowledged, muted or resolved state, else the look of the severity."""
    return _BY_STATE.get(state) or _BY_SEVERITY.get(severity, Look.WARNING)


def state_of(status: Status) -> DisplayState:
    """Return the word and colour of a status."""
    return _STATES[status]
