"""Who uses what, on its way to the store: users and guilds of operations, contexts, languages, joined and left guilds.

Ids of users and guilds are kept in memory for a few seconds, until the flusher has hashed and stored them. Any thread
may call ``seen`` and ``count``. Nothing here raises into the host or grows without bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cogmeter.recording.buffer import lock
from cogmeter_storage.clock import clock

FIELDS: Final = 5  # series, user, guild, context, locale
MOST: Final = 20_000  # operations that wait to be stored, about 2 MB; further ones are not counted
MOST_COUNTS: Final = 10_000  # other counts that wait


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

    def take_dropped(self) -> int:
        """Return and reset the number of operations whose people were not counted."""
        with lock:
            dropped, self.dropped = self.dropped, 0
        return dropped

    def put_back(self, taken: Taken) -> None:
        """Put back what could not be stored, in front of what is newer."""
        with lock:
            self._rows[:0] = taken.rows
            self._counted[:0] = taken.counted
