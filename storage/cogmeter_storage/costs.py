"""The stored costs: sums of tokens and money by hour, service, caller, model, guild and user; the CostStore protocol.

Names contain their unit: ``micro_usd`` is millionths of a US dollar, always whole; ``*_us`` is microseconds since
1970-01-01 UTC. No id of a user or guild reaches the store: it gets keyed hashes of eight characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

CostField: TypeAlias = Literal["service", "caller", "model", "guild", "user"]
COST_FIELDS: Final[tuple[CostField, ...]] = ("service", "caller", "model", "guild", "user")


class CostKey(NamedTuple):
    """What tokens and money were spent by; an empty text is none or unknown."""

    start_us: int  # the hour in which the operations ended
    service: str
    caller: str = ""  # "/ask", "button Shop.buy", "reply on_message"
    model: str = ""
    guild: str = ""  # a keyed hash
    user: str = ""  # a keyed hash


@dataclass(slots=True)
class CostSums:
    """The sums of several operations."""

    operations: int = 0
    tokens_in: int = 0  # cached ones included
    tokens_out: int = 0
    cached_tokens: int = 0  # the part of tokens_in that was read from a cache
    micro_usd: int = 0
    unpriced: int = 0  # operations with tokens whose model has no known price

    def add(self, other: CostSums) -> None:
        """Add other sums."""
        self.operations += other.operations
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.cached_tokens += other.cached_tokens
        self.micro_usd += other.micro_usd
        self.unpriced += other.unpriced


class CostGroup(NamedTuple):
    """The sums of one group in one step."""

    start_us: int  # of the step
    names: tuple[str, ...]  # one for each field that the query groups by
    sums: CostSums


class CostStore(Protocol):
    """The stored costs: ``store.costs``. Every method may raise StorageError, as in Store.

    Hours are folded into days (UTC) once they are two whole days old. Both are kept as long as the hours of operations.
    """

    async def add(self, lines: Mapping[CostKey, CostSums], *, key: str, state: bytes) -> None:
        """Add sums, and store a value under a key like ``Store.set_value``, in one transaction.

        The value says what is counted, so that after a crash nothing is counted twice or missed. A cancelled call has
        stored everything or nothing. Raises ValueError for a start that is not a whole hour, or a negative sum.
        """
        ...

    async def grouped(
        self,
        since_us: int,
        until_us: int,
        *,
        by: Sequence[CostField] = (),
        step_us: int | None = None,
        services: Collection[str] | None = None,
    ) -> list[CostGroup]:
        """Return the sums of the hours and days that start in the range, by these fields and by step, in this order.

        Without ``step_us`` there is one step, which starts at ``since_us``; steps are multiples of it since 1970.
        ``services`` (None: all) filters. Groups without operations are left out.
        """
        ...

    async def first_us(self) -> int | None:
        """Return the start of the first hour or day with costs; None without any."""
        ...

    async def forget(self, user: str) -> int:
        """Remove the hash of a user from all sums, which stay the same; return how many rows had it."""
        ...
