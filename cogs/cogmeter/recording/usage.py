"""Who uses what, on its way to the store: users and guilds of operations, contexts, languages, joined and left guilds.

Ids of users and guilds are kept in memory for a few seconds, until the flusher has hashed and stored them. Any thread
may call ``seen`` and ``count``. Nothing here raises into the host or grows without bound.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.recording.buffer import lock
from cogmeter_storage.clock import clock
from cogmeter_storage.usage import CONTEXT, LOCALE, PeopleKind, UsageBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIELDS: Final = 5  # series, user, guild, context, locale
MOST: Final = 20_000  # operations that wait to be stored, about 2 MB; further ones are not counted
MOST_COUNTS: Final = 10_000  # other counts that wait
MOST_NAMES: Final = 50  # of one kind in one batch; Discord has 33 languages
_MASK: Final = 2**64 - 1
_BY_KIND: Final = 0x9E3779B97F4A7C15  # separates users from guilds with the same id


@dataclass(slots=True)
class Taken:
    """What was recorded between two flushes."""

    at_us: int
    rows: list[Any]  # FIELDS atoms for each operation
    counted: list[tuple[str, str]]


class UsageRecorder:
    """The users and guilds that wait to be stored; as in Buffer, the list is flat and is never replaced."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        self.dropped = 0  # operations whose people were not counted, because too many waited
        self._rows: list[Any] = []
        self._counted: list[tuple[str, str]] = []
        self._limit = 0  # in atoms; 0: nothing is recorded

    def __len__(self) -> int:
        return len(self._rows) // FIELDS + len(self._counted)

    @property
    def is_filling(self) -> bool:
        """True if half of the bound is reached."""
        return len(self._rows) * 2 > self._limit

    def begin(self, key: bytes) -> None:
        """Record from now on; ``key`` is the key of the hashes, at least 16 bytes."""
        self.key, self._limit = key, MOST * FIELDS

    def disable(self) -> None:
        """Record nothing from now on."""
        self._limit = 0
        self.forked()

    def forked(self) -> None:
        """Start empty in the child of a fork: the parent stores what waits."""
        self._rows.clear()
        self._counted.clear()
        self.dropped = 0

    def seen(
        self, series: int, user: str | int | None, guild: str | int | None, context: str = "", locale: str = ""
    ) -> None:
        """Count the user and guild of a finished operation of a series.

        Args:
            series: the recorder's number of the series.
            user: the id of the user who used it; None if it is not known.
            guild: the id of the guild in which it was used; None outside of guilds.
            context: "guild", "dm" or "user_install"; "" if it is not known.
            locale: the user's language, such as "de"; "" if it is not known.
        """
        rows = self._rows
        if len(rows) < self._limit:
            rows.extend((series, user, guild, context, locale))  # atomic, see buffer.py
        elif self._limit:
            with lock:
                self.dropped += 1

    def count(self, kind: str, name: str = "") -> None:
        """Count one event of a kind, such as a guild that was joined."""
        if self._limit and len(self._counted) < MOST_COUNTS:
            self._counted.append((kind, name))

    def take(self) -> Taken | None:
        """Remove and return what waits; None if nothing does."""
        with lock:
            rows, counted = self._rows[:], self._counted[:]
            del self._rows[: len(rows)], self._counted[: len(counted)]
        return Taken(clock.now_us(), rows, counted) if rows or counted else None

    def put_back(self, taken: Taken) -> None:
        """Put back what could not be stored, in front of what is newer."""
        with lock:
            self._rows[:0] = taken.rows
            self._counted[:0] = taken.counted


def batch_of(taken: Taken, ids: Sequence[int], key: bytes) -> UsageBatch:
    """Return what was taken as the store keeps it; ``ids`` are the store's, by the recorder's number of a series."""
    numbers, users, guilds, contexts, locales = (taken.rows[at::FIELDS] for at in range(FIELDS))
    series = np.array(ids, np.int64)[np.array(numbers, np.intp)]
    counts = Counter(taken.counted)
    for kind, names in ((CONTEXT, contexts), (LOCALE, locales)):
        known = Counter(filter(None, names))
        counts.update({(kind, name[:20]): count for name, count in known.most_common(MOST_NAMES)})
    return UsageBatch(
        at_us=taken.at_us,
        users=_by_series(series, users, key, PeopleKind.USER),
        guilds=_by_series(series, guilds, key, PeopleKind.GUILD),
        counts=counts,
        used=np.unique(series).tolist(),
    )


def _by_series(
    series: NDArray[np.int64], people: list[Any], key: bytes, kind: PeopleKind
) -> dict[int, NDArray[np.uint64]]:
    """Return the hashes of the known people, by the id of their series."""
    # The gateway has ids as texts, discord.py as numbers.
    numbers = np.fromiter((0 if person is None else int(person) for person in people), np.uint64, len(people))
    known = numbers != 0
    order = np.argsort(series[known], kind="stable")
    ids, hashes = series[known][order], hashed(numbers[known][order], key, kind)
    bounds = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), ids.size] if ids.size else []
    return {int(ids[start]): hashes[start:stop] for start, stop in itertools.pairwise(bounds)}


def hashed(numbers: NDArray[np.uint64], key: bytes, kind: PeopleKind) -> NDArray[np.uint64]:
    """Return keyed 64-bit hashes of ids: the finalizer of MurmurHash3 (A. Appleby), twice, with half of the key each.

    The store keeps 28 bits of a hash, and of more than 512 people only registers. Without the key, which is random and
    in the same database, nobody can find out or test an id by them. A reader of the whole database with a list of ids
    can test which of them may be in a small sketch, as with the hashes in the metadata of operations
    (watch/interactions/people.py). A cryptographic hash would not prevent that either.
    """
    first, second = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    return _mixed(_mixed(numbers ^ np.uint64((first + kind * _BY_KIND) & _MASK)) ^ np.uint64(second))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    shift = np.uint64(33)
    values = (values ^ (values >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> shift)
