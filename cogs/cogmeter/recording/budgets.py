"""The daily budgets of guilds and users: what each has spent today (UTC), in memory only.

A command asks before it spends: nothing here awaits or reads the database. Costs are counted about a second after an
operation has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.recording.people_hashes import person_hash
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST: Final = 50_000  # guilds and users whose costs of one day are remembered, about 8 MB
KINDS: Final = ("guild", "user")


@dataclass(frozen=True, slots=True)
class CostBudget:
    """What a guild or user has spent today, and may spend. Money is in millionths of a US dollar."""

    spent_micro_usd: int
    limit_micro_usd: int | None  # None: there is no budget

    @property
    def left_micro_usd(self) -> int | None:
        """What is left of the budget, at least 0; None without a budget."""
        return None if self.limit_micro_usd is None else max(self.limit_micro_usd - self.spent_micro_usd, 0)

    @property
    def share(self) -> float:
        """The used share of the budget: 1.0 is all of it; 0.0 without a budget."""
        return self.spent_micro_usd / self.limit_micro_usd if self.limit_micro_usd else 0.0

    @property
    def exceeded(self) -> bool:
        """True if nothing is left."""
        return self.left_micro_usd == 0

    def __bool__(self) -> bool:
        """Return whether something may be spent: ``if not cogmeter.budget(user=...): ...``."""
        return not self.exceeded


UNLIMITED: Final = CostBudget(0, None)


class Budgets:
    """The costs of the present day by guild and user, as keyed hashes, and their limits."""

    def __init__(self) -> None:
        self.key: bytes | None = None  # of the hashes; None: no monitor has started
        self.limits: dict[str, int | None] = dict.fromkeys(KINDS)  # micro-dollars per day by kind
        self._day = 0
        self._spent: dict[tuple[str, str], int] = {}

    def begin(self, key: bytes | None, *, guild_usd: float, user_usd: float) -> None:
        """Apply the settings: dollars per day, 0 for no budget."""
        self.key = key
        for kind, dollars in (("guild", guild_usd), ("user", user_usd)):
            self.limits[kind] = round(dollars * 1e6) or None

    def of(self, *, guild: int | str | None = None, user: int | str | None = None) -> CostBudget:
        """Return the budget of a guild, of a user, or of both: then the one of which less is left.

        Pass ids of Discord. It takes a few microseconds, never waits and never raises. Without a budget, or while no
        monitor runs, the result is true and has no limit.
        """
        found = [
            CostBudget(self.spent(kind, person_hash(self.key, kind, number)), self.limits[kind])
            for kind, number in (("guild", guild), ("user", user))
            if number is not None and self.key is not None
        ]
        limited = [one for one in found if one.limit_micro_usd is not None]
        return min(limited or found, key=lambda one: one.left_micro_usd or 0, default=UNLIMITED)

    def spent(self, kind: str, hashed: str) -> int:
        """Return what a guild or user has spent today, in micro-dollars."""
        return self._spent.get((kind, hashed), 0) if self._day == clock.now_us() // DAY_US else 0

    def add(self, end_us: int, guild: str, user: str, micro_usd: int) -> None:
        """Count the cost of an operation that ended today."""
        today = clock.now_us() // DAY_US
        if today != self._day:
            self._day = today
            self._spent.clear()
        if end_us // DAY_US != today:
            return
        for pair in (("guild", guild), ("user", user)):
            if pair[1] and micro_usd and (pair in self._spent or len(self._spent) < MOST):
                self._spent[pair] = self._spent.get(pair, 0) + micro_usd

    def restore(self, spent: Iterable[tuple[str, str, int]]) -> None:
        """Replace what is known of today by these kinds, hashes and micro-dollars, of the store."""
        self._day = clock.now_us() // DAY_US
        self._spent = {(kind, hashed): amount for kind, hashed, amount in spent if hashed}

    def forget(self, user: str) -> None:
        """Forget a user, by the hash."""
        self._spent.pop(("user", user), None)

    def shares(self) -> list[tuple[str, str, CostBudget]]:
        """Return kind, hash and budget of everybody who has spent something today and has a limit."""
        if self._day != clock.now_us() // DAY_US:
            return []
        return [
            (kind, hashed, CostBudget(amount, self.limits[kind]))
            for (kind, hashed), amount in self._spent.items()
            if self.limits[kind] is not None
        ]
