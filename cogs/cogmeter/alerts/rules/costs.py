"""Rules about costs: the budget of a day, of guilds and of users, and an hour that costs many times the hour before."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT
from cogmeter.alerts.rules.rule import BOT_AND_SERVICE, WHOLE_BOT, Rule, dollars, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.model import Reading
    from cogmeter.alerts.rules.rule import RuleLimits

LEAST_USD: Final = 1.0  # dollars of the last hour from which its growth is checked
_WHO: Final = {"guild": "server", "user": "user"}
FLOOR_USD: Final = 0.1  # the hour before counts as at least this: the first cent after a pause is no growth


def cost(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the dollars of the last 24 hours: of the bot as a whole, and of services that have their own budget."""
    by_service = snapshot.costs.day()
    spent = {COST.subject(): sum(by_service.values())}
    for subject in limits.explicit(COST.name, "threshold"):
        if not subject.operation and subject.service != BOT:
            spent[subject] = by_service.get(subject.service, 0.0)
    for subject, amount in spent.items():
        limit = limits.of(subject)
        if COST.beyond_recovery(amount, limit):
            most = _most(by_service) if subject.service == BOT else ""
            yield COST.reading(subject, amount, limit, f"Costs of {dollars(amount)} in 24 h{most}")


def cost_growth(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find the bot and its services whose last hour cost many times the hour before."""
    if snapshot.costs.known_hours < 2:
        return
    last = snapshot.costs.hour()
    if sum(last.values()) < LEAST_USD:
        return
    before = snapshot.costs.hour(ago=1)
    amounts = {BOT: (sum(last.values()), sum(before.values()))}
    amounts |= {service: (now, before.get(service, 0.0)) for service, now in last.items() if now >= LEAST_USD}
    for service, (now, previous) in amounts.items():
        subject = COST_GROWTH.subject(service)
        limit = limits.of(subject)
        times = now / max(previous, FLOOR_USD)
        if COST_GROWTH.beyond_recovery(times, limit):
            most = _most(last) if service == BOT else ""
            what = f"Costs of {dollars(now)} in the last hour{most}, {number(times)} times the hour before,"
            yield COST_GROWTH.reading(subject, times, limit, what)


def cost_share(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the budgets of guilds and users with what each has spent today, in UTC; nobody is named."""
    used = snapshot.budgets.shares()
    if not used:
        return
    subject = COST_SHARE.subject()
    limit = limits.of(subject)
    kind, _, budget = max(used, key=lambda one: one[2].share)
    if COST_SHARE.beyond_recovery(budget.share, limit):
        over = Counter(_WHO[other] for other, _, one in used if one.share >= limit.threshold)
        counted = " and ".join(f"{count} {who}{'s' * (count > 1)}" for who, count in sorted(over.items()))
        spent, most = (dollars(amount / 1e6) for amount in (budget.spent_micro_usd, budget.limit_micro_usd or 0))
        others = f" ({counted} at the threshold)" if over else ""
        used_share = percent(budget.share)
        what = f"A {_WHO[kind]} has spent {spent} of its daily budget of {most}{others}: its share of {used_share}"
        yield COST_SHARE.reading(subject, budget.share, limit, what)


def _most(by_service: Mapping[str, float]) -> str:
    """Return which service spends the most, if there are several."""
    if len(by_service) < 2:
        return ""
    service, amount = max(by_service.items(), key=lambda item: item[1])
    return f", {dollars(amount)} of them by {service}"


COST: Final = Rule(
    name="cost",
    title="Cost",
    unit="USD",
    threshold_unit="USD per day",
    setting="alert_threshold_cost",
    find=cost,
    about=BOT_AND_SERVICE,
    next_step="See which service and model it is spent on",
    leads_to="cost",
    chart="timeline",
    replay=None,
    min_operations=0,
    explained_by_bot=("cost",),
)
COST_GROWTH: Final = Rule(
    name="cost_growth",
    title="Cost growth",
    unit="factor",
    setting="alert_threshold_cost_growth",
    find=cost_growth,
    about=BOT_AND_SERVICE,
    next_step="See which service and model it is spent on",
    leads_to="cost",
    chart="timeline",
    replay=None,
    min_operations=0,
    explained_by_bot=("cost_growth",),
)
COST_SHARE: Final = Rule(
    name="cost_share",
    title="Budget use",
    unit="share",
    setting="alert_threshold_cost_share",
    find=cost_share,
    about=WHOLE_BOT,
    next_step="See which server or user spends it, and ask cogmeter.budget before you spend",
    leads_to="cost",
    chart="timeline",
    replay=None,
    min_operations=0,
    own_process=True,
)
