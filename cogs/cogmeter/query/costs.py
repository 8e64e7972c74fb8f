"""Costs: tokens and money of a range by command, reply, model, guild, user or service, and the month's forecast.

Money is in whole millionths of a US dollar (``micro_usd``). Each operation is rounded once, so that the groups of every
grouping add up to the same total.
"""

from __future__ import annotations

import calendar
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cogmeter.recording.service_names import BY_OPERATION, label
from cogmeter.times import utc
from cogmeter_storage.costs import CostSums
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store
    from cogmeter_storage.costs import CostField, CostGroup

CostGrouping: TypeAlias = Literal["command", "reply", "model", "guild", "user", "service"]
GROUPINGS: Final[tuple[CostGrouping, ...]] = ("command", "reply", "model", "guild", "user", "service")
FIELDS: Final[dict[CostGrouping, CostField]] = {
    "command": "caller",
    "reply": "caller",
    "model": "model",
    "guild": "guild",
    "user": "user",
    "service": "service",
}
# In user-visible texts a guild is a server.
TITLES: Final[dict[CostGrouping, str]] = {name: "server" if name == "guild" else name for name in GROUPINGS}
NONE_TITLES: Final[dict[CostGrouping, str]] = {
    "command": "(no command)",
    "reply": "(no reply)",
    "model": "(no model named)",
    "guild": "(direct messages or unknown)",
    "user": "(unknown user)",
    "service": "(no service)",
}
REPLY: Final = "reply "  # the beginning of a reply's label
IN_REPLIES: Final = "(replies to messages)"
STATE_KEY: Final = "alerts.spending"  # the key of what is counted, written by alerts/measurement/spending.py
HOURLY_US: Final = 2 * DAY_US  # the longest range with steps of an hour; older costs are kept by day
BASIS: Final = 7  # whole days that a forecast is based on
LEAST_BASIS: Final = 3


@dataclass(frozen=True, slots=True)
class CostForecast:
    """The expected money of a month, if its other days are like the last whole ones; in micro-dollars."""

    spent: int  # in this month so far
    since: int  # its first day with known costs, in days since 1970
    days: int  # whole ones that it is based on
    expected: int | None  # by their mean; None if they are too few
    least: int = 0  # by the cheapest and the most expensive of them
    most: int = 0


@dataclass(frozen=True, slots=True)
class CostReport:
    """The costs of a range."""

    range: Range  # of whole hours, or of whole days (UTC) where it is long or old
    by: CostGrouping
    total: CostSums
    groups: list[tuple[str, CostSums]]  # the most expensive first
    step_us: int  # an hour or a day
    steps: list[tuple[int, dict[str, CostSums]]]  # start and sums by group; steps without costs are left out
    days: dict[int, CostSums]  # the whole range by days since 1970, if steps are days
    unpriced: dict[str, CostSums]  # models with tokens whose price is not known, the most used first
    forecast: CostForecast
    today: CostSums
    yesterday: CostSums
    since_us: int | None  # all costs since this time are counted; None: none yet
    price_source: str = ""  # where prices come from, with version and date
    price_problem: str = ""  # why no price list is used
    services: tuple[str, ...] | None = field(default=None)  # of which they are; None: all
    uses: Mapping[str, int] = field(default_factory=dict)  # by group, if groups are what people use: see ``used``

    def per_thousand(self, name: str, sums: CostSums) -> int | None:
        """Return the micro-dollars of 1,000 uses of a group, or of 1,000 calls where its uses are not counted.

        Return None for a group without uses, whose money belongs to no use.
        """
        times = self.uses.get(name, 0) if used(self.by) else sums.operations
        return round(1_000 * sums.micro_usd / times) if times else None


def used(by: CostGrouping) -> bool:
    """Return whether the groups are commands or replies, whose uses are counted apart from the calls inside them."""
    return by in {"command", "reply"}


