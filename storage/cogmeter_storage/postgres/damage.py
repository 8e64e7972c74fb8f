"""Counts and logs stored data that cannot be read. PostgreSQL checks types; the format of slots has a checksum."""

from __future__ import annotations

import logging
import threading
from typing import Final

from cogmeter_storage.clock import format_time
from cogmeter_storage.model import Damage, Tier

_MAX_LOG_LINES: Final = 20
_MAX_KNOWN: Final = 10_000
_logger = logging.getLogger("cogmeter.storage")


class PostgresDamage:
    """The damage that one open store has found; see sql.session.DamagedRows. Its threads share it."""

    def __init__(self, name: str) -> None:
        """``name`` is the server and database."""
        self._name = name
        self._lock = threading.Lock()
        self._slots: set[tuple[int, int, int]] = set()
        self._rows: set[tuple[str, object]] = set()
        self._lines = 0

    def note_slot(self, tier: int, start_us: int, run: int, reason: str) -> None:
        """Record a slot that is skipped."""
        with self._lock:
            key = (tier, start_us, run)
            if key in self._slots or len(self._slots) >= _MAX_KNOWN:
                return
            self._slots.add(key)
        self._warn(f"the slot of the {Tier(tier).name.lower()} from {format_time(start_us)}", reason)

    def note_row(self, table: str, number: object, reason: str) -> None:
        """Record a row that is skipped."""
        with self._lock:
            if (table, number) in self._rows or len(self._rows) >= _MAX_KNOWN:
                return
            self._rows.add((table, number))
        self._warn(f"row {number} of table {table}", reason)

    def note_removed_row(self, table: str, number: object) -> None:
        """Record that a damaged row was moved to the table ``damage``."""
        with self._lock:
            self._rows.discard((table, number))

    def counts(self, moved: int) -> Damage:
        """Return the known damage; ``moved`` is the number of rows in the table ``damage``."""
        with self._lock:
            return Damage(lost_slots=len(self._slots), rows=len(self._rows) + moved)

    def _warn(self, what: str, reason: str) -> None:
        self._lines += 1
        if self._lines <= _MAX_LOG_LINES:
            _logger.warning("Database %s: %s is damaged (%s) and is left out", self._name, what, reason)
