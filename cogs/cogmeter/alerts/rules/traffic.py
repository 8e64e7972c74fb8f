"""Low traffic: a service that is used much less than usual, or not at all, although nothing failed."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.history import FIVE_MINUTES_S
from cogmeter.alerts.model import CRITICAL, WARNING, Reading, Subject
from cogmeter.alerts.rules import values
from cogmeter.alerts.rules.words import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.limits import Limits
    from cogmeter.alerts.view import View

LOW_TRAFFIC: Final = "low_traffic"
IMPROBABLE: Final = math.log(1e-6)  # that so few operations come by chance: five hundred services are checked all day


def recovered(threshold: float) -> float:
    """From twice the share on, a service has its traffic back."""
    return min(2.0 * threshold, 1.0)


def low_traffic(view: View, limits: Limits) -> Iterator[Reading]:
    """Services whose rate in the last five minutes is below a share of the usual one, where chance does not explain it.

    A bot that began within these five minutes knows nothing yet; what was silent before that, stays so for so long.
    """
    bounds = limits.bounds(LOW_TRAFFIC, view.services)
    operations, _ = view.history.totals(FIVE_MINUTES_S)
    expected = view.usual_per_minute * (FIVE_MINUTES_S / 60.0)
    share = np.where(np.isfinite(bounds.threshold), bounds.recovery, 0.0)
    few = (expected >= np.maximum(bounds.min_operations, 1)) & (operations < share * expected)
    few &= values.silence(operations, expected) < IMPROBABLE
    began = view.up_s < FIVE_MINUTES_S
    for place in np.flatnonzero(few).tolist():
        service = view.services[place]
        if not began:
            yield _reading(Subject(LOW_TRAFFIC, service), int(operations[place]), float(expected[place]), limits)
        elif service in view.silent_before:
            reading = _reading(Subject(LOW_TRAFFIC, service), int(operations[place]), float(expected[place]), limits)
            yield dataclasses.replace(reading, breached=False)


def _reading(subject: Subject, operations: int, expected: float, limits: Limits) -> Reading:
    limit = limits.of(subject)
    share = operations / expected
    breached = share < limit.threshold
    usual, now = (number(count * 60 / FIVE_MINUTES_S) for count in (expected, operations))
    if not operations:
        text = f"No operations in 5 min, where {usual} a minute are usual"
    else:
        side = "is below" if breached else "is still near"
        text = f"{now} operations/minute of {usual} usual {side} threshold of {percent(limit.threshold)}"
    severity = limit.severity or (WARNING if operations else CRITICAL)
    return Reading(subject, share, limit.threshold, text, severity, breached)
