"""Tokens and money by day, service and model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.recording.background import paced
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, rounded
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from cogmeter.query.records import Range

    class CostFigures(Protocol):
        """Anything that has these figures, such as ``Spent`` in ``alerts.measurement.spending``."""

        operations: int
        tokens_in: float
        tokens_out: float
        dollars: float


@dataclass(slots=True)
class CostSum:
    """The sum of several cost figures."""

    operations: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    dollars: float = 0.0

    def add(self, figures: CostFigures) -> None:
        """Add figures."""
        self.operations += figures.operations
        self.tokens_in += figures.tokens_in
        self.tokens_out += figures.tokens_out
        self.dollars += figures.dollars


class Cost(Schema):
    """Cost of the operations whose metadata contains it."""

    operations: int
    tokens_in: Number
    tokens_out: Number
    cost_usd: Number


class CostLine(Cost):
    """Cost of one day, service and model."""

    day: date = Field(description="In UTC")
    service: str
    model: str | None = Field(description="null: the metadata names no model")


class Costs(Schema):
    """Tokens and money, by whole days."""

    time_range: TimeRange
    counted_since: Instant | None = Field(description="Start of the known costs; null: none is known yet")
    total: Cost
    lines: list[CostLine] = Field(description="By day, then the most expensive first")


async def costs(
    days: Mapping[int, Mapping[tuple[str, str], CostFigures]], span: Range, *, service: str | None, since_us: int | None
) -> Costs:
    """Return the costs of the days in a range; ``days`` is keyed by days since 1970.

    It is built day by day, in short slices; ``days`` may change in the meantime.
    """
    first, last = span.since_us // DAY_US, (span.until_us - 1) // DAY_US
    total, lines = CostSum(), []
    async for number in paced([day for day in sorted(days) if first <= day <= last]):
        selected = [(key, figures) for key, figures in days.get(number, {}).items() if service in {None, key[0]}]
        selected.sort(key=lambda item: (-item[1].dollars, item[0]))
        for key, figures in selected:
            total.add(figures)
            lines.append(_line(number, key, figures))
    return Costs(
        time_range=TimeRange.of(span),
        counted_since=utc_or_none(since_us),
        total=Cost(**_fields(total)),
        lines=lines,
    )


def _line(number: int, key: tuple[str, str], figures: CostFigures) -> CostLine:
    return CostLine(
        day=utc(number * DAY_US).date(), service=key[0], model=safe.text(key[1]) or None, **_fields(figures)
    )


def _fields(figures: CostFigures) -> dict[str, Any]:
    return {
        "operations": figures.operations,
        "tokens_in": rounded(figures.tokens_in, 3),
        "tokens_out": rounded(figures.tokens_out, 3),
        "cost_usd": rounded(figures.dollars, 6),
    }
