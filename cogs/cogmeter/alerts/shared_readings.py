"""The readings that only a process itself can measure: each process stores its own, the leader adds them to its own.

They are about what is in the process: operations that hang, dead loops, memory, its connection to Discord, its errors.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.model import SEVERITIES, Reading, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.process_silent import live
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter_storage.base import Store
    from cogmeter_storage.process import ProcessRecord

KEY: Final = "alerts.readings"  # in the memory of each process
OWN_RULES: Final = tuple(rule for rule in RULES.values() if rule.own_process)
_NAMES: Final = frozenset(rule.name for rule in OWN_RULES)

_logger = logging.getLogger("cogmeter.alerts")


class SharedReadings:
    """The readings of this process for the leader, and of the other processes if it leads."""

    def __init__(self) -> None:
        self._stored: bytes | None = None  # what the store has of this process; None: that of its last start, if any
        self._read: dict[str, list[Reading]] = {}

    async def share(self, store: Store, readings: Iterable[Reading]) -> None:
        """Store the readings of this process, if they have changed.

        Raises:
            StorageError: they cannot be stored; the next call stores them.
        """
        value = json.dumps([dataclasses.astuple(one) for one in readings if one.subject.rule in _NAMES]).encode()
        if value != self._stored:
            await store.own.set_value(KEY, value)
            self._stored = value

    async def add_others(
        self, store: Store, readings: Sequence[Reading], processes: Sequence[ProcessRecord]
    ) -> list[Reading]:
        """Return this process's readings with those of the others: of one subject the worst, with the process's name.

        If the store cannot be read, those of the last time are used.
        """
        running = {one.process.name for one in live(processes)}
        own = store.process.name if running and store.process is not None else ""
        others = running - {own}
        if not others:
            return list(readings)
        try:
            stored = await store.values_by_process(KEY)
        except StorageError as error:
            _logger.debug("The readings of other processes could not be read", exc_info=error)
        else:
            self._read = {name: _decoded(name, value) for name, value in stored.items()}
        found: defaultdict[Subject, list[tuple[Reading, str]]] = defaultdict(list)
        for one in readings:
            found[one.subject].append((one, own if one.subject.rule in _NAMES else ""))
        for name in sorted(others & self._read.keys()):
            for one in self._read[name]:
                found[one.subject].append((one, name))
        return [_worst(same) for same in found.values()]


def _worst(same: list[tuple[Reading, str]]) -> Reading:
    """Return the worst of the readings of one subject, with the name of its process, and the number of the others."""
    rule = RULES[same[0][0].subject.rule]

    def badness(found: tuple[Reading, str]) -> tuple[bool, int, float]:
        one = found[0]
        return one.breached, SEVERITIES.index(one.severity), -one.current if rule.falling else one.current

    worst, name = max(same, key=badness)
    if not name:
        return worst
    more = sum(one.breached for one, _ in same) - 1
    also = f" and {more} more" if worst.breached and more > 0 else ""
    return dataclasses.replace(worst, message=f"{worst.message}, in process {name}{also}")


def _decoded(process: str, value: bytes) -> list[Reading]:
    """Return stored readings; those of another version, or of a rule that this one does not know, are left out."""
    found: list[Reading] = []
    try:
        for subject, *others in json.loads(value):
            one = Reading(Subject(*subject), *others)
            if one.subject.rule in _NAMES and _is_valid(one):
                found.append(one)
    except (ValueError, TypeError) as error:
        _logger.debug("The readings of process %s have another form: %s", process, error)
    return found


def _is_valid(one: Any) -> bool:
    numbers = all(isinstance(value, int | float) for value in (one.current, one.threshold))
    return numbers and isinstance(one.message, str) and one.severity in SEVERITIES
