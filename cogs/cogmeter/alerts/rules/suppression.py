"""Echoes: which reading another one explains already, so that one trouble is told once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.model import BOT, Subject
from cogmeter.alerts.rules.burn import BURN_RATE, LEVELS
from cogmeter.alerts.rules.costs import COST, COST_GROWTH
from cogmeter.alerts.rules.deviation import DEVIATION
from cogmeter.alerts.rules.guide import ERROR_RATE
from cogmeter.alerts.rules.traffic import LOW_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cogmeter.alerts.model import Reading

ANY: Final = "*"

# The rules whose breach explains a rule's reading of the same service. Besides, for every rule: an operation's reading
# is explained by its service's.
SAME_SERVICE: Final = {
    BURN_RATE: (ERROR_RATE,),
    DEVIATION: (ANY,),
}
# The rules whose breach, as the bot's as a whole, explains a rule's reading of any service.
WHOLE_BOT: Final = {
    LOW_TRAFFIC: ("disconnects",),
    COST: (COST,),
    COST_GROWTH: (COST_GROWTH,),
}

# An echo outlives what explains it: a long window still holds the failures of a trouble that is over, until its short
# one is free of them. By the factor, which is such a reading's threshold.
BURN_TAILS_S: Final = {level.factor: float(level.short_s) for level in LEVELS}


class Suppression:
    """Marks readings that others explain as not breached, and remembers them for a while after the explanation."""

    def __init__(self, tail_s: float) -> None:
        """``tail_s``: for so long after its explanation an echo stays one."""
        self._tail_s = tail_s
        self._explained_us: dict[Subject, int] = {}

    def mark(self, readings: Sequence[Reading], now_us: int) -> Iterator[Reading]:
        """The readings, each echo as not breached; one by one, so that with many of them others may have their turn."""
        breached = {one.subject for one in readings if one.breached}
        here = {one.subject for one in readings}
        for gone in self._explained_us.keys() - here:
            del self._explained_us[gone]
        yield from (self._marked(one, breached, now_us) for one in readings)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock."""
        self._explained_us = {subject: at_us + step_us for subject, at_us in self._explained_us.items()}

    def state(self) -> list[list[Any]]:
        """What ``restore`` takes: after a restart an echo is one still."""
        return [[one.rule, one.service, one.operation, at_us] for one, at_us in self._explained_us.items()]

    def restore(self, state: Iterable[Iterable[Any]]) -> None:
        """Take up what was remembered before.

        Raises:
            ValueError, TypeError, OverflowError: it is no state; nothing has changed.
        """
        self._explained_us = {
            Subject(str(rule), str(service), str(operation)): int(at_us) for rule, service, operation, at_us in state
        }

    def _marked(self, reading: Reading, breached: set[Subject], now_us: int) -> Reading:
        subject = reading.subject
        if explained(subject, breached):
            self._explained_us[subject] = now_us
        since_us = self._explained_us.get(subject)
        tail_s = BURN_TAILS_S[reading.threshold] if subject.rule == BURN_RATE else self._tail_s
        # What was noted while the clock was ahead is as good as nothing.
        if since_us is None or not 0 <= now_us - since_us <= tail_s * 1e6:
            return reading
        return dataclasses.replace(reading, breached=False)


def explained(subject: Subject, breached: set[Subject]) -> bool:
    """Whether one of the breaches explains this subject's."""
    rule, service = subject.rule, subject.service
    if subject.operation and Subject(rule, service) in breached:
        return True
    if service != BOT and any(Subject(other, BOT) in breached for other in WHOLE_BOT.get(rule, ())):
        return True
    others = SAME_SERVICE.get(rule, ())
    if ANY in others:
        return any(other.service == service and other.rule != rule for other in breached)
    return any(Subject(other, service) in breached for other in others)
