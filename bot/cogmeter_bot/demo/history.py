"""A believable past: operations with a daily rhythm, slow tails, failures and a few incidents, all from a seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_bot.demo.incidents import PAST, PAST_RETRIES_PER_MINUTE, main_operation
from cogmeter_bot.demo.notes import NEAR_MISS_MS
from cogmeter_bot.demo.profiles import PROFILES, Failure, Profile, activity
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Row

SLICE: Final = 200  # rows that the store writes in one turn of the loop
NOTES: Final = 128  # different ones of a profile's short operations, and as many of its long ones


@dataclass(frozen=True, slots=True)
class GeneratedHistory:
    """Operations in the order of their end.

    ``table`` is [operations, 6]: series (index into ``names``), end and duration in microseconds, outcome, error (index
    into ``errors``), metadata (index into ``notes``).
    """

    table: NDArray[np.int64]
    names: list[tuple[str, str]]
    errors: list[str | None]
    notes: list[str | None]

    def __len__(self) -> int:
        return len(self.table)

    def slices(self, ids: Sequence[int]) -> Iterator[list[Row]]:
        """The rows as a store takes them; ``ids`` are its series ids, in the order of ``names``."""
        for start in range(0, len(self), SLICE):
            part = self.table[start : start + SLICE].tolist()
            yield [(ids[s], end, took, how, self.errors[e], self.notes[m]) for s, end, took, how, e, m in part]


def make_history(until_us: int, days: float, seed: int) -> GeneratedHistory:
    """The operations of the ``days`` before ``until_us`` (microseconds since 1970 UTC); the same for the same seed."""
    rng = np.random.default_rng(seed)
    failures = list(dict.fromkeys(failure for one in PROFILES for failure in one.failures))
    past = _Past(rng, until_us, np.arange(int(until_us - days * DAY_US), until_us, MINUTE_US), failures)
    table = np.concatenate([past.operations(number, one) for number, one in enumerate(PROFILES)])
    notes = [text for one in PROFILES for text in _notes(rng, one)]
    return GeneratedHistory(
        table=table[np.argsort(table[:, 1], kind="stable")],
        names=[(one.service, one.operation) for one in PROFILES],
        errors=[None, *(text for _, text in failures)],
        notes=[None, *notes],
    )


async def backfill(store: Store, history: GeneratedHistory, *, until_us: int) -> None:
    """Bring a history into an empty store, folded into hours and days."""
    ids = await store.series_ids(history.names)
    await store.append(history.slices(ids), now_us=until_us)
    await store.fold(now_us=until_us)


@dataclass(frozen=True, slots=True)
class _Past:
    """What all profiles draw from: the numbers, the minutes to fill, and every way to fail."""

    rng: Generator
    until_us: int
    minutes: NDArray[np.int64]
    failures: list[Failure]

    def operations(self, number: int, profile: Profile) -> NDArray[np.int64]:
        """All operations of one profile, as rows of History.table, in no order."""
        rng, busy = self.rng, activity(self.minutes)
        count = rng.poisson(profile.per_minute * busy + self._retries(profile))
        size = int(count.sum())
        end = np.minimum(np.repeat(self.minutes, count) + rng.integers(0, MINUTE_US, size), self.until_us - 1)
        slow, failing = _trouble(profile, (end - self.until_us) / HOUR_US)
        load = np.repeat(0.9 + 0.1 * busy, count)  # a busy bot is a little slower
        took = profile.median_ms * 1000 * load * slow * rng.lognormal(0.0, profile.spread, size)
        took = np.minimum(took, profile.most_ms * 1000)
        ways = np.array([self.failures.index(one) + 1 for one in profile.failures] or [0])
        error = np.where(rng.random(size) < failing, rng.choice(ways, size), 0)
        outcome = np.array([Outcome.OK, *(outcome for outcome, _ in self.failures)])[error]
        if profile.failed_ms is not None:
            took = np.where(error > 0, profile.failed_ms * 1000, took)
        note = _note_numbers(rng, number, took)
        return np.column_stack([np.full(size, number), end, took, outcome, error, note]).astype(np.int64)

    def _retries(self, profile: Profile) -> NDArray[np.float64]:
        """What is tried again in each minute, because the service fails."""
        hours = (self.minutes - self.until_us) / HOUR_US
        extra = np.zeros(len(hours))
        for incident in PAST:
            if incident.failure_rate and profile is main_operation(incident.service):
                extra[(hours >= incident.start) & (hours < incident.end)] = PAST_RETRIES_PER_MINUTE
        return extra


def _trouble(profile: Profile, hours: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many times slower, and with which failure rate, the operations at these hours (before 0) ran."""
    slow, failing = np.ones(len(hours)), np.full(len(hours), profile.failure_rate)
    for incident in PAST:
        if incident.affects(profile):
            inside = (hours >= incident.start) & (hours < incident.end)
            slow[inside] *= incident.slowdown
            failing[inside] += incident.failure_rate
    return slow, failing


def _note_numbers(rng: Generator, number: int, took_us: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each operation of a profile, the place of a note in History.notes."""
    first = 1 + 2 * NOTES * number
    return first + rng.integers(0, NOTES, len(took_us)) + NOTES * (took_us > NEAR_MISS_MS * 1000)


def _notes(rng: Generator, profile: Profile) -> list[str | None]:
    """NOTES of a profile's short operations, and as many of its long ones."""
    if profile.note is None:
        return [None for _ in range(2 * NOTES)]
    short_ms, long_ms = min(profile.median_ms, NEAR_MISS_MS), max(profile.median_ms, 1.2 * NEAR_MISS_MS)
    return [json.dumps(profile.note(rng, took_ms)) for took_ms in (short_ms, long_ms) for _ in range(NOTES)]
