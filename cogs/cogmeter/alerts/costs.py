"""What operations cost: the dollars under ``cost_usd`` in their metadata, of the last day by service."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cogmeter.buffer import FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

COST_KEY: Final = "cost_usd"
BIN_US: Final = 300_000_000
BINS_AN_HOUR: Final = 12
BINS: Final = 24 * BINS_AN_HOUR
MOST_SERVICES: Final = 500
MOST_COST: Final = 1e6  # dollars of one operation; more is a mistake


class Costs:
    """Sums of five minutes by service; a service without costs takes no room."""

    def __init__(self) -> None:
        self._bins: dict[str, dict[int, float]] = {}  # by service: the dollars by the number of the five minutes
        self._first: int | None = None  # since when costs are counted

    def count(self, atoms: list[Any], names: Sequence[tuple[str, str]], now_us: int) -> None:
        """Count the costs of some of the buffer's atoms."""
        number = now_us // BIN_US
        if self._first is None:
            self._first = number
        extras = atoms[4::FIELDS]
        if not any(extras):
            return
        for place, extra in enumerate(extras):
            cost = _cost(extra[1]) if extra else 0.0
            if cost:
                self._add(names[atoms[place * FIELDS]][0], number, cost)

    def day(self, now_us: int) -> dict[str, float]:
        """The dollars of the last 24 hours by service."""
        return self._sums(now_us, 0, BINS)

    def hour(self, now_us: int, ago: int = 0) -> dict[str, float]:
        """The dollars of the last hour, or of one some hours ago."""
        return self._sums(now_us, ago * BINS_AN_HOUR, (ago + 1) * BINS_AN_HOUR)

    def known_hours(self, now_us: int) -> float:
        """For how many hours costs have been counted."""
        return 0.0 if self._first is None else (now_us // BIN_US - self._first) / BINS_AN_HOUR

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes."""
        return {"first": self._first, "bins": {name: list(bins.items()) for name, bins in self._bins.items()}}

    def restore(self, state: Mapping[str, Any], now_us: int) -> None:
        """Take up what was counted before.

        Raises:
            ValueError, TypeError, KeyError: it is no state.
        """
        for service, bins in state["bins"].items():
            for number, dollars in bins:
                if number > now_us // BIN_US - BINS:
                    self._add(str(service), int(number), float(dollars))
        self._first = state["first"]

    def expire(self, now_us: int) -> None:
        """Forget what is older than a day."""
        oldest = now_us // BIN_US - BINS
        for service, bins in list(self._bins.items()):
            for number in [one for one in bins if one <= oldest]:
                del bins[number]
            if not bins:
                del self._bins[service]

    def _sums(self, now_us: int, newest: int, oldest: int) -> dict[str, float]:
        last = now_us // BIN_US
        wanted = range(last - oldest + 1, last - newest + 1)
        sums = {name: sum(value for at, value in bins.items() if at in wanted) for name, bins in self._bins.items()}
        return {name: dollars for name, dollars in sums.items() if dollars}

    def _add(self, service: str, number: int, dollars: float) -> None:
        if service in self._bins or len(self._bins) < MOST_SERVICES:
            bins = self._bins.setdefault(service, {})
            bins[number] = bins.get(number, 0.0) + dollars


def _cost(metadata: Any) -> float:
    """The dollars in an operation's metadata; 0 for what is none."""
    value = metadata.get(COST_KEY) if isinstance(metadata, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) and 0 < value <= MOST_COST else 0.0
