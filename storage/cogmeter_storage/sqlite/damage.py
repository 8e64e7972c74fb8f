"""Counts and logs damaged data: slots that were rebuilt or lost, and rows that hold what was never written."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from cogmeter_storage.model import Damage, Tier

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path
    from typing import TypeAlias

    # What became of a damaged slot: rebuilt in full, rebuilt from what was left, or skipped.
    Result: TypeAlias = Literal["rebuilt", "partial", "lost"]

_LOGGED: Final = 20  # lines in the log, of slots and of rows each; what comes after them is counted alone
_REMEMBERED: Final = 10_000  # rows and slots that are not counted or logged twice
_SAID: Final = {
    "rebuilt": "It is rebuilt from finer data.",
    "partial": "It is rebuilt from the finer data that is left; some of its operations are missing.",
    "lost": "No finer data is left, so its operations are missing from all figures.",
}

_logger = logging.getLogger("cogmeter.storage")


class DamageLog:
    """What one open store met that cannot be read. Its reader's and its writer's thread share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, int], Result] = {}  # slots that are damaged in the file now, by tier and start
        self._rows: set[tuple[str, object]] = set()
        self._known: set[tuple[int, int]] = set()
        self._lines = {"slot": 0, "row": 0}

    def slot(self, tier: int, start_us: int, reason: str, result: Result) -> None:
        """Note a damaged slot that is still in the file; ``result`` says what its readers get in its place."""
        self._note_slot(tier, start_us, reason, result, repaired=False)

    def repaired(self, tier: int, start_us: int, reason: str, result: Result) -> None:
        """Note a damaged slot that the writer has replaced or removed."""
        self._note_slot(tier, start_us, reason, result, repaired=True)

    def removed(self, tier: int, start_us: int) -> None:
        """Note that a slot which may have been damaged is in the file no more."""
        with self._lock:
            self._waiting.pop((tier, start_us), None)

    def row(self, table: str, number: object, reason: str) -> None:
        """Note a row that is skipped."""
        with self._lock:
            if (table, number) in self._rows or len(self._rows) >= _REMEMBERED:
                return
            self._rows.add((table, number))
        self._warn("row", "Row %s of table %s is damaged (%s). It is skipped.", number, table, reason)

    def moved(self, table: str, count: int) -> None:
        """Note rows that the writer has moved out of a table because nothing could read them."""
        _logger.warning("%d damaged rows of table %s of %s are moved to the table damage", count, table, self._path)

    def indexed(self, table: str, reason: str) -> None:
        """Note an index that the writer has rebuilt."""
        _logger.warning("The index of table %s of %s was damaged (%s). It is rebuilt.", table, self._path, reason)

    def is_lost(self, tier: int, start_us: int) -> bool:
        """Return whether this slot was found damaged already, and cannot be rebuilt."""
        return self._waiting.get((tier, start_us)) == "lost"

    def waiting(self) -> list[tuple[int, int]]:
        """Return tier and start of the damaged slots that the writer has not repaired yet."""
        with self._lock:
            return list(self._waiting)

    def counts(self, raw: sqlite3.Connection) -> Damage:
        """Return what is known: what the table says, and what this store met since it was opened."""
        stored: dict[str, int] = dict(raw.execute("SELECT result, count(*) FROM damage GROUP BY result").fetchall())
        with self._lock:
            results = list(self._waiting.values())
            rows = len(self._rows)
        return Damage(
            rebuilt_slots=stored.get("rebuilt", 0) + results.count("rebuilt"),
            lost_slots=sum(stored.get(name, 0) + results.count(name) for name in ("partial", "lost")),
            rows=stored.get("removed", 0) + rows,
        )

    def _note_slot(self, tier: int, start_us: int, reason: str, result: Result, *, repaired: bool) -> None:
        key = (tier, start_us)
        with self._lock:
            known = key in self._known
            if len(self._known) < _REMEMBERED:
                self._known.add(key)
            if repaired:
                self._waiting.pop(key, None)
                self._known.discard(key)  # damaged again, it is worth another line
            else:
                self._waiting[key] = result
        if not known:
            said = "The slot of the %s from %s is damaged (%s). %s"
            self._warn("slot", said, _tier_name(tier), _time(start_us), reason, _SAID[result])

    def _warn(self, kind: str, text: str, *values: object) -> None:
        self._lines[kind] += 1
        if self._lines[kind] <= _LOGGED:
            _logger.warning("Database %s: %s", self._path, text % values)
        elif self._lines[kind] == _LOGGED + 1:
            _logger.warning("Database %s: more damaged %ss are counted, and not logged", self._path, kind)


def _tier_name(tier: int) -> str:
    try:
        return Tier(tier).name.lower()
    except ValueError:
        return f"tier {tier}"


def _time(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return str(at_us)
