"""The costs of the last day by service: the dollars under ``cost_usd`` in the metadata of operations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.recording.buffer import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

COST_KEY: Final = "cost_usd"
BIN_US: Final = 300_000_000
BINS_AN_HOUR: Final = 12
BINS: Final = 24 * BINS_AN_HOUR
MOST_SERVICES: Final = 500
MOST: Final = {COST_KEY: 1e6, "tokens_in": 1e9, "tokens_out": 1e9}  # limits of one operation; more is a mistake
_KEYS: Final = frozenset(MOST)
_NOTHING: Final[Mapping[str, float]] = {}


class CostTotals:
    """Sums of five minutes over 24 hours, for the services that have costs."""

    def __init__(self) -> None:
        self.spent: defaultdict[tuple[str, str], float] = defaultdict(
            float
        )  # by service and key of MOST, since this was made
        self._places: dict[str, int] = {}
        self._bins = np.zeros((0, BINS))
        self._newest = 0  # the number of the newest five minutes
        self._first: int | None = None  # since when costs are counted

    def count(self, atoms: list[Any], names: Sequence[tuple[str, str]], now_us: int) -> None:
        """Count the costs of some of the buffer's atoms."""
        self.move(now_us)
        extras = atoms[4::FIELDS]
        if not any(extras):
            return
        for place, _, spent in with_amounts(extras):
            service = names[atoms[place * FIELDS]][0]
            for key, amount in spent.items():
                if key == COST_KEY:
                    self._add(service, self._newest, amount)
                if (service, key) in self.spent or len(self.spent) < MOST_SERVICES * len(MOST):
                    self.spent[service, key] += amount

    def move(self, now_us: int) -> None:
        """Move to this time, and drop what is older than a day."""
        number = now_us // BIN_US
        if self._first is None:
            self._first = self._newest = number
        for step in range(self._newest + 1, min(number, self._newest + BINS) + 1):
            self._bins[:, step % BINS] = 0.0
        self._newest = max(self._newest, number)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock, by whole bins."""
        if self._first is not None:
            bins = round(step_us / BIN_US)
            self._first += bins
            self._newest += bins
            self._bins = np.roll(self._bins, bins % BINS, axis=1)

    def day(self) -> dict[str, float]:
        """Return the dollars of the last 24 hours by service."""
        return self._named(self._bins.sum(axis=1))

    def hour(self, ago: int = 0) -> dict[str, float]:
        """Return the dollars of the last hour, or of an hour some hours ago, by service."""
        last = self._newest - ago * BINS_AN_HOUR
        columns = [number % BINS for number in range(last - BINS_AN_HOUR + 1, last + 1)]
        return self._named(self._bins[:, columns].sum(axis=1))

    @property
    def known_hours(self) -> float:
        """The number of hours for which costs have been counted."""
        return 0.0 if self._first is None else (self._newest - self._first) / BINS_AN_HOUR

    def state(self) -> dict[str, Any]:
        """Return what ``restore`` takes."""
        numbers = [self._newest - (self._newest - column) % BINS for column in range(BINS)]
        bins = {
            service: [(numbers[column], float(row[column])) for column in np.flatnonzero(row).tolist()]
            for service, row in zip(self._places, self._bins, strict=False)
        }
        return {"first": self._first, "bins": bins}

    def restore(self, state: Mapping[str, Any], now_us: int) -> None:
        """Restore what ``state`` returned.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, OverflowError: not such a state; discard this object.
        """
        self.move(now_us)
        for service, bins in state["bins"].items():
            for number, dollars in bins:
                if not math.isfinite(dollars):
                    raise ValueError(f"the cost of {service!r} is {dollars}")
                if 0 <= self._newest - number < BINS:
                    self._add(str(service), int(number), float(dollars))
        if state["first"] is not None:
            self._first = min(int(state["first"]), self._newest)

    def _named(self, sums: NDArray[np.float64]) -> dict[str, float]:
        return {service: amount for service, amount in zip(self._places, sums.tolist(), strict=False) if amount}

    def _add(self, service: str, number: int, dollars: float) -> None:
        place = self._places.get(service)
        if place is None:
            if len(self._places) >= MOST_SERVICES:
                return
            place = self._places[service] = len(self._places)
            if place >= len(self._bins):
                self._bins = np.pad(self._bins, ((0, max(place, 8)), (0, 0)))
        self._bins[place, number % BINS] += dollars


def with_amounts(extras: Iterable[Any]) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, float]]]:
    """Yield the place, the metadata and the valid dollars and tokens of each operation that has some."""
    for place, extra in enumerate(extras):
        if extra is not None and (spent := amounts(extra[1])):
            yield place, extra[1], spent


def amounts(metadata: Any) -> Mapping[str, float]:
    """Return the valid dollars and tokens in an operation's metadata."""
    if type(metadata) is dict and _KEYS.isdisjoint(metadata):  # most metadata; quicker than the tests below
        return _NOTHING
    valid: dict[str, float] = {}
    for key, most in MOST.items() if isinstance(metadata, Mapping) else ():
        value = metadata.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
            valid[key] = float(value)
    return valid
