"""The stored usage: distinct users and guilds of each series, counts by hour, and the UsageStore protocol.

Names contain their unit. ``*_us`` is microseconds since 1970-01-01 UTC. No id of a user or guild reaches the store: it
gets keyed 64-bit hashes, and keeps sketches of them (see sketch.py).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter_storage.model import BatchId

CONTEXT: Final = "context"  # the kinds of counts: where an interaction was used, by the names below
GUILD, DM, USER_INSTALL = "guild", "dm", "user_install"
LOCALE: Final = "locale"  # the user's language, as Discord names it: "de", "en-US"
JOINED, LEFT = "joined", "left"  # guilds; their name is ""


class PeopleKind(enum.IntEnum):
    """Who is counted; the store contains these numbers."""

    USER = 0
    GUILD = 1


def people_key(series: int, kind: PeopleKind) -> int:
    """Return the number under which the users or the guilds of a series are counted."""
    return series * len(PeopleKind) + kind


@dataclass(frozen=True, slots=True, eq=False)
class UsageBatch:
    """The usage between two flushes; it belongs to the hour of ``at_us``."""

    at_us: int
    keys: NDArray[np.int64]  # one for each user and guild that was seen, see people_key; they may repeat
    hashes: NDArray[np.uint64]  # the keyed 64-bit hash of each
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, name) -> how often


@dataclass(frozen=True, slots=True)
class DistinctCounts:
    """The estimated numbers of distinct users and guilds; exact up to 512."""

    users: int
    guilds: int


class UsageStore(Protocol):
    """The stored usage: ``store.usage``. Every method may raise StorageError, as in Store.

    Each hour and each day (UTC) has one slot of sketches. The sketches of hours are kept for two whole days, those of
    days and the counts as long as the hours of operations. A person cannot be removed from a sketch, which does not
    identify anybody.
    """

    async def add(self, batch: UsageBatch, *, batch_id: BatchId | None = None) -> None:
        """Store a batch in one transaction. A cancelled call has stored everything or nothing.

        With an id it is stored once, as in Store.append.

        A later batch may belong to an earlier hour. Raises ValueError for a count below 1 or an invalid key; nothing is
        stored then.
        """
        ...

    async def distinct(self, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> list[DistinctCounts]:
        """Count the distinct users and guilds of groups of series in [since_us, until_us).

        ``groups`` maps a series id to a group number 0..n-1; the result is in order of the numbers. The range is
        widened to whole hours, or to whole days where only those are stored.
        """
        ...

    async def counts(self, since_us: int, until_us: int, kinds: Collection[str]) -> dict[tuple[str, str], int]:
        """Return the sums of the counts of these kinds by (kind, name), of the hours that start in the range."""
        ...

    async def series_of_counts(
        self, since_us: int, until_us: int, kind: str, step_us: int
    ) -> list[tuple[int, dict[str, int]]]:
        """Return the start of each step and the counts of a kind by name in it.

        The first step starts at ``since_us``, rounded down to a whole hour. Raises ValueError if ``step_us`` is not a
        positive multiple of an hour.
        """
        ...

    async def last_use(self, series: Collection[int]) -> dict[int, int]:
        """Return the time of the last batch that had each of these series; those that had none are left out."""
        ...
