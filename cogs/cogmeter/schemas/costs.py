"""Tokens and money by day, service and model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.recording.background import paced
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange, moment
from cogmeter.schemas.numbers import Number, rounded
from cogmeter.schemas.times import Instant
from cogmeter.times import utc
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from cogmeter.query.records import Range

    class Sums(Protocol):
        """What was spent; see alerts.spending."""

        operations: int
        tokens_in: float
        tokens_out: float
        dollars: float


@dataclass(slots=True)
class Sum:
    """What several lines come to."""

    operations: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    dollars: float = 0.0

    def add(self, one: Sums) -> None:
        """Count more."""
        self.operations += one.operations
        self.tokens_in += one.tokens_in
        self.tokens_out += one.tokens_out
        self.dollars += one.dollars


class Cost(Schema):
    """What operations cost whose metadata says so."""

    operations: int
    tokens_in: Number
    tokens_out: Number
    cost_usd: Number

    @classmethod
    def of(cls, sums: Iterable[Sums]) -> Cost:
        """The sum of all these."""
        whole = Sum()
        for one in sums:
            whole.add(one)
        return cls(**_fields(whole))


class CostLine(Cost):
    """That of one day, service and model."""

    day: date = Field(description="In UTC")
    service: str
    model: str | None = Field(description="null: none was named")


class Costs(Schema):
    """Tokens and money, by whole days."""

    time_range: TimeRange
    counted_since: Instant | None = Field(description="Before it, nothing is known; null: nothing is counted yet")
    total: Cost
    lines: list[CostLine] = Field(description="In order of day, then the dearest first")


async def costs(
    days: Mapping[int, Mapping[tuple[str, str], Sums]], span: Range, *, service: str | None, since_us: int | None
) -> Costs:
    """Return what was spent on the days of a range of time; ``days`` is by the day's number since 1970.

    It is built day by day, in short pieces; ``days`` may change meanwhile.
    """
    first, last = span.since_us // DAY_US, (span.until_us - 1) // DAY_US
    total, lines = Sum(), []
    async for number in paced([day for day in sorted(days) if first <= day <= last]):
        found = [each for each in days.get(number, {}).items() if service is None or each[0][0] == service]
        found.sort(key=lambda each: (-each[1].dollars, each[0]))
        for key, one in found:
            total.add(one)
            lines.append(_line(number, key, one))
    return Costs(time_range=TimeRange.of(span), counted_since=moment(since_us), total=Cost.of([total]), lines=lines)


def _line(number: int, key: tuple[str, str], one: Sums) -> CostLine:
    return CostLine(day=utc(number * DAY_US).date(), service=key[0], model=safe.text(key[1]) or None, **_fields(one))


def _fields(one: Sums) -> dict[str, Any]:
    return {
        "operations": one.operations,
        "tokens_in": rounded(one.tokens_in, 3),
        "tokens_out": rounded(one.tokens_out, 3),
        "cost_usd": rounded(one.dollars, 6),
    }
