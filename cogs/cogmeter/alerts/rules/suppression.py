"""Suppression: a reading that another reading explains raises no alert, so that one incident is one alert.

The rules say which other rules explain them. Besides, an operation's reading is explained by its service's.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cogmeter.alerts.model import BOT, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import ANY_RULE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cogmeter.alerts.model import Reading


class Suppression:
    """The readings that another breach explains: they do not count as breached, also for some time after it."""

    def __init__(self, tail_s: float) -> None:
        """``tail_s``: how long a reading stays explained after the other breach, unless its rule says otherwise."""
        self._tail_s = tail_s
        self._explained_us: dict[Subject, int] = {}

    def mark(self, readings: Sequence[Reading], now_us: int) -> Iterator[Reading]:
        """Yield the readings one by one, so that the loop can run in between; explained ones are not breached."""
        breached = {reading.subject for reading in readings if reading.breached}
        present = {reading.subject for reading in readings}
        for gone in self._explained_us.keys() - present:
            del self._explained_us[gone]
        yield from (self._marked(reading, breached, now_us) for reading in readings)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock."""
        self._explained_us = {subject: at_us + step_us for subject, at_us in self._explained_us.items()}

    def state(self) -> list[list[Any]]:
        """Return what ``restore`` takes: an explained reading stays explained after a restart."""
        times = self._explained_us.items()
        return [[subject.rule, subject.service, subject.operation, at_us] for subject, at_us in times]

    def restore(self, state: Iterable[Iterable[Any]]) -> None:
        """Restore what ``state`` returned.

        Raises:
            ValueError, TypeError, OverflowError: this is not such a state; nothing has changed.
        """
        self._explained_us = {
            Subject(str(rule), str(service), str(operation)): int(at_us) for rule, service, operation, at_us in state
        }

    def _marked(self, reading: Reading, breached: set[Subject], now_us: int) -> Reading:
        subject = reading.subject
        if explained(subject, breached):
            self._explained_us[subject] = now_us
        since_us = self._explained_us.get(subject)
        explained_for_s = RULES[subject.rule].explained_for_s
        tail_s = self._tail_s if explained_for_s is None else explained_for_s(reading.threshold)
        # A time in the future was noted while the clock was ahead.
        if since_us is None or not 0 <= now_us - since_us <= tail_s * 1e6:
            return reading
        return dataclasses.replace(reading, breached=False)


def explained(subject: Subject, breached: set[Subject]) -> bool:
    """Return whether one of the breaches explains the subject's reading."""
    rule, service = RULES[subject.rule], subject.service
    if subject.operation and rule.subject(service) in breached:
        return True
    if service != BOT and any(Subject(other, BOT) in breached for other in rule.explained_by_bot):
        return True
    if ANY_RULE in rule.explained_by:
        return any(other.service == service and other.rule != rule.name for other in breached)
    return any(Subject(other, service) in breached for other in rule.explained_by)
