"""The picture of the bot's resources: the request to the worker process, with six panels."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.records import Range
from cogmeter.render import formatting
from cogmeter.render.charts.chart import DESCRIPTION_LIMIT, UTC, zone_text
from cogmeter.render.charts.curve import UNITS

if TYPE_CHECKING:
    from cogmeter.query.resources import ResourceLine, ResourceUse

# The panels in reading order: a title, and the resources that they show.
PANELS: Final = (
    ("CPU", ("cpu",)),
    ("Memory", ("memory",)),
    ("Event-loop lag (p99)", ("lag",)),
    ("Longest GC pause", ("gc",)),
    ("Network", ("sent", "received")),
    ("Open files", ("files",)),
)


@dataclass(frozen=True, slots=True)
class PanelLine:
    """A line of a panel, with the band of its lowest and highest values."""

    name: str  # empty where the panel has one line
    values: tuple[float | None, ...]
    lowest: tuple[float | None, ...]
    highest: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the small charts."""

    title: str
    unit: str  # of ``curve.UNITS``
    latest: str  # the newest value with its unit
    lines: tuple[PanelLine, ...]


@dataclass(frozen=True, slots=True)
class ResourcesChart:
    """The resources of the process over a range as a picture."""

    range: Range
    step_us: int
    edges_us: tuple[int, ...]
    panels: tuple[Panel, ...]
    markers: tuple[tuple[int, str], ...] = ()
    zone: str = UTC

    @classmethod
    def of(cls, use: ResourceUse) -> ResourcesChart:
        """Return the picture of resources."""
        known = {line.resource.key: line for line in use.lines}
        panels = [
            _panel(title, [known[key] for key in keys if key in known])
            for title, keys in PANELS
            if any(key in known for key in keys)
        ]
        markers = tuple((marker.at_us, marker.name) for marker in use.markers)
        return cls(use.range, use.step_us, use.edges_us, tuple(panels), markers)

    @property
    def alt_text(self) -> str:
        """Implement ChartRequest.alt_text."""
        values = "; ".join(f"{panel.title} {panel.latest}" for panel in self.panels)
        span = formatting.clean(self.range.label)
        text = f"Resources of the bot's process, {span}, {zone_text(self.zone)}. Newest values: {values or 'none'}."
        return formatting.cut(text, DESCRIPTION_LIMIT)

    @property
    def until_us(self) -> int:
        """Where the picture ends."""
        since_us = self.edges_us[0] if self.edges_us else self.range.since_us
        return max(self.range.until_us, since_us + 1)

    def in_zone(self, zone: str) -> ResourcesChart:
        """Implement ChartRequest.in_zone."""
        return dataclasses.replace(self, zone=zone)

    def to_json(self) -> bytes:
        """Implement ChartRequest.to_json."""
        return json.dumps({"kind": "resources", **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ResourcesChart:
        """Return the picture of a request."""
        values: dict[str, Any] = json.loads(data)
        panels = tuple(
            Panel(**{**panel, "lines": tuple(_line_of(line) for line in panel["lines"])}) for panel in values["panels"]
        )
        return cls(
            Range(**values["range"]),
            values["step_us"],
            tuple(values["edges_us"]),
            panels,
            tuple((at_us, name) for at_us, name in values["markers"]),
            values["zone"],
        )

    def fingerprint(self) -> tuple[object, ...]:
        """Implement ChartRequest.fingerprint."""
        return ("resources", self.range.since_us, self.range.label, self.edges_us, self.panels, self.markers, self.zone)


def _panel(title: str, lines: list[ResourceLine]) -> Panel:
    unit = lines[0].resource.unit
    names = [line.resource.key if len(lines) > 1 else "" for line in lines]
    newest = [(name, line.latest) for name, line in zip(names, lines, strict=True)]
    texts = [f"{name} {UNITS[unit].format(value)}".strip() for name, value in newest if value is not None]
    shown = [PanelLine(name, line.values, line.lowest, line.highest) for name, line in zip(names, lines, strict=True)]
    return Panel(title, unit, ", ".join(texts), tuple(shown))


def _line_of(values: dict[str, Any]) -> PanelLine:
    rows = (tuple(values[name]) for name in ("values", "lowest", "highest"))
    return PanelLine(values["name"], *rows)
