"""Tokens and money by command, reply, model, guild, user or service, by step, and the month's forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from cogmeter.query.costs import CostGrouping, cost_report, used
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, rounded
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from cogmeter.query.costs import CostForecast, CostReport
    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store
    from cogmeter_storage.costs import CostSums

STEPS_OF: Final = 20  # the most expensive groups whose steps are listed; the others share one name
OTHERS: Final = "(others)"


class Cost(Schema):
    """Cost of the operations whose metadata contains it."""

    operations: int = Field(description="Calls with tokens or costs; a use of a command may have several, or none")
    tokens_in: int = Field(description="Cached ones included")
    tokens_out: int
    cached_tokens: int = Field(default=0, description="The part of tokensIn that was read from a cache")
    cost_usd: Number
    cost_micro_usd: int = Field(default=0, description="The same money in whole millionths of a US dollar")
    unpriced_operations: int = Field(default=0, description="Operations with tokens whose model has no known price")


class CostLine(Cost):
    """Cost of one day, service and model."""

    day: date = Field(description="In UTC")
    service: str
    model: str | None = Field(description="null: the metadata names no model")


class CostGroupAnswer(Cost):
    """Cost of one group."""

    name: str = Field(description="A command, reply, model or service, or the keyed hash of a guild or user")
    uses: int | None = Field(default=None, description="Uses of a command or reply; null for other groups")
    per_thousand_micro_usd: int | None = Field(
        default=None, description="Money of 1,000 uses of a command or reply, of 1,000 operations of other groups"
    )


class CostStep(Cost):
    """Cost of one group in one step."""

    at: Instant = Field(description="The start of the step")
    name: str


class CostForecastAnswer(Schema):
    """The expected money of the present month (UTC), if its other days are like the last whole ones."""

    spent_micro_usd: int = Field(description="In this month so far")
    since: date = Field(description="The first day of the month with known costs")
    days: int = Field(description="Whole days that the forecast is based on, at most 7")
    expected_micro_usd: int | None = Field(description="By the mean of these days; null below 3 of them")
    least_micro_usd: int = Field(description="By the cheapest of these days")
    most_micro_usd: int = Field(description="By the most expensive of these days")


class Costs(Schema):
    """Tokens and money of a range, in whole hours or days (UTC)."""

    time_range: TimeRange
    by: CostGrouping
    counted_since: Instant | None = Field(description="Start of the known costs; null: none is known yet")
    total: Cost
    groups: list[CostGroupAnswer] = Field(default_factory=list, description="The most expensive first")
    groups_total: int = Field(default=0, description="The number of groups; more than are listed")
    step_seconds: int = Field(default=86_400, description="3600 for ranges of up to two days, else 86400")
    steps: list[CostStep] = Field(
        default_factory=list, description=f"In order of time; all groups but the first {STEPS_OF} are {OTHERS}"
    )
    unpriced: list[CostGroupAnswer] = Field(
        default_factory=list, description="Models with tokens whose price is not known; it is never guessed"
    )
    today: Cost
    yesterday: Cost
    forecast: CostForecastAnswer
    price_source: str = Field(default="", description="Where prices come from; empty until one was needed")
    price_problem: str = Field(default="", description="Why no price list is used; empty if one is")
    lines: list[CostLine] = Field(description="By day, then the most expensive first")


async def costs_answer(
    store: Store, span: Range, by: CostGrouping = "model", *, now_us: int, service: str | None, limit: int = 100
) -> Costs:
    """Return the costs of a range; ``limit`` is that of groups.

    Raises:
        StorageError: the store cannot be read.
    """
    services = None if service is None else [service]
    report = await cost_report(store, span, by, now_us=now_us, services=services)
    return Costs(
        time_range=TimeRange.of(report.range),
        by=by,
        counted_since=utc_or_none(report.since_us),
        total=_cost(report.total),
        groups=[
            CostGroupAnswer(
                name=safe.text(name),
                uses=report.uses.get(name) if used(by) else None,
                per_thousand_micro_usd=report.per_thousand(name, sums),
                **_fields(sums),
            )
            for name, sums in report.groups[:limit]
        ],
        groups_total=len(report.groups),
        step_seconds=report.step_us // 1_000_000,
        steps=_steps(report),
        unpriced=[
            CostGroupAnswer(name=safe.text(name), **_fields(sums)) for name, sums in [*report.unpriced.items()][:limit]
        ],
        today=_cost(report.today),
        yesterday=_cost(report.yesterday),
        forecast=_forecast(report.forecast),
        price_source=safe.text(report.price_source),
        price_problem=safe.text(report.price_problem),
        lines=await _lines(store, span, services),
    )


async def _lines(store: Store, span: Range, services: list[str] | None) -> list[CostLine]:
    since_us, until_us = span.since_us // DAY_US * DAY_US, -(-span.until_us // DAY_US) * DAY_US
    found = await store.costs.grouped(since_us, until_us, by=["service", "model"], step_us=DAY_US, services=services)
    found.sort(key=lambda group: (group.start_us, -group.sums.micro_usd, group.names))
    return [
        CostLine(
            day=utc(group.start_us).date(),
            service=group.names[0],
            model=safe.text(group.names[1]) or None,
            **_fields(group.sums),
        )
        for group in found
    ]


def _steps(report: CostReport) -> list[CostStep]:
    named = {name for name, _ in report.groups[:STEPS_OF]}
    steps = []
    for start_us, groups in report.steps:
        sums: dict[str, CostSums] = {}
        for name, one in groups.items():
            key = name if name in named else OTHERS
            if key in sums:
                sums[key].add(one)
            else:
                sums[key] = replace(one)
        steps += [CostStep(at=utc(start_us), name=safe.text(name), **_fields(one)) for name, one in sums.items()]
    return steps


def _forecast(forecast: CostForecast) -> CostForecastAnswer:
    return CostForecastAnswer(
        spent_micro_usd=forecast.spent,
        since=utc(forecast.since * DAY_US).date(),
        days=forecast.days,
        expected_micro_usd=forecast.expected,
        least_micro_usd=forecast.least,
        most_micro_usd=forecast.most,
    )


def _cost(sums: CostSums) -> Cost:
    return Cost(**_fields(sums))


def _fields(sums: CostSums) -> dict[str, Any]:
    return {
        "operations": sums.operations,
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "cached_tokens": sums.cached_tokens,
        "cost_usd": rounded(sums.micro_usd / 1e6, 6),
        "cost_micro_usd": sums.micro_usd,
        "unpriced_operations": sums.unpriced,
    }
