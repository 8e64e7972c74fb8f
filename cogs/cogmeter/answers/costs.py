"""Tokens and money by day, service and model."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.answers import safe
from cogmeter.answers.base import Answer
from cogmeter.answers.figures import TimeRange, moment
from cogmeter.answers.numbers import Number, rounded
from cogmeter.answers.times import Instant
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from cogmeter.records import Range

    class Sums(Protocol):
        """What was spent; see alerts.spending."""

        operations: int
        tokens_in: float
        tokens_out: float
        dollars: float


class Cost(Answer):
    """What operations cost whose metadata says so."""

    operations: int
    tokens_in: Number
    tokens_out: Number
    cost_usd: Number

    @classmethod
    def of(cls, sums: Iterable[Sums]) -> Cost:
        """The sum of all these."""
        parts = list(sums)
        return cls(**_fields(parts))


class CostLine(Cost):
    """That of one day, service and model."""

    day: date = Field(description="In UTC")
    service: str
    model: str | None = Field(description="null: none was named")


class Costs(Answer):
    """Tokens and money, by whole days."""

    time_range: TimeRange
    counted_since: Instant | None = Field(description="Before it, nothing is known; null: nothing is counted yet")
    total: Cost
    lines: list[CostLine] = Field(description="In order of day, then the dearest first")


def costs(
    days: Mapping[int, Mapping[tuple[str, str], Sums]], span: Range, *, service: str | None, since_us: int | None
) -> Costs:
    """What was spent on the days that a stretch of time touches; ``days`` is by the day's number since 1970."""
    first, last = span.since_us // DAY_US, (span.until_us - 1) // DAY_US
    found = [
        (number, key, one)
        for number, day in days.items()
        if first <= number <= last
        for key, one in day.items()
        if service is None or key[0] == service
    ]
    found.sort(key=lambda each: (each[0], -each[2].dollars, each[1]))
    return Costs(
        time_range=TimeRange.of(span),
        counted_since=moment(since_us),
        total=Cost.of(one for _, _, one in found),
        lines=[_line(number, key, one) for number, key, one in found],
    )


def _line(number: int, key: tuple[str, str], one: Sums) -> CostLine:
    day = datetime.fromtimestamp(number * 86_400, UTC).date()
    return CostLine(day=day, service=key[0], model=safe.text(key[1]) or None, **_fields([one]))


def _fields(parts: list[Sums]) -> dict[str, Any]:
    return {
        "operations": sum(one.operations for one in parts),
        "tokens_in": rounded(sum(one.tokens_in for one in parts), 3),
        "tokens_out": rounded(sum(one.tokens_out for one in parts), 3),
        "cost_usd": rounded(sum(one.dollars for one in parts), 6),
    }
