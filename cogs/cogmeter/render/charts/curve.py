"""The curve of an alert that is not about response times: an error rate, a latency, memory."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.render import formatting
from cogmeter.render.charts.ticks import (
    Scale,
    byte_rate_scale,
    byte_scale,
    count_scale,
    duration_scale,
    percent_scale,
    share_scale,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter.query.records import Timeline
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.base import Store

PIECE_US: Final = 6 * 3_600_000_000  # samples are read in pieces of this length


class Unit(NamedTuple):
    """The unit of a curve: its axis, and the format of one value."""

    scale: Callable[[Sequence[float], float | None], Scale]
    format: Callable[[float], str]


UNITS: Final[dict[str, Unit]] = {
    "share": Unit(share_scale, formatting.percent),
    "duration": Unit(duration_scale, formatting.duration),  # in microseconds
    "bytes": Unit(byte_scale, formatting.size),
    "bytes/s": Unit(byte_rate_scale, lambda value: f"{formatting.size(value)}/s"),
    "percent": Unit(percent_scale, lambda value: f"{formatting.short(value)}%"),  # may be above 100
    "count": Unit(count_scale, formatting.count),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity with a value per bin of the chart's timeline; None where nothing was measured."""

    name: str  # "error rate"
    unit: str  # of UNITS
    values: tuple[float | None, ...]
    threshold: float | None = None  # of the alert, in the same unit; None if it limits something else

    @property
    def scale(self) -> Scale:
        """The vertical axis."""
        return UNITS[self.unit].scale([value for value in self.values if value is not None], self.threshold)

    def format(self, value: float) -> str:
        """Return a value with its unit."""
        return UNITS[self.unit].format(value)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Curve:
        """Return the curve of a request."""
        return cls(**{**data, "values": tuple(data["values"])})


async def curve_of(alert: Alert, line: Timeline, store: Store, gauges: Collection[str]) -> Curve | None:
    """Return the values of the alert's rule over the timeline; None if the timeline itself shows them.

    ``gauges`` are the names of the sampled gauges.

    Raises:
        StorageError: the store cannot be read now.
    """
    from cogmeter.alerts.rules import RULES  # not needed by the worker process, which imports this module

    shown = RULES[alert.rule].chart if alert.rule in RULES else "timeline"
    if shown in {"error rate", "error rate without threshold"}:
        return Curve("error rate", "share", _shares(line), alert.threshold if shown == "error rate" else None)
    names = [] if isinstance(shown, str) else [name for name in gauges if name.startswith(shown.prefix)]
    if isinstance(shown, str) or not names:
        return None
    values = await _highest(store, names, line, together=shown.total)
    if not any(value is not None for value in values):
        return None
    limit = None if shown.threshold_factor is None else alert.threshold * shown.threshold_factor
    return Curve(shown.name, shown.unit, tuple(value and value * shown.factor for value in values), limit)


def _shares(line: Timeline) -> tuple[float | None, ...]:
    pairs = zip(line.failures_per_minute, line.per_minute, strict=True)
    return tuple(min(failed / total, 1.0) if total else None for failed, total in pairs)


async def _highest(store: Store, names: Collection[str], line: Timeline, *, together: bool) -> list[float | None]:
    """Return the highest sample of each bin: of the worst gauge, or of the sum of all gauges at one moment."""
    highest: list[float | None] = [None] * len(line.edges_us)
    if not line.edges_us:
        return highest
    for since_us in range(line.edges_us[0], line.range.until_us, PIECE_US):
        samples = await store.samples(names, since_us, min(since_us + PIECE_US, line.range.until_us))
        moments: dict[int, list[float]] = {}
        for series in samples.values():
            for at_us, value in series:
                moments.setdefault(at_us, []).append(value)
        for at_us, values in moments.items():
            index = bisect.bisect_right(line.edges_us, at_us) - 1
            value = sum(values) if together else max(values)
            highest[index] = max(value, highest[index] or 0.0)
    return highest
