"""Who uses what: commands by runs, people and guilds, unused ones, heat map, contexts, languages, and the audience.

Every surface shows the result of ``usage``. No user and no guild is named in it: the store has only sketches of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.recording.service_names import BY_OPERATION, COMMANDS, label
from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.usage import CONTEXT, DM, GUILD, JOINED, LEFT, LOCALE, USER_INSTALL, DistinctCounts

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Totals

REGISTERED: Final = "registered-commands"  # the name in the store of the bot's commands, and when each was first seen
CONTEXT_TITLES: Final = {GUILD: "in servers", DM: "in direct messages", USER_INSTALL: "elsewhere, as a user's app"}
GUILDS, MEMBERS = "gateway.guilds", "gateway.members"  # gauges, see watch/gateway.py
_THURSDAY: Final = 3  # 1970-01-01
_MOST_REGISTERED: Final = 2_000


@dataclass(frozen=True, slots=True)
class UsedOperation:
    """A command, component or reply with the people who used it in the range."""

    service: str  # one of BY_OPERATION
    operation: str
    operations: int
    failures: int
    people: DistinctCounts | None  # None: nobody was counted, as before the version that counts people
    last_us: int | None  # its last use, also before the range; None if it is not known

    @property
    def label(self) -> str:
        """The name by which an owner knows it, such as "/ask"."""
        return label(self.service, self.operation)

    @property
    def error_rate(self) -> float:
        """Failures over operations, 0 to 1; 0 without operations."""
        return self.failures / self.operations if self.operations else 0.0


@dataclass(frozen=True, slots=True)
class UnusedCommand:
    """A registered command that was never used."""

    name: str
    registered_us: int  # when it was first seen

    @property
    def label(self) -> str:
        """The name by which an owner knows it, such as "/ask"."""
        return label(COMMANDS, self.name)


@dataclass(frozen=True, slots=True)
class AudienceStep:
    """The guilds and members at the end of a step, None where they were not sampled, and the changes in it."""

    at_us: int  # its start
    guilds: int | None
    members: int | None
    joined: int
    left: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of a bot over a range. Numbers of people above 512 are estimates within 3%."""

    range: Range
    people: DistinctCounts | None  # of all operations together; None: there are some, and nobody was counted
    operations: list[UsedOperation]  # with operations in the range, the busiest first
    unused: list[UnusedCommand]  # the first registered first
    heat: list[list[int]]  # operations by weekday (Monday first) and hour, in UTC
    contexts: dict[str, int]  # interactions by "guild", "dm", "user_install", the most frequent first
    locales: dict[str, int]  # interactions by the user's language
    audience: list[AudienceStep]

    @property
    def runs(self) -> int:
        """The number of operations."""
        return sum(one.operations for one in self.operations)

    @property
    def failures(self) -> int:
        """The number of failed operations."""
        return sum(one.failures for one in self.operations)

    @property
    def joined(self) -> int:
        """The number of joined guilds."""
        return sum(step.joined for step in self.audience)

    @property
    def left(self) -> int:
        """The number of left guilds."""
        return sum(step.left for step in self.audience)


