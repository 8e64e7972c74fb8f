"""Groups: when many alerts fire at once, one alert speaks for all of them. Pure.

The group's own alert (its root) lives by the same rules as any other, on a reading that is made of its members: it is
in breach while a member is active, has no delay of its own, and so is resolved with the last of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.lifecycle.subject_state import rank
from cogmeter.alerts.model import BOT, Limit, Reading, Subject
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter.alerts.lifecycle.policy import Policy
    from cogmeter_storage.alerting import Alert

MANY: Final = "many_services"
ROOT: Final = Subject(MANY, BOT)
NAMED = 5  # services or rules; of more, only how many


def root_limit(policy: Policy) -> Limit:
    """What holds for a root: its members have waited already."""
    return Limit(threshold=policy.group_from, recovery=0, for_s=0, recovery_s=0, min_operations=0)


def reading_of(members: Sequence[Alert], policy: Policy) -> Reading | None:
    """What is measured of a group: the number of its active members; None when all are over.

    It counts as beyond its threshold while a member fires, so that nobody is reminded of what was taken up or muted
    one by one.
    """
    if not members:
        return None
    return Reading(
        subject=ROOT,
        current=len(members),
        threshold=policy.group_from,
        message=headline(members),
        severity=max((member.severity for member in members), key=rank),
        breached=any(member.state is AlertState.FIRING for member in members),
    )


def headline(members: Sequence[Alert]) -> str:
    """Which services are in breach of what: "12 services are in breach: error rate of 7, response time of 5"."""
    services = names(members)
    rules = Counter(member.rule.replace("_", " ") for member in members)
    if len(services) == 1:
        return f"{services[0]} is in breach of several rules: {_listed(list(rules))}"
    parts = [f"{rule} of {count}" for rule, count in rules.most_common()]
    return f"{len(services)} services are in breach: {_listed(parts)}"


def names(alerts: Iterable[Alert]) -> list[str]:
    """Their services, each once, in their order."""
    return list(dict.fromkeys(alert.service for alert in alerts))


def joiners(alerts: Sequence[Alert]) -> str:
    """The note of a change that says who has joined."""
    return _listed(names(alerts))


def _listed(words: Sequence[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")