async def cost_report(
    store: Store, span: Range, by: CostGrouping = "model", *, now_us: int, services: Iterable[str] | None = None
) -> CostReport:
    """Return the costs of a range.

    Raises:
        StorageError: the store cannot be read.
    """
    named = None if services is None else tuple(services)
    step_us, since_us, until_us = _steps(span, now_us)
    groups = await store.costs.grouped(since_us, until_us, by=[FIELDS[by]], step_us=step_us, services=named)
    unpriced = await store.costs.grouped(since_us, until_us, by=["model"], services=named)
    month = await _days(store, now_us, named)
    state = _state(await store.own.get_value(STATE_KEY))
    prices = state.get("prices")
    today, known_us = now_us // DAY_US, state.get("since")
    uses_since_us = max(since_us, (known_us or since_us) // HOUR_US * HOUR_US)
    return CostReport(
        range=replace(span, since_us=since_us),
        by=by,
        step_us=step_us,
        **_grouped(groups, by),
        unpriced=_unpriced(unpriced),
        forecast=forecast({day: sums.micro_usd for day, sums in month.items()}, known_us or now_us, now_us),
        today=month.get(today, CostSums()),
        yesterday=month.get(today - 1, CostSums()),
        since_us=known_us,
        price_source=str(prices.get("source", "")) if isinstance(prices, dict) else "",
        price_problem=str(prices.get("problem", "")) if isinstance(prices, dict) else "",
        services=named,
        uses=await _uses(store, uses_since_us, until_us, by) if used(by) else {},
    )


async def _uses(store: Store, since_us: int, until_us: int, by: CostGrouping) -> dict[str, int]:
    """Return the operations of commands, components and replies by group; those of no group are left out."""
    known = [series for series in await store.series() if series.service in BY_OPERATION]
    totals = await store.totals(since_us, until_us, groups={series.id: place for place, series in enumerate(known)})
    uses: dict[str, int] = {}
    for series, operations in zip(known, totals.counts.sum(axis=0).tolist(), strict=True):
        name = group_name(by, label(series.service, series.operation))
        if name != NONE_TITLES[by]:
            uses[name] = uses.get(name, 0) + operations
    return uses


def forecast(daily: Mapping[int, int], known_us: int, now_us: int) -> CostForecast:
    """Return the forecast of the present month. ``daily`` are micro-dollars by days since 1970 UTC; other days are 0.

    Costs are known from ``known_us`` on. Its day is not part of the basis, unless it is known from its start.
    """
    today, moment = now_us // DAY_US, utc(now_us)
    first = today - moment.day + 1
    spent = sum(amount for day, amount in daily.items() if first <= day <= today)
    basis = [daily.get(day, 0) for day in range(max(today - BASIS, -(-known_us // DAY_US)), today)]
    since = max(first, known_us // DAY_US)
    if len(basis) < LEAST_BASIS:
        return CostForecast(spent, since, len(basis), None)
    left_us = (first + calendar.monthrange(moment.year, moment.month)[1]) * DAY_US - now_us
    expected = spent + round(sum(basis) * left_us / (len(basis) * DAY_US))
    least, most = (spent + round(end(basis) * left_us / DAY_US) for end in (min, max))
    return CostForecast(spent, since, len(basis), expected, least, most)


def layers(report: CostReport, most: int) -> list[tuple[str, dict[int, int]]]:
    """Return the micro-dollars of the most expensive groups by start of a step, for a chart.

    All further groups are one layer, the last.
    """
    names = [name for name, sums in report.groups if sums.micro_usd][:most]
    found: dict[str, dict[int, int]] = {name: {} for name in names}
    others: dict[int, int] = {}
    for start_us, groups in report.steps:
        for name, sums in groups.items():
            layer = found.get(name, others)
            layer[start_us] = layer.get(start_us, 0) + sums.micro_usd
    count = len(report.groups) - len(names)
    rest = [(f"{count} others" if count > 1 else "1 other", others)] if any(others.values()) else []
    return [*found.items(), *rest]


def group_name(by: CostGrouping, name: str) -> str:
    """Return the group of a stored name in a grouping; every cost is in one of them."""
    if by == "command" and name.startswith(REPLY):
        return IN_REPLIES
    if by == "reply" and not name.startswith(REPLY):
        return NONE_TITLES["reply"]
    return name or NONE_TITLES[by]


def most_expensive(sums: CostSums) -> tuple[int, int, int]:
    """Return a key that sorts the most expensive sums first, then those with the most tokens."""
    return -sums.micro_usd, -(sums.tokens_in + sums.tokens_out), -sums.operations


def _steps(span: Range, now_us: int) -> tuple[int, int, int]:
    """Return the step and the bounds of a range: whole hours if it is short and new, else whole days."""
    hourly = span.until_us - span.since_us <= HOURLY_US and span.since_us >= now_us // DAY_US * DAY_US - HOURLY_US
    step_us = HOUR_US if hourly else DAY_US
    return step_us, span.since_us // step_us * step_us, -(-span.until_us // step_us) * step_us


async def _days(store: Store, now_us: int, services: tuple[str, ...] | None) -> dict[int, CostSums]:
    """Return the costs of the month and of the days that a forecast is based on, by days since 1970."""
    today = now_us // DAY_US
    first = min(today - utc(now_us).day + 1, today - BASIS)
    days = await store.costs.grouped(first * DAY_US, (today + 1) * DAY_US, step_us=DAY_US, services=services)
    return {group.start_us // DAY_US: group.sums for group in days}


def _grouped(found: Iterable[CostGroup], by: CostGrouping) -> dict[str, Any]:
    """Return the fields of a report: total, groups, steps and days."""
    total, groups, days = CostSums(), dict[str, CostSums](), dict[int, CostSums]()
    steps: dict[int, dict[str, CostSums]] = {}
    for group in found:
        name = group_name(by, group.names[0])
        step = steps.setdefault(group.start_us, {})
        for sums in (
            total,
            groups.setdefault(name, CostSums()),
            step.setdefault(name, CostSums()),
            days.setdefault(group.start_us // DAY_US, CostSums()),
        ):
            sums.add(group.sums)
    ordered = sorted(groups.items(), key=lambda item: (most_expensive(item[1]), item[0]))
    return {"total": total, "groups": ordered, "steps": sorted(steps.items()), "days": days}


def _unpriced(found: Iterable[CostGroup]) -> dict[str, CostSums]:
    models = [(group.names[0], group.sums) for group in found if group.sums.unpriced]
    models.sort(key=lambda item: (-item[1].unpriced, item[0]))
    return dict(models)


def _state(stored: bytes | None) -> dict[str, Any]:
    """Return what the bot has stored of its counting; empty if that is damaged."""
    try:
        state = json.loads(stored or b"{}")
    except ValueError:
        return {}
    if not isinstance(state, dict) or not isinstance(state.get("since", 0), int | None):
        return {}
    return state
