"""The colours of every surface: charts, embeds, dashboard and terminal show one state in one colour."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogmeter.records import Figures

BACKGROUND = "#2b2d31"  # Discord's dark embed
TEXT = "#dbdee1"
MUTED = "#a5abb5"
GRID = "#43464c"
P50 = "#4aa3ff"
P95 = "#b3dbff"
P99 = "#ffc440"
BARS = "#6d7683"
FAILED = "#ff8466"

DEGRADED_FROM = 1.0  # times the threshold
CRITICAL_FROM = 1.6  # times the threshold, as alerts have it


class State(enum.Enum):
    """How a service or the whole is doing: the word for it and its colour (0xRRGGBB)."""

    HEALTHY = ("healthy", 0x4CB387)
    DEGRADED = ("degraded", 0xFFC440)
    CRITICAL = ("critical", 0xFF8466)
    NEUTRAL = ("no data", 0x6D7683)

    def __init__(self, word: str, colour: int) -> None:
        self.word = word
        self.colour = colour


def state_of(figures: Figures, *, error_rate_threshold: float = 0.05) -> State:
    """The state that an error rate stands for; the threshold is a share of operations, 0 to 1."""
    if not figures.operations:
        return State.NEUTRAL
    if figures.error_rate > CRITICAL_FROM * error_rate_threshold:
        return State.CRITICAL
    return State.DEGRADED if figures.error_rate > DEGRADED_FROM * error_rate_threshold else State.HEALTHY
