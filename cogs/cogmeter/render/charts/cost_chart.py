"""The chart of costs over time: the request to the worker process, with a stacked bar for each hour or day."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.costs import layers
from cogmeter.render import formatting
from cogmeter.render.charts.chart import DESCRIPTION_LIMIT, UTC
from cogmeter.render.cost_text import NO_COSTS, group_text, missing_money, money, title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.costs import CostReport

COSTS: Final = "costs"  # the kind of the request to the worker process
LAYERS: Final = 4  # groups with their own colour; the others share one
NAME: Final = 40  # characters of a group's name


@dataclass(frozen=True, slots=True)
class CostLayer:
    """One group: micro-dollars by the start of each step that has some, in microseconds since 1970."""

    name: str
    amounts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CostChart:
    """Money over time, in steps of an hour or a day (UTC), the most expensive group at the bottom."""

    title: str
    range_text: str
    since_us: int
    until_us: int
    step_us: int
    layers: tuple[CostLayer, ...]
    note: str = ""  # instead of bars, if there is no money
    zone: str = UTC  # the steps are hours and days in UTC

    @classmethod
    def of(cls, report: CostReport, names: Mapping[str, str] | None = None) -> CostChart:
        """Return the chart of a report; ``names`` are those of guilds or users by hash."""
        step_us = report.step_us
        since_us = report.range.since_us // step_us * step_us
        until_us = max(-(-report.range.until_us // step_us) * step_us, since_us + step_us)
        if report.steps:  # the axis covers the data
            since_us = max(since_us, min(report.steps[0][0], until_us - 3 * step_us))
        return cls(
            title=f"{title(report.by)}: {money(report.total.micro_usd)}",
            range_text=f"{formatting.clean(report.range.label)}, {UTC}",
            since_us=since_us,
            until_us=until_us,
            step_us=step_us,
            layers=tuple(
                CostLayer(formatting.cut(group_text(report.by, name, names), NAME), tuple(sorted(amounts.items())))
                for name, amounts in layers(report, LAYERS)
            ),
            note="" if report.total.micro_usd else missing_money(report) or NO_COSTS,
        )

    @property
    def alt_text(self) -> str:
        """Implement ChartRequest.alt_text."""
        parts = "; ".join(f"{one.name} {money(sum(amount for _, amount in one.amounts))}" for one in self.layers)
        unit = "hour" if self.step_us < 86_400_000_000 else "day"
        text = f"Chart of {self.title}, {self.range_text}, by {unit}. {parts or self.note}"
        return formatting.cut(formatting.clean(text), DESCRIPTION_LIMIT)

    def in_zone(self, zone: str) -> CostChart:  # noqa: ARG002 - the steps are in UTC
        """Implement ChartRequest.in_zone."""
        return self

    def to_json(self) -> bytes:
        """Return the request as JSON for the worker process."""
        return json.dumps({"kind": COSTS, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> CostChart:
        """Return the chart of a request."""
        values: dict[str, Any] = json.loads(data)
        drawn = tuple(
            CostLayer(one["name"], tuple((at_us, amount) for at_us, amount in one["amounts"]))
            for one in values["layers"]
        )
        rest = {name: value for name, value in values.items() if name not in {"kind", "layers"}}
        return cls(layers=drawn, **rest)

    def fingerprint(self) -> tuple[object, ...]:
        """Return a key that is equal for equal requests."""
        return (COSTS, self)
