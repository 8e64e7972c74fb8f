"""Counts the costs of operations by hour, service, caller, model, guild and user, for the store.

Operations with tokens and without money are priced (``query.pricing``). Operations stored before counting began
are read once, in the background, the newest first, and at most MOST_ROWS.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.measurement.costs import CostEntry, cost_entries, entries_of
from cogmeter.query.costs import STATE_KEY
from cogmeter.query.pricing import Prices, TokenUse, micro_usd
from cogmeter.recording.budgets import Budgets
from cogmeter.recording.buffer import FIELDS
from cogmeter.startup import DamagedStateError, parsing
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.costs import CostKey, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter_storage.base import Store
    from cogmeter_storage.costs import CostField
    from cogmeter_storage.model import OperationRecord

MOST_A_DAY: Final = 100  # models of one day, and 500 callers; further ones share a line
MOST_CALLERS: Final = 500
MOST_PENDING: Final = 50_000  # lines that wait for a store that fails; further ones lose guild and user
KEY: Final = STATE_KEY
OTHER: Final = "(other)"
MOST_ROWS: Final = 500_000  # stored operations that are read at a start at most
ROWS: Final = 500  # stored operations that are read at once
PAUSE_S: Final = 0.005  # pause between two reads
FAR_US: Final = 2**62
PEOPLE: Final[tuple[CostField, ...]] = ("guild", "user")

_logger = logging.getLogger("cogmeter.alerts")


class Spending:
    """The costs that wait to be stored, from live operations and from those that are already stored."""

    def __init__(self, prices: Prices | None = None, budgets: Budgets | None = None) -> None:
        self.prices = prices or Prices()
        self.budgets = budgets or Budgets()
        self.pending: dict[CostKey, CostSums] = {}
        self.since_us: int | None = None  # all operations since this time are counted; None: none are counted yet
        self._until_us = 0  # when the last operation that was counted live ended
        self._gaps_us: list[tuple[int, int]] = []  # ranges between two runs that are not read yet
        self._last_id = 0  # the last stored operation at the start; later ones are counted live
        self._lines = CostLines()
        self._stored: bytes | None = None  # the state that the store has

    async def begin(self, store: Store, now_us: int) -> None:
        """Restore the stored state, and count operations live from now on.

        Of processes that share a store, each counts its own: ``store`` is ``Store.own`` here and below.

        Raises:
            StorageError: the store cannot be read, and nothing is restored.
            DamagedStateError: the stored state cannot be read; what is before the stored sums is counted again.
        """
        state = await store.get_value(KEY)
        newest = await store.page(None, 0, FAR_US, limit=1)
        try:
            self.restore(state)
        except DamagedStateError:
            # The sums in the table are sound: counting their operations again would double them.
            self.since_us, self._until_us = await store.costs.first_us(), now_us
            raise
        finally:
            self._begin(newest, now_us)
        await self._restore_budgets(store, now_us)

    def _begin(self, newest: Sequence[OperationRecord], now_us: int) -> None:
        """Count from now on; ``catch_up`` reads what was stored between the last run and this one."""
        self._last_id = newest[0].id if newest else 0
        self._drop_future(now_us)
        if self.since_us is None:
            self.since_us = self._until_us = now_us
        else:
            self._gaps_us.append((self._until_us + 1, now_us))
            self._until_us = now_us

    async def count(self, atoms: list[Any], names: Sequence[tuple[str, str]]) -> list[CostEntry]:
        """Count some of the buffer's atoms; return those with costs, priced as far as their price is known."""
        if not atoms:
            return []
        offset_ns = clock.now_ns() - time.perf_counter_ns()
        until_us = max(self._until_us, (max(atoms[1::FIELDS]) + offset_ns) // 1000)
        entries = await self._priced([*cost_entries(atoms, names, offset_ns, self.budgets.key)])
        for entry in entries:
            self._add(entry)
            self.budgets.add(entry.end_us, entry.guild, entry.user, entry.micro_usd or 0)
        self._until_us = until_us
        return entries

    def add(self, service: str, end_us: int, metadata: Mapping[str, Any]) -> None:
        """Count one operation whose metadata has its money."""
        for entry in entries_of(service, "", end_us, metadata, self.budgets.key):
            self._add(entry)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock; counted hours stay, unless they are in the future."""
        if step_us < 0:
            self._drop_future(clock.now_us())

    async def catch_up(self, store: Store, *, most: int = MOST_ROWS) -> None:
        """Count stored operations that were not counted. If the store fails, the next start tries again."""
        try:
            while self._gaps_us:
                most -= await self._read(store, *self._gaps_us[0])
                del self._gaps_us[0]
            first_us = (await store.status()).first_end_us
            while first_us is not None and self.since_us is not None and self.since_us > first_us and most > 0:
                day_us = max((self.since_us - 1) // DAY_US * DAY_US, first_us)
                most -= await self._read(store, day_us, self.since_us)
                self.since_us = day_us
            await self.keep(store)
            await self._restore_budgets(store, clock.now_us())
        except StorageError as error:
            _logger.warning("Could not read the costs before the start: %s. The next start tries again", error)

    async def keep(self, store: Store) -> None:
        """Store the sums that wait, and what is counted; nothing if neither has changed.

        Raises:
            StorageError: they are not stored, and wait on.
        """
        if self.since_us is None:
            return  # the stored state could not be read: the next start counts from it on
        state = self._state()
        if not self.pending and state == self._stored:
            return
        lines, self.pending = self.pending, {}
        try:
            await store.costs.add(lines, key=KEY, state=state)
        except BaseException:
            for line, sums in lines.items():
                _join(self.pending, line, sums)
            raise
        self._stored = state

    def forget(self, user: str) -> None:
        """Forget a user, by the hash: in the sums that wait, and in the budgets. The store has its own ``forget``."""
        self.budgets.forget(user)
        lines, self.pending = self.pending, {}
        for line, sums in lines.items():
            _join(self.pending, line._replace(user="") if line.user == user else line, sums)

    def restore(self, stored: bytes | None) -> None:
        """Restore the stored state; the sums of an earlier version, which were in it, wait to be stored in the table.

        Raises:
            DamagedStateError: it cannot be read; nothing is counted yet.
        """
        if stored is None:
            return
        with parsing():
            state = json.loads(stored)
            lines = _earlier_lines(state.get("days", {}))
            gaps_us = [(int(since), int(until)) for since, until in state["gaps"]]
            since_us, until_us = int(state["since"]), int(state["until"])
        self.pending, self._gaps_us, self.since_us, self._until_us = lines, gaps_us, since_us, until_us

    def _state(self) -> bytes:
        prices = {"source": self.prices.source, "problem": self.prices.problem}
        state = {"since": self.since_us, "until": self._until_us, "gaps": self._gaps_us, "prices": prices}
        return json.dumps(state).encode()

    async def _restore_budgets(self, store: Store, now_us: int) -> None:
        today_us = now_us // DAY_US * DAY_US
        spent = [
            (kind, group.names[0], group.sums.micro_usd)
            for kind in PEOPLE
            for group in await store.costs.grouped(today_us, today_us + DAY_US, by=[kind])
        ]
        self.budgets.restore(spent)

    async def _priced(self, entries: list[CostEntry]) -> list[CostEntry]:
        """Return the entries with the prices of those that have tokens, a model and no money."""
        places = [place for place, entry in enumerate(entries) if entry.micro_usd is None and entry.model]
        uses = [_use(entries[place]) for place in places]
        for place, price in zip(places, await self.prices.micro_usd(uses), strict=True):
            entries[place] = entries[place]._replace(micro_usd=price)
        return entries

    def _add(self, entry: CostEntry) -> None:
        _join(self.pending, self._lines.of(entry), _sums(entry))

    async def _read(self, store: Store, since_us: int, until_us: int) -> int:
        """Count the stored operations of a time range, all or none; return how many were read."""
        read = 0
        lines: dict[CostKey, CostSums] = {}
        names = CostLines()
        async for operations in store.stream(None, since_us, until_us, rows=ROWS):
            found = [
                entry
                for one in operations
                if one.metadata and one.id <= self._last_id
                for entry in entries_of(one.service, one.operation, one.end_us, one.metadata, self.budgets.key)
            ]
            for entry in await self._priced(found):
                _join(lines, names.of(entry), _sums(entry))
            read += len(operations)
            await asyncio.sleep(PAUSE_S)
        if len(lines) > len(self.pending):  # the smaller one is added: this is one step, and must not block the loop
            lines, self.pending = self.pending, lines
        for line, sums in lines.items():
            _join(self.pending, line, sums)
        return read

    def _drop_future(self, now_us: int) -> None:
        """Drop what was counted while the clock was ahead, as the store does."""
        self.pending = {line: sums for line, sums in self.pending.items() if line.start_us <= now_us + DAY_US}
        self._gaps_us = [(since_us, until_us) for since_us, until_us in self._gaps_us if since_us <= now_us]
        self._until_us = min(self._until_us, now_us)
        if self.since_us is not None:
            self.since_us = min(self.since_us, now_us)


class CostLines:
    """Finds the line of each entry; of too many callers or models in one day, the last have a common name."""

    def __init__(self) -> None:
        self._named: dict[str, set[str]] = {"caller": set(), "model": set()}
        self._day = 0

    def of(self, entry: CostEntry) -> CostKey:
        """Return the line of an entry."""
        day = entry.end_us // DAY_US
        if day != self._day:
            self._day = day
            for names in self._named.values():
                names.clear()
        return CostKey(
            entry.end_us // HOUR_US * HOUR_US,
            entry.service,
            self._bounded("caller", entry.caller, MOST_CALLERS),
            self._bounded("model", entry.model, MOST_A_DAY),
            entry.guild,
            entry.user,
        )

    def _bounded(self, kind: str, name: str, most: int) -> str:
        """Return the name, or a common one if there are too many of this kind."""
        known = self._named[kind]
        if name and name not in known:
            if len(known) >= most:
                return OTHER
            known.add(name)
        return name


def _sums(entry: CostEntry) -> CostSums:
    tokens = (entry.tokens_in, entry.tokens_out, entry.cached_tokens)
    return CostSums(1, *tokens, entry.micro_usd or 0, int(entry.micro_usd is None))


def _join(lines: dict[CostKey, CostSums], line: CostKey, sums: CostSums) -> None:
    """Add to the sums of a line; if there are too many lines, without guild and user."""
    if line not in lines and len(lines) >= MOST_PENDING:
        line = line._replace(guild="", user="")
    lines.setdefault(line, CostSums()).add(sums)


def _use(entry: CostEntry) -> TokenUse:
    tokens = (entry.tokens_in, entry.tokens_out, entry.cached_tokens, entry.cache_write_tokens)
    return TokenUse(entry.model, *tokens, end_us=entry.end_us)


def _earlier_lines(days: Mapping[str, Sequence[Sequence[Any]]]) -> dict[CostKey, CostSums]:
    """Return the sums that an earlier version stored by day, service and model, with floating-point numbers."""
    lines: dict[CostKey, CostSums] = {}
    for number, day in days.items():
        for service, model, count, *sums in day:
            tokens_in, tokens_out, dollars = map(float, sums)
            if not math.isfinite(tokens_in + tokens_out + dollars):
                raise ValueError("a sum is not a finite number")
            line = CostKey(int(number) * DAY_US, str(service), model=str(model))
            amounts = CostSums(int(count), round(tokens_in), round(tokens_out), micro_usd=micro_usd(dollars))
            lines.setdefault(line, CostSums()).add(amounts)
    return lines
