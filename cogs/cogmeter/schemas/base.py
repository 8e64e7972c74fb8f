"""The base model of every schema, and the values they share: numbers, time ranges and key figures.

A duration has up to three decimals (microseconds), as in the exports. Without them, an operation that takes less than
a millisecond would show 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from cogmeter.schemas.times import Instant, last_us
from cogmeter.times import utc
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.query.records import Figures, Range

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]

_DIGITS: Final = 3  # of an alert's values, if its rule is unknown


class Schema(BaseModel):
    """Base of all models: immutable, snake_case in Python, camelCase in JSON.

    The name of a model is the name of its component in /openapi.json, and so of a class in generated clients: it stays.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        defer_build=True,  # until the first use: most bots use few of the models
    )


def rounded(value: float, digits: int) -> int | float:
    """Round to at most ``digits`` decimals; return an int for a whole number, as readers expect of counts."""
    shortened = round(value, digits)
    return int(shortened) if shortened == int(shortened) else shortened


def ms(duration_us: float) -> int | float:
    """Convert microseconds to milliseconds with up to three decimals."""
    return rounded(duration_us / 1000, 3)


def ms_or_none(duration_us: float | None) -> int | float | None:
    """Convert microseconds to milliseconds; return None for None."""
    return None if duration_us is None else ms(duration_us)


def rate(share: float) -> int | float:
    """Round a share from 0 to 1 to three decimals, as in the guide: 0.028."""
    return rounded(share, 3)


def measured(rule: str, value: float, *, threshold: bool = False) -> int | float | None:
    """Round a value of an alert rule in the rule's unit; a threshold keeps one more digit.

    Return None for infinity and NaN, which JSON cannot express.
    """
    from cogmeter.alerts.rules import KINDS  # most users of this module do not need the rules

    digits = (KINDS[rule].digits if rule in KINDS else _DIGITS) + threshold
    return rounded(value, digits) if math.isfinite(value) else None


class TimeRange(Schema):
    """A range of time. An end at midnight is shown as the last second of the day before, as in the guide."""

    since: Instant
    until: Instant

    @classmethod
    def of(cls, span: Range) -> TimeRange:
        """Build it from a query's range."""
        return cls(since=utc(span.since_us), until=utc(last_us(span.until_us)))


class Stats(Schema):
    """Key figures. Response times are in milliseconds, and null without operations."""

    total_operations: int
    successful_operations: int = Field(description="Operations that do not count as failed")
    failed_operations: int = Field(description="Operations with the outcome error or upstream")
    average_response_time: Number | None = Field(description="Milliseconds")
    error_rate: Number = Field(description="Failed operations divided by all, 0 to 1, three decimals")
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    max_response_time: Number | None = Field(description="Milliseconds")
    operations_per_minute: Number = Field(description="Average over the range, from the first record on")
    outcomes: dict[str, int] = Field(description="Operations by outcome: ok, error, upstream, user, cancelled")

    @classmethod
    def of(cls, figures: Figures) -> Self:
        """Build it from a query's figures."""
        return cls(**stats_fields(figures))


def stats_fields(figures: Figures) -> dict[str, Any]:
    """Return the fields of ``Stats``, for models that extend it."""
    return {
        "total_operations": figures.operations,
        "successful_operations": figures.operations - figures.failures,
        "failed_operations": figures.failures,
        "average_response_time": ms_or_none(figures.mean_us),
        "error_rate": rate(figures.error_rate),
        "p50_response_time": ms_or_none(figures.p50_us),
        "p95_response_time": ms_or_none(figures.p95_us),
        "p99_response_time": ms_or_none(figures.p99_us),
        "max_response_time": ms_or_none(figures.max_us),
        "operations_per_minute": rounded(figures.per_minute, 3),
        "outcomes": {outcome.label: count for outcome, count in zip(Outcome, figures.outcomes, strict=True) if count},
    }
