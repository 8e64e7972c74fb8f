"""The picture of the bot's state: the request to the worker process, and its layout in rows."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.diagnosis import BotState, StateArea, StateItem, Status, Verdict
from cogmeter.render import formatting
from cogmeter.render.charts.chart import DESCRIPTION_LIMIT, UTC
from cogmeter.render.palette import state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBLEMS: Final = 6  # written at the top
WITH_TEXT: Final = 6  # items of an area up to which each has its figures, in one or two columns
HALF_ROW: Final = 38  # characters of a name and its figures in one of two columns
NAMED: Final = 15  # items up to which each has its name, in three columns
SQUARES: Final = 38  # in a row, of areas with more items
SQUARE_ROWS: Final = 3
MOST_TEXT: Final = 120  # characters of a text or name in a request


@dataclass(frozen=True, slots=True)
class StateChart:
    """The state of the bot as a picture, problems first."""

    state: BotState
    zone: str = UTC

    @property
    def alt_text(self) -> str:
        """Implement ChartRequest.alt_text."""
        verdict = self.state.verdict
        problems = [f"{area}, {item.name}: {item.text}" for area, item in self.state.problems]
        counts = [f"{area.name}: {counts_text(area)}" for area in self.state.areas]
        text = f"State of the bot: {state_of(verdict.status).word}; {verdict.text}. {'. '.join([*problems, *counts])}."
        return formatting.cut(formatting.clean(text), DESCRIPTION_LIMIT)

    def in_zone(self, zone: str) -> StateChart:
        """Implement ChartRequest.in_zone."""
        return dataclasses.replace(self, zone=zone)

    def to_json(self) -> bytes:
        """Implement ChartRequest.to_json."""
        state = self.state
        areas = [
            [area.name, [[item.name[:MOST_TEXT], item.status, item.text[:MOST_TEXT]] for item in area.items]]
            for area in state.areas
        ]
        verdict = [state.verdict.status, state.verdict.text]
        values = {"kind": "state", "at_us": state.at_us, "verdict": verdict, "areas": areas, "zone": self.zone}
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> StateChart:
        """Return the picture of a request."""
        values: dict[str, Any] = json.loads(data)
        status, text = values["verdict"]
        areas = tuple(
            StateArea(name, tuple(StateItem(item, Status(status), text) for item, status, text in items))
            for name, items in values["areas"]
        )
        return cls(BotState(values["at_us"], Verdict(Status(status), text), areas), values["zone"])

    def fingerprint(self) -> tuple[object, ...]:
        """Implement ChartRequest.fingerprint; the time is left out, because it changes with each request."""
        return ("state", self.state.verdict, self.state.areas, self.zone)


def counts_text(area: StateArea) -> str:
    """Return how many items have each status: ``1 unhealthy, 97 healthy``."""
    return ", ".join(f"{formatting.exact(count)} {state_of(status).word}" for status, count in area.counts.items())


def rows_of(area: StateArea) -> int:
    """Return how many rows of the picture the items of an area take."""
    count = len(area.items)
    per_row = columns_of(area) or SQUARES
    rows = -(-count // per_row)
    return rows if columns_of(area) else min(rows, SQUARE_ROWS)


def columns_of(area: StateArea) -> int:
    """Return the number of columns with names; 0 where each item is a square."""
    count = len(area.items)
    if count > WITH_TEXT:
        return 3 if count <= NAMED else 0
    # The texts of problems are written at the top in full.
    lengths = [len(item.name) + len(item.text) for item in area.items if item.status is Status.HEALTHY]
    return 1 if max(lengths, default=0) > HALF_ROW else 2


def shown_squares(items: Sequence[StateItem]) -> tuple[Sequence[StateItem], int]:
    """Return the items that have squares, worst first, and the number of those that do not fit."""
    most = SQUARES * SQUARE_ROWS
    if len(items) <= most:
        return items, 0
    kept = most - 3  # the number of the others takes the place of three
    return items[:kept], len(items) - kept