async def usage(query: Query, span: Range) -> Usage:
    """Return the use of the bot over a range, which is widened to whole hours, but not into the future.

    People and other counts are stored by the hour, and the heat map has hours.

    Raises:
        StorageError: the store cannot be read.
    """
    store, since_us = query.store, span.since_us // HOUR_US * HOUR_US
    until_us = max(min(-(-span.until_us // HOUR_US) * HOUR_US, query.now_us()), span.until_us)
    known = [series for series in await store.series() if series.service in BY_OPERATION]
    groups = {series.id: group for group, series in enumerate(known)}
    totals = await store.totals(since_us, until_us, groups=groups)
    people = await store.usage.distinct(since_us, until_us, groups=groups)
    last_us = await store.usage.last_use(list(groups))
    operations = [
        UsedOperation(series.service, series.operation, runs, failures, _known(counts), last_us.get(series.id))
        for series, runs, failures, counts in zip(known, *_by_group(totals), people, strict=True)
        if runs or counts.users
    ]
    operations.sort(key=lambda one: (-one.operations, one.service, one.operation))
    together = dict.fromkeys(groups, 0)
    everybody = (await store.usage.distinct(since_us, until_us, groups=together) or [DistinctCounts(0, 0)])[0]
    counts = await store.usage.counts(since_us, until_us, [CONTEXT, LOCALE])
    return Usage(
        range=replace(span, since_us=since_us, until_us=until_us),
        people=_known(everybody) if operations else everybody,
        operations=operations,
        unused=await _unused(store, {series.operation for series in known if series.service == COMMANDS}),
        heat=_heat(await store.totals(since_us, until_us, groups=together, step_us=HOUR_US)),
        contexts=_names_of(CONTEXT, counts),
        locales=_names_of(LOCALE, counts),
        audience=await _audience(store, span),
    )


def _known(counts: DistinctCounts) -> DistinctCounts | None:
    """Return the people of some operations; None if nobody was counted, as each operation has somebody."""
    return counts if counts.users or counts.guilds else None


def _by_group(totals: Totals) -> tuple[list[int], list[int]]:
    """Return operations and failures of each group."""
    return totals.counts.sum(axis=0).tolist(), totals.failures.sum(axis=0).tolist()


def _heat(totals: Totals) -> list[list[int]]:
    """Add up the operations of hours by weekday and hour of the day."""
    heat = np.zeros((7, 24), np.int64)
    if totals.counts.size:
        weekdays = (totals.edges_us // DAY_US + _THURSDAY) % 7
        np.add.at(heat, (weekdays, totals.edges_us // HOUR_US % 24), totals.counts.sum(axis=1))
    rows: list[list[int]] = heat.tolist()
    return rows


def _names_of(kind: str, counts: dict[tuple[str, str], int]) -> dict[str, int]:
    found = {name: count for (one, name), count in counts.items() if one == kind}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


async def _unused(store: Store, used: set[str]) -> list[UnusedCommand]:
    """Return the registered commands that were never used: a command that was used has a series for ever."""
    registered = await registered_commands(store)
    unused = [UnusedCommand(name, at_us) for name, at_us in registered.items() if name not in used]
    return sorted(unused, key=lambda command: (command.registered_us, command.name))


async def people_of_operations(store: Store, since_us: int, until_us: int) -> list[tuple[str, str, DistinctCounts]]:
    """Return service, operation and people of each command, component and reply that somebody used in the range.

    Raises:
        StorageError: the store cannot be read.
    """
    known = [series for series in await store.series() if series.service in BY_OPERATION]
    groups = {series.id: group for group, series in enumerate(known)}
    people = await store.usage.distinct(since_us, until_us, groups=groups)
    return [
        (series.service, series.operation, counts)
        for series, counts in zip(known, people, strict=True)
        if _known(counts) is not None
    ]


async def registered_commands(store: Store) -> dict[str, int]:
    """Return the commands that the bot had when it was last seen, and when each was first seen."""
    try:
        found = json.loads(await store.get_value(REGISTERED) or b"{}")
        return {name: int(at_us) for name, at_us in found.items() if isinstance(name, str)}
    except (ValueError, TypeError, AttributeError):
        return {}  # damaged: the next registration stores it again


async def register_commands(store: Store, names: set[str], now_us: int) -> None:
    """Store the commands that the bot has now; a known one keeps the time at which it was first seen.

    Raises:
        StorageError: the store cannot be used.
    """
    known = await registered_commands(store)
    new = {name: known.get(name, now_us) for name in sorted(names)[:_MOST_REGISTERED]}
    if new != known:
        await store.set_value(REGISTERED, json.dumps(new).encode())


async def _audience(store: Store, span: Range) -> list[AudienceStep]:
    """Return guilds, members, joins and leaves by step, a whole number of hours."""
    step_us = -(-span.step_us // HOUR_US) * HOUR_US
    joined = await store.usage.series_of_counts(span.since_us, span.until_us, JOINED, step_us)
    left = await store.usage.series_of_counts(span.since_us, span.until_us, LEFT, step_us)
    starts = [start_us for start_us, _ in joined]
    guilds, members = [
        _added([_last_of(samples, starts, step_us) for samples in by_process.values()], len(starts))
        for by_process in [
            await store.samples_by_process(name, span.since_us, span.until_us) for name in (GUILDS, MEMBERS)
        ]
    ]
    return [
        AudienceStep(start_us, guild_count, member_count, sum(come.values()), sum(gone.values()))
        for (start_us, come), (_, gone), guild_count, member_count in zip(joined, left, guilds, members, strict=True)
    ]


def _added(lines: list[list[int | None]], steps: int) -> list[int | None]:
    """Return the sum of the processes in each step: each has the guilds of its own shards."""
    known = ([one for one in step if one is not None] for step in zip(*lines, strict=True))
    return [sum(step) if step else None for step in known] if lines else [None] * steps


def _last_of(samples: list[tuple[int, float]], starts: list[int], step_us: int) -> list[int | None]:
    """Return the last sample in each step; None in one without samples."""
    if not samples:
        return [None] * len(starts)
    times, values = np.array(samples).T
    places = np.searchsorted(times, np.array(starts) + step_us) - 1
    return [
        int(values[place]) if place >= 0 and times[place] >= start_us else None
        for start_us, place in zip(starts, places.tolist(), strict=True)
    ]
