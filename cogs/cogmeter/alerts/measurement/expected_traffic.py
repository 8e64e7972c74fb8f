"""The expected traffic of each service at this time; it does not change while the service is silent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement.history import FIVE_MINUTES_S, HALF_HOUR_S, HOUR_S
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.history import WindowHistory

MOST: Final = 2_000  # silent services that are remembered
WINDOWS_S: Final = (FIVE_MINUTES_S, HALF_HOUR_S, HOUR_S)  # an alert is about the first in which silence is improbable


class ExpectedTraffic:
    """The expected traffic, updated once a minute. Without memory, an hour of silence would become the expected one."""

    def __init__(self) -> None:
        self.silent: dict[str, tuple[float, float]] = {}  # operations/min and burstiness of silent services
        self.per_minute: dict[int, NDArray[np.float64]] = {}  # by window, in seconds
        self.burstiness = np.zeros(0)
        self._recent = np.zeros(0)
        self._minute = -1

    def update(self, history: WindowHistory, services: Sequence[str], now_us: int) -> None:
        """Update the expected traffic if a minute has begun or a service is new."""
        minute = now_us // MINUTE_US
        if minute == self._minute and len(self.burstiness) == len(services):
            return
        self._minute = minute
        days = history.days_per_minute()
        recent = [history.before_per_minute(window_s) for window_s in WINDOWS_S]
        self._recent = np.max(recent, axis=0)
        self.burstiness = history.burstiness()
        silent = [(place, self.silent[service]) for place, service in enumerate(services) if service in self.silent]
        for place, (_, burst) in silent:
            self.burstiness[place] = burst  # a silence in the middle of an hour looks like a burst before it
        for rates in recent:
            for place, (rate, _) in silent:
                rates[place] = max(rate, rates[place])
        # A new mapping: a check in progress keeps the one that it began with.
        usual = [rates if days is None else np.minimum(rates, days) for rates in recent]
        self.per_minute = dict(zip(WINDOWS_S, usual, strict=True))

    def note(self, silent: Collection[str], place: Mapping[str, int]) -> None:
        """Remember the expected traffic of services whose traffic is low now, and forget the others."""
        known = [service for service in silent if service in self.silent or service in place]
        self.silent = {service: self.silent.get(service) or self._now(place[service]) for service in known[:MOST]}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Restore ``silent`` as it was stored.

        Raises:
            ValueError, TypeError, AttributeError: this is not such a state; nothing has changed.
        """
        restored = {str(name): (float(rate), float(burst)) for name, (rate, burst) in state.items()}
        if not all(math.isfinite(value) for pair in restored.values() for value in pair):
            raise ValueError("a usual rate is not a finite number")
        self.silent = restored

    def _now(self, place: int) -> tuple[float, float]:
        return float(self._recent[place]), float(self.burstiness[place])
