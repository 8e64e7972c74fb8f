"""The alert rules: pure functions from the window's totals to what is in breach, with the guide's wording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.services import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cogmeter.alerts.window import Totals

CRITICAL_FROM: Final = 1.6  # times the threshold; the guide's three examples fit this

STATISTICS: Final[dict[str, tuple[float | None, str]]] = {
    "average": (None, "Average"),
    "p50": (0.50, "Median"),
    "p95": (0.95, "95th percentile"),
    "p99": (0.99, "99th percentile"),
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above which value each rule alerts; 0 switches a rule off."""

    error_rate: float  # share, 0 to 1
    response_time_ms: float
    operations_per_minute: float
    statistic: str = "average"  # of the response time: a key of STATISTICS
    min_operations: int = 20  # in the window


@dataclass(frozen=True, slots=True)
class Breach:
    """One service that is beyond one threshold; ``current`` and ``threshold`` in the rule's own unit."""

    rule: str
    service: str
    threshold: float
    current: float
    message: str

    @property
    def severity(self) -> str:
        """``critical`` from 1.6 times the threshold on, else ``warning``."""
        return "critical" if self.current >= CRITICAL_FROM * self.threshold else "warning"


def breaches(totals: Totals, thresholds: Thresholds) -> Iterator[Breach]:
    """Every breach in the window, in the order of the rules; services with too few operations raise none.

    What runs in the background alerts by its error rate alone: its volume and its durations are not chosen by people.
    """
    enough = totals.operations >= thresholds.min_operations
    front = enough & np.array([service not in BACKGROUND for service in totals.services], dtype=np.bool_)
    for rule, values_of, threshold_of, message_of in RULES:
        threshold = threshold_of(thresholds)
        if threshold <= 0:
            continue
        values = values_of(totals)
        for place in np.flatnonzero((enough if rule == "error_rate" else front) & (values > threshold)).tolist():
            current = float(values[place])
            message = message_of(current, threshold, thresholds)
            yield Breach(rule, totals.services[place], threshold, current, message)


def _error_rates(totals: Totals) -> NDArray[np.float64]:
    return totals.failures / np.maximum(totals.operations, 1)


def _response_times_ms(totals: Totals) -> NDArray[np.float64]:
    return totals.response_us / 1000


def _per_minute(totals: Totals) -> NDArray[np.float64]:
    # In its first minute a window knows too little for a rate: it is taken as a whole minute.
    rates: NDArray[np.float64] = totals.operations.astype(np.float64)
    rates *= 60.0 / max(totals.span_s, 60.0)
    return rates


def _error_rate_message(current: float, threshold: float, _: Thresholds) -> str:
    return f"Error rate of {_number(current * 100)}% exceeds threshold of {_number(threshold * 100)}%"


def _response_time_message(current: float, threshold: float, thresholds: Thresholds) -> str:
    _, words = STATISTICS[thresholds.statistic]
    return f"{words} response time of {_duration(current)} exceeds threshold of {_duration(threshold)}"


def _throughput_message(current: float, threshold: float, _: Thresholds) -> str:
    return f"{_number(current)} operations/minute exceeds threshold of {_number(threshold)}"


RULES: Final[
    tuple[
        tuple[
            str,
            Callable[[Totals], NDArray[np.float64]],
            Callable[[Thresholds], float],
            Callable[[float, float, Thresholds], str],
        ],
        ...,
    ]
] = (
    ("error_rate", _error_rates, lambda one: one.error_rate, _error_rate_message),
    ("response_time", _response_times_ms, lambda one: one.response_time_ms, _response_time_message),
    ("throughput", _per_minute, lambda one: one.operations_per_minute, _throughput_message),
)


def _number(value: float) -> str:
    """At most one decimal, and none where it would be a zero: 7.8, 5, 120."""
    return f"{value:.1f}".removesuffix(".0")


def _duration(milliseconds: float) -> str:
    """The guide's form: 145ms, 8.2s, 5s."""
    return f"{milliseconds:.0f}ms" if milliseconds < 1000 else f"{_number(milliseconds / 1000)}s"
