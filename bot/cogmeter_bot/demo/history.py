"""Simulated past operations with a daily cycle, slow tails, failures and a few incidents, all from one seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.recording.service_names import BY_OPERATION, COMMANDS, REST, TASKS
from cogmeter_bot.demo.errors import error_group
from cogmeter_bot.demo.incidents import PAST, PAST_RETRIES_PER_MINUTE, SLOW_RELEASE, main_operation
from cogmeter_bot.demo.profiles import (
    CALLBACKS,
    FIRST_RESPONSES,
    GUILDS,
    MESSAGES,
    NEAR_MISS_MS,
    PROFILES,
    USERS,
    Failure,
    Profile,
    activity,
    in_direct_messages,
    person_hashes,
    random_users,
    user_of_failure,
)
from cogmeter_bot.demo.traces import DURATION, END, OUTCOME, enclose, late_response_us, make_traces, with_response
from cogmeter_bot.importing import ROWS_PER_CHUNK
from cogmeter_storage.model import DAY_US, ERROR_GROUP, FAILURES, HOUR_US, MINUTE_US, Outcome
from cogmeter_storage.usage import CONTEXT, DM, GUILD, LOCALE, PeopleKind, UsageBatch, people_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from cogmeter_bot.demo.traces import EnclosedOperation
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Row, TraceRecord

RATE_LIMITED_HOURS: Final = ((-77.0, -76.6), (-4.0, -3.8))  # before now: Discord limited the bot's messages
RATE_LIMITED: Final = 0.7  # of them
VARIANTS: Final = 512  # metadata variants of a profile's short operations, and of its long ones


@dataclass(frozen=True, slots=True)
class GeneratedHistory:
    """Operations, sorted by their end.

    ``table`` is [operations, 6]: series (index into ``names``), end and duration in microseconds, outcome, error (index
    into ``errors``), metadata (index into ``metadata``). ``raised_in`` is the series in which its error was raised: its
    own, or for a command that passed on the outcome and error of an operation inside it, that operation's.
    """

    table: NDArray[np.int64]
    raised_in: NDArray[np.int64]
    names: list[tuple[str, str]]
    errors: list[str | None]
    metadata: list[str | None]
    traces: list[TraceRecord]

    def __len__(self) -> int:
        return len(self.table)

    def chunks(self, ids: Sequence[int]) -> Iterator[list[Row]]:
        """Yield the rows for a store; ``ids`` are its series ids in the order of ``names``."""
        for start in range(0, len(self), ROWS_PER_CHUNK):
            chunk = slice(start, start + ROWS_PER_CHUNK)
            rows = zip(self.table[chunk].tolist(), self.raised_in[chunk].tolist(), strict=True)
            yield [
                (
                    ids[series],
                    end_us,
                    duration_us,
                    outcome,
                    self.errors[error],
                    self._metadata_of(metadata, raised_in, error, end_us)
                    if outcome in FAILURES
                    else self.metadata[metadata],
                )
                for (series, end_us, duration_us, outcome, error, metadata), raised_in in rows
            ]

    def _metadata_of(self, metadata: int, raised_in: int, error: int, end_us: int) -> str:
        """Return the metadata of a failure, with its error group and its person as the watch adds them."""
        found = json.loads(self.metadata[metadata] or "{}")
        group = error_group(self.names[raised_in], self.errors[error])
        if group is not None:
            found[ERROR_GROUP] = group
        if self.names[raised_in][0] not in {TASKS, REST}:
            found.pop("guild", None)
            found |= person_hashes(user_of_failure(end_us))
        return json.dumps(found)


def make_history(until_us: int, days: float, seed: int) -> GeneratedHistory:
    """Return operations of the ``days`` before ``until_us`` (microseconds since 1970 UTC); equal for equal seeds."""
    rng = np.random.default_rng(seed)
    failures = list(dict.fromkeys(failure for profile in PROFILES for failure in profile.failures))
    generator = _Generator(rng, until_us, np.arange(int(until_us - days * DAY_US), until_us, MINUTE_US), failures)
    numbers = {profile: number for number, profile in enumerate(PROFILES)}
    first_responses = {(COMMANDS, name): profile for name, profile in FIRST_RESPONSES.items()}
    tables = {
        profile: generator.operations(number, profile)
        for profile, number in numbers.items()
        if profile not in {*FIRST_RESPONSES.values(), CALLBACKS}
    }
    moved = enclose(tables, first_us=int(until_us - days * DAY_US), until_us=until_us)
    errors = [None, *(text for _, text in failures)]
    traces = make_traces(tables, moved, errors, until_us=until_us)
    late_us = {(trace.operation, trace.at_us): late_response_us(trace) or -1 for trace in traces}
    traced = {trace.operation for trace in traces}
    sent_us: dict[tuple[str, int], int | None] = {}  # when the first response to a command was sent; None: never
    for command, runs in list(tables.items()):
        profile = first_responses.get((command.service, command.operation))
        if profile is not None:
            begun_us = runs[:, END] - runs[:, DURATION]
            known_us = np.array([late_us.get((command.operation, at_us), -1) for at_us in begun_us.tolist()])
            # A command that has traces ends after its first response.
            longest_us = runs[:, DURATION] if command.operation in traced else None
            tables[profile] = generator.operations(numbers[profile], profile, begun_us, known_us, longest_us)
            for at_us, row in zip(begun_us.tolist(), tables[profile].tolist(), strict=True):
                sent_us[command.operation, at_us] = row[DURATION] if row[OUTCOME] == Outcome.OK else None
    responses = np.concatenate([tables[profile] for profile in FIRST_RESPONSES.values()])
    called_us = responses[responses[:, OUTCOME] == Outcome.OK, END] - int(CALLBACKS.median_ms * 1000)
    tables[CALLBACKS] = generator.operations(numbers[CALLBACKS], CALLBACKS, called_us)
    table = np.concatenate(list(tables.values()))
    raised_in = np.concatenate([_raised_in(numbers, profile, rows, moved) for profile, rows in tables.items()])
    order = np.argsort(table[:, END], kind="stable")
    metadata = [text for profile in PROFILES for text in _metadata(rng, profile)]
    return GeneratedHistory(
        table=table[order],
        raised_in=raised_in[order],
        names=[(profile.service, profile.operation) for profile in PROFILES],
        errors=errors,
        metadata=[None, *metadata],
        traces=[with_response(trace, sent_us[trace.operation, trace.at_us]) for trace in traces],
    )


def _raised_in(
    numbers: Mapping[Profile, int],
    profile: Profile,
    rows: NDArray[np.int64],
    moved: Mapping[str, Sequence[EnclosedOperation]],
) -> NDArray[np.int64]:
    """Return the series in which the error of each operation of a profile was raised."""
    by_name = {(one.service, one.operation): number for one, number in numbers.items()}
    found = np.full(len(rows), numbers[profile])
    if profile.service == COMMANDS:
        for one in moved.get(profile.operation, ()):
            found[one.command] = by_name[one.span.service, one.span.operation]
    return found


async def store_history(store: Store, history: GeneratedHistory, *, until_us: int) -> None:
    """Write a history to an empty store with its traces, and fold it into hours and days."""
    ids = await store.series_ids(history.names)
    await store.append(history.chunks(ids), now_us=until_us)
    for batch in _usage(history, ids):
        await store.usage.add(batch)
    await store.fold(now_us=until_us)
    await store.add_traces(history.traces)


def _usage(history: GeneratedHistory, ids: Sequence[int]) -> Iterator[UsageBatch]:
    """Yield who used the commands in each hour: some people use the bot much more often than others."""
    rng = np.random.default_rng(len(history))
    users, guilds = (rng.integers(0, 2**63, number, dtype=np.uint64) * 2 for number in (USERS, GUILDS))
    ranked = [number for number, (service, _) in enumerate(history.names) if service in BY_OPERATION]
    runs = history.table[np.isin(history.table[:, 0], ranked)]
    for hour in np.split(runs, np.flatnonzero(np.diff(runs[:, 1] // HOUR_US)) + 1):
        series = [ids[number] for number in hour[:, 0].tolist()]
        who = random_users(rng, len(hour))
        direct = in_direct_messages(who)
        keys = [people_key(number, kind) for kind in PeopleKind for number in series]
        inside = int((~direct).sum())
        counts = {(CONTEXT, GUILD): inside, (CONTEXT, DM): len(hour) - inside, (LOCALE, "en-US"): len(hour)}
        yield UsageBatch(
            int(hour[-1, 1]),
            np.array(keys),
            np.concatenate([users[who], guilds[who % GUILDS]]),
            {name: count for name, count in counts.items() if count},
        )


@dataclass(frozen=True, slots=True)
class _Generator:
    """The generator of all profiles' operations: random numbers, the minutes to fill, and all failures."""

    rng: Generator
    until_us: int
    minutes: NDArray[np.int64]
    failures: list[Failure]

    def operations(
        self,
        number: int,
        profile: Profile,
        begun_us: NDArray[np.int64] | None = None,
        known_us: NDArray[np.int64] | None = None,
        longest_us: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Return all operations of one profile, as unsorted rows of ``GeneratedHistory.table``.

        They begin at ``begun_us``, or at random times. Those of a duration in ``known_us`` (-1: random) succeed. The
        other successful ones take at most ``longest_us``.
        """
        rng = self.rng
        end = self._ends(profile) if begun_us is None else begun_us
        size = len(end)
        slowdown, failure_rate = _incident_effect(profile, (end - self.until_us) / HOUR_US)
        slowdown *= 0.9 + 0.1 * activity(end // MINUTE_US * MINUTE_US)  # a busy bot is a little slower
        duration = profile.median_ms * 1000 * slowdown * rng.lognormal(0.0, profile.spread, size)
        duration = np.minimum(duration, profile.max_ms * 1000)
        errors = np.array([self.failures.index(failure) + 1 for failure in profile.failures] or [0])
        error = np.where(rng.random(size) < failure_rate, rng.choice(errors, size), 0)
        if longest_us is not None:
            duration = np.where(error > 0, duration, np.minimum(duration, longest_us))
        if known_us is not None:
            error, duration = np.where(known_us < 0, error, 0), np.where(known_us < 0, duration, known_us)
        outcome = np.array([Outcome.OK, *(outcome for outcome, _ in self.failures)])[error]
        if profile.failed_ms is not None:
            duration = np.where(error > 0, profile.failed_ms * 1000, duration)
        if begun_us is not None:
            end = np.minimum(begun_us + duration.astype(np.int64), self.until_us - 1)
        metadata = _metadata_indexes(rng, number, duration)
        return np.column_stack([np.full(size, number), end, duration, outcome, error, metadata]).astype(np.int64)

    def _ends(self, profile: Profile) -> NDArray[np.int64]:
        """Return random times at the rate of a profile, in microseconds since 1970 UTC."""
        if profile.steady and self.minutes.size:
            step_us = int(MINUTE_US / profile.per_minute)
            first_us = int(self.minutes[0]) + int(self.rng.integers(1, step_us))
            return np.arange(first_us, self.until_us, step_us, dtype=np.int64)
        count = self.rng.poisson(profile.per_minute * activity(self.minutes) + self._retries(profile))
        size = int(count.sum())
        times: NDArray[np.int64] = np.repeat(self.minutes, count) + self.rng.integers(0, MINUTE_US, size)
        return np.minimum(times, self.until_us - 1)

    def _retries(self, profile: Profile) -> NDArray[np.float64]:
        """Return the number of retries in each minute, while the service fails or is slow."""
        hours = (self.minutes - self.until_us) / HOUR_US
        retries = np.zeros(len(hours))
        for incident in PAST:
            if profile is main_operation(incident.service):
                retries[(hours >= incident.start) & (hours < incident.end)] = PAST_RETRIES_PER_MINUTE
        return retries


def _incident_effect(profile: Profile, hours: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slowdown and failure rate of the operations at these hours (negative: before now)."""
    slowdown, failure_rate = np.ones(len(hours)), np.full(len(hours), profile.failure_rate)
    for incident in PAST:
        if incident.affects(profile):
            inside = (hours >= incident.start) & (hours < incident.end)
            slowdown[inside] *= incident.slowdown
            failure_rate[inside] += incident.failure_rate
    if profile is MESSAGES:
        for start, end in RATE_LIMITED_HOURS:
            failure_rate[(hours >= start) & (hours < end)] += RATE_LIMITED
    slowdown[hours >= SLOW_RELEASE.start] *= SLOW_RELEASE.factor(profile)
    return slowdown, failure_rate


def _metadata_indexes(rng: Generator, number: int, duration_us: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each operation of a profile an index into ``GeneratedHistory.metadata``."""
    first = 1 + 2 * VARIANTS * number
    return first + rng.integers(0, VARIANTS, len(duration_us)) + VARIANTS * (duration_us > NEAR_MISS_MS * 1000)


def _metadata(rng: Generator, profile: Profile) -> list[str | None]:
    """Return VARIANTS of the metadata of a profile's short operations, and as many of its long ones."""
    if profile.metadata is None:
        return [None] * (2 * VARIANTS)
    durations_ms = (min(profile.median_ms, NEAR_MISS_MS), max(profile.median_ms, 1.2 * NEAR_MISS_MS))
    return [json.dumps(profile.metadata(rng, duration_ms)) for duration_ms in durations_ms for _ in range(VARIANTS)]
