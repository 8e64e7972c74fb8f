"""Costs: what operations spend against a budget, and an hour that is much dearer than the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT, Reading, Subject
from cogmeter.alerts.rules.message_format import against, dollars, number
from cogmeter.alerts.rules.rule import severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.thresholds.limits import Limits

COST: Final = "cost"
COST_GROWTH: Final = "cost_growth"
LEAST_USD: Final = 1.0  # in the last hour, for its growth to matter
FLOOR_USD: Final = 0.1  # the hour before counts as at least this: the first cent after a pause is no growth


def cost(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The dollars of the last 24 hours: the bot's as a whole, and those of services that have a budget of their own."""
    by_service = view.costs.day()
    spent = {Subject(COST, BOT): sum(by_service.values())}
    for subject in limits.explicit(COST, "threshold"):
        if not subject.operation and subject.service != BOT:
            spent[subject] = by_service.get(subject.service, 0.0)
    for subject, amount in spent.items():
        limit = limits.of(subject)
        if limit.threshold and amount > limit.recovery:
            breached = amount > limit.threshold
            most = _most(by_service) if subject.service == BOT else ""
            text = against(f"Costs of {dollars(amount)} in 24 h{most}", breached, dollars(limit.threshold))
            yield Reading(subject, amount, limit.threshold, text, severity(limit, amount), breached)


def cost_growth(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The bot and its services whose last hour cost many times the hour before."""
    if view.costs.known_hours < 2:
        return
    last = view.costs.hour()
    if sum(last.values()) < LEAST_USD:
        return
    before = view.costs.hour(ago=1)
    amounts = {BOT: (sum(last.values()), sum(before.values()))}
    amounts |= {service: (now, before.get(service, 0.0)) for service, now in last.items() if now >= LEAST_USD}
    for service, (now, then) in amounts.items():
        subject = Subject(COST_GROWTH, service)
        limit = limits.of(subject)
        times = now / max(then, FLOOR_USD)
        if limit.threshold and times > limit.recovery:
            breached = times > limit.threshold
            most = _most(last) if service == BOT else ""
            what = f"Costs of {dollars(now)} in the last hour{most}, {number(times)} times the hour before,"
            text = against(what, breached, f"{number(limit.threshold)} times")
            yield Reading(subject, times, limit.threshold, text, severity(limit, times), breached)


def _most(by_service: Mapping[str, float]) -> str:
    """Which service spends the most, where there are several."""
    if len(by_service) < 2:
        return ""
    service, amount = max(by_service.items(), key=lambda item: item[1])
    return f", {dollars(amount)} of them by {service}"
