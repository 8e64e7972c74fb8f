"""Notes in the outbox how each attempt ended; what the store does not take at once is kept, and offered again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter_storage.alerting import Delivery
    from cogmeter_storage.base import Store

_logger = logging.getLogger("cogmeter.notifiers")


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended, in the words of ``AlertStore.end``."""

    outcome: str
    error: str = ""
    due_us: int | None = None
    receipt: str | None = None


class AttemptLog:
    """The ends of one target's attempts, one at a time: nothing is told twice because the store was busy."""

    def __init__(self, store: Callable[[], Store], clock: Callable[[], int]) -> None:
        """``store`` gives the present store, ``clock`` the time in microseconds since 1970."""
        self._store = store
        self._clock = clock
        self._open: tuple[Store, Delivery, AttemptResult] | None = None
        self._refused: dict[int, Store] = {}

    async def due(self, target: str, now_us: int, *, limit: int) -> list[Delivery]:
        """What is due to a target, without what has ended and is given again by a store that would not note it.

        Raises:
            StorageError: it cannot be read now.
        """
        store = self._store()
        found = await store.alerting.due(now_us, target=target, limit=limit + len(self._refused))
        return [one for one in found if self._refused.get(one.id) is not store][:limit]

    async def note(self, store: Store, delivery: Delivery, end: AttemptResult) -> None:
        """Store the end of an attempt that was taken from ``store``.

        Raises:
            StorageError: not now; ``settle`` tries it again, and nothing else should be begun before.
        """
        self._open = (store, delivery, end)
        await self.settle()

    async def settle(self) -> None:
        """Store what is still open, if anything; raises like ``note``."""
        if self._open is None:
            return
        store, delivery, end = self._open
        if store is self._store():  # else it went with a store that was replaced
            await self._end(store, delivery, end)
        self._open = None

    async def _end(self, store: Store, delivery: Delivery, end: AttemptResult) -> None:
        try:
            await store.alerting.end(
                delivery.id,
                outcome=end.outcome,
                now_us=self._clock(),
                error=end.error,
                due_us=end.due_us,
                receipt=end.receipt,
            )
        except StorageError as error:
            if not error.permanent:
                raise
            # It had ended already, or the store is broken: then the next start looks whether it arrived.
            self._refused[delivery.id] = store
            _logger.warning("The end of delivery %d (%s) was not stored: %s", delivery.id, end.outcome, error)
