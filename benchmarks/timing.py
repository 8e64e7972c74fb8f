"""The measuring and printing of all benchmarks: interleaved rounds, paired ratios, one row per figure."""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Number = TypeVar("Number", int, float)

HEADER = ("name", "figure", "peer", "ratio median (spread)", "goal", "met?")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some measurements, and the range of the middle eight of ten."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ranked = sorted(values)
        tenth = len(ranked) // 10
        return cls(statistics.median(ranked), ranked[tenth], ranked[-1 - tenth])

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True, slots=True)
class Goal:
    """A promised limit, and whether this run met it."""

    text: str
    met: bool


def at_most(value: float, limit: float, unit: str = "") -> Goal:
    return Goal(f"<= {limit:g}{unit}", value <= limit)


def at_least(value: float, limit: float, unit: str = "") -> Goal:
    return Goal(f">= {limit:g}{unit}", value >= limit)


def row(name: str, figure: str, *, peer: str = "", ratio: str = "", goal: Goal | None = None) -> None:
    """Print one row; ``all.py`` finds it by its separators."""
    said = (goal.text, "yes" if goal.met else "NO") if goal else ("", "")
    print(" | ".join((name, figure, peer, ratio, *said)), flush=True)


def missing(name: str, error: ImportError) -> None:
    """Print that a peer is not installed; the other parts still run."""
    row(name, f"not measured: {error}", peer="missing")


def interleaved(
    cases: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Return the results of each case, round by round; every round runs all cases in a new order."""
    for case in cases.values() if warm_up else ():
        case()
    results: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name in random.sample(list(cases), len(cases)):
            results[name].append(cases[name]())
    return results


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return ours to theirs, pair by pair of the same round: a slow machine is slow for both."""
    return Spread.of(mine / other for mine, other in zip(ours, theirs, strict=True))


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return what ours cost above theirs, pair by pair of the same round."""
    return Spread.of(mine - other for mine, other in zip(ours, theirs, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of one call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile by nearest rank."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--short", action="store_true", help="fewer rounds: 10 to 25 seconds")
    made.add_argument("--smoke", action="store_true", help="the least of everything, only to see that it runs")
    return made


def sized(options: argparse.Namespace, full: Number, short: Number, smoke: Number) -> Number:
    """Return the amount for the form that the options name: the full one, ``--short`` or ``--smoke``."""
    return smoke if options.smoke else short if options.short else full
