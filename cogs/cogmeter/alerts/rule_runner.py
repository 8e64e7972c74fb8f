"""Runs rules over a snapshot, in turns that let the event loop run in between."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.model import Reading
    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.alerts.thresholds.limits import Limits

TURN_S: Final = 0.0005  # the time after which a check lets the loop run

_logger = logging.getLogger("cogmeter.alerts")


async def find_readings(
    rules: Iterable[Rule], snapshot: Snapshot, limits: Limits, faults: Counter[str]
) -> list[Reading]:
    """Return the readings of all rules that are on. One that fails is logged and counted, and the others continue."""
    return await in_turns(_readings(rules, snapshot, limits, faults))


def _readings(rules: Iterable[Rule], snapshot: Snapshot, limits: Limits, faults: Counter[str]) -> Iterator[Reading]:
    for rule in rules:
        if not limits.active(rule.name):
            continue
        try:
            yield from rule.find(snapshot, limits)
        except Exception:
            faults[rule.name] += 1
            _logger.exception("The rule %s failed; the other rules continue", rule.name)


def log_readings(readings: Sequence[Reading]) -> None:
    """Log what was measured, and why some of it raises no alert; the engine logs the rest."""
    if not _logger.isEnabledFor(logging.DEBUG):
        return
    _logger.debug("%d readings, %d of them in breach", len(readings), sum(reading.breached for reading in readings))
    for reading in readings:
        if not reading.breached:
            name = "/".join(filter(None, (reading.subject.service, reading.subject.operation)))
            _logger.debug("%s: %s: not breached, or explained by chance or by another alert", name, reading.message)


async def in_turns(source: Iterable[Reading]) -> list[Reading]:
    """Return all readings; the loop can run in between."""
    readings: list[Reading] = []
    began_s = time.perf_counter()
    for reading in source:
        readings.append(reading)
        if time.perf_counter() - began_s >= TURN_S:
            await asyncio.sleep(0)
            began_s = time.perf_counter()
    return readings
