"""The tokens and money in the metadata of operations, and the costs of the last day by service."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cogmeter.query.pricing import micro_usd
from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.llm_usage import MORE, MOST_MODELS
from cogmeter.recording.people_hashes import hash_in
from cogmeter.recording.service_names import BY_OPERATION, COMMANDS, label
from cogmeter.recording.tracing import CALLER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

COST_KEY: Final = "cost_usd"
BIN_US: Final = 300_000_000
BINS_AN_HOUR: Final = 12
BINS: Final = 24 * BINS_AN_HOUR
MOST_SERVICES: Final = 500
MODEL: Final = 100  # characters of a model's name
LABEL: Final = 120  # characters of a caller's label
# Limits of one operation; more is a mistake.
MOST: Final = {COST_KEY: 1e6, **dict.fromkeys(("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens"), 1e9)}
_KEYS: Final = frozenset({COST_KEY, "tokens_in", "tokens_out"})
_NOTHING: Final[Mapping[str, float]] = {}
_NO_AMOUNTS: Final[Mapping[str, Any]] = {"model": "", **dict.fromkeys(MOST)}


class CostTotals:
    """Sums of five minutes over 24 hours, for the services that have costs."""

    def __init__(self) -> None:
        self.spent: defaultdict[tuple[str, str], float] = defaultdict(
            float
        )  # by service and key of metadata, since this was made
        self._places: dict[str, int] = {}
        self._bins = np.zeros((0, BINS))
        self._newest = 0  # the number of the newest five minutes
        self._first: int | None = None  # since when costs are counted

    def count(self, entries: Iterable[CostEntry], now_us: int) -> None:
        """Count operations with costs, whose money is known or 0."""
        self.move(now_us)
        for entry in entries:
            spent = {
                COST_KEY: (entry.micro_usd or 0) / 1e6,
                "tokens_in": entry.tokens_in,
                "tokens_out": entry.tokens_out,
            }
            for key, amount in spent.items():
                if not amount:
                    continue
                if key == COST_KEY:
                    self._add(entry.service, self._newest, amount)
                if (entry.service, key) in self.spent or len(self.spent) < MOST_SERVICES * len(spent):
                    self.spent[entry.service, key] += amount

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


class CostEntry(NamedTuple):
    """The tokens and the money of one operation."""

    service: str
    end_us: int
    caller: str  # the label of its command, component or reply; empty outside of them
    model: str
    guild: str  # a keyed hash; empty if it is not known
    user: str
    tokens_in: int  # cached ones included
    tokens_out: int
    cached_tokens: int
    cache_write_tokens: int
    micro_usd: int | None  # None: its metadata has no money


def cost_entries(
    atoms: list[Any], names: Sequence[tuple[str, str]], offset_ns: int, key: bytes | None
) -> Iterator[CostEntry]:
    """Yield the tokens and money of those of the buffer's atoms that have some."""
    for place, extra in enumerate(atoms[4::FIELDS]):
        if extra is not None and extra[1]:
            at = place * FIELDS
            service, operation = names[atoms[at]]
            yield from entries_of(service, operation, (atoms[at + 1] + offset_ns) // 1000, extra[1], key)


def entries_of(service: str, operation: str, end_us: int, metadata: Any, key: bytes | None) -> Iterator[CostEntry]:
    """Yield the tokens and money in an operation's metadata, by model; none without any.

    ``key`` is that of the hashes.
    """
    if type(metadata) is dict and _KEYS.isdisjoint(metadata):  # most metadata; quicker than the tests below
        return
    entry = _entry(service, operation, end_us, metadata, key)
    if entry is None:
        return
    yield entry
    further = metadata.get(MORE)
    for one in further[:MOST_MODELS] if isinstance(further, list) else ():
        if isinstance(one, Mapping) and (
            other := _entry(service, operation, end_us, {**metadata, **_NO_AMOUNTS, **one}, key)
        ):
            yield other


def _entry(service: str, operation: str, end_us: int, metadata: Any, key: bytes | None) -> CostEntry | None:
    spent = _amounts(metadata)
    if not spent:
        return None
    model = metadata.get("model")
    dollars = spent.get(COST_KEY)
    tokens_in = round(spent.get("tokens_in", 0))
    return CostEntry(
        service,
        end_us,
        _caller(service, operation, metadata),
        model[:MODEL] if isinstance(model, str) else "",
        hash_in(metadata.get("guild"), key, "guild"),
        hash_in(metadata.get("user"), key, "user"),
        tokens_in,
        round(spent.get("tokens_out", 0)),
        min(round(spent.get("cached_tokens", 0)), tokens_in),
        round(spent.get("cache_write_tokens", 0)),
        None if dollars is None else micro_usd(dollars),
    )


def _amounts(metadata: Any) -> Mapping[str, float]:
    """Return the valid dollars and tokens in an operation's metadata."""
    valid: dict[str, float] = {}
    for key, most in MOST.items() if isinstance(metadata, Mapping) else ():
        value = metadata.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
            valid[key] = value
    if not any(valid.get(key) for key in _KEYS):  # a cost of 0 with tokens is a price, alone it is nothing
        return _NOTHING
    return valid


def _caller(service: str, operation: str, metadata: Mapping[str, Any]) -> str:
    """Return the label of the command, component or reply that an operation is, or is part of."""
    if service in BY_OPERATION:
        return label(service, operation)
    caller, command = metadata.get(CALLER), metadata.get("command")
    if isinstance(caller, str):
        return caller[:LABEL]
    return label(COMMANDS, command)[:LABEL] if isinstance(command, str) and command else ""
