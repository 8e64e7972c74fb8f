"""When deliveries are attempted, and how each attempt's result is stored."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.base import SendRate
    from cogmeter_storage.alerting import Delivery
    from cogmeter_storage.base import Store

FIRST_S, LONGEST_S = 5.0, 600.0
SHORTEST_S = 1.0
LONGEST_RETRY_AFTER_S = 3_600.0  # a target that requires a longer pause is tried again after this

_logger = logging.getLogger("cogmeter.notifiers")


def delay_us(attempts: int, *, retry_after_s: float | None = None) -> int:
    """Return the delay after this number of attempts: a random time below a limit that doubles with each.

    Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015), so that deliveries that
    failed together are not retried together. The delay is at least the pause that the target requires.
    """
    limit_s = min(LONGEST_S, FIRST_S * 2 ** min(max(attempts - 1, 0), 20))
    drawn_s = random.uniform(SHORTEST_S, limit_s)  # noqa: S311 - spreads load, guards nothing
    return int(max(drawn_s, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)) * 1e6)


class TokenBucket:
    """The tokens of one target: full at first, refilled with time. It reads no clock; callers pass the time."""

    def __init__(self, rate: SendRate | None) -> None:
        """Without a ``rate`` there is always a token."""
        self._rate = rate
        self._tokens = float(rate.burst) if rate else 1.0
        self._at_us: int | None = None
        self._closed_until_us = 0

    def ready_us(self, now_us: int) -> int:
        """Return the time from which there is a token: ``now_us`` or earlier if there is one now."""
        self._refill(now_us)
        missing_s = 0.0 if self._rate is None else max(1.0 - self._tokens, 0.0) / self._rate.per_s
        return max(now_us + int(missing_s * 1e6), self._closed_until_us)

    def take(self, now_us: int) -> None:
        """Use a token."""
        self._refill(now_us)
        if self._rate is not None:
            self._tokens -= 1.0

    def close(self, until_us: int) -> None:
        """Have no token before this time, because the target requires a pause."""
        self._closed_until_us = max(until_us, self._closed_until_us)

    def _refill(self, now_us: int) -> None:
        # A clock that was set back must not stop the target for as long.
        passed_us = 0 if self._at_us is None else max(now_us - self._at_us, 0)
        if self._at_us is not None and now_us < self._at_us:
            self._closed_until_us = 0
        self._at_us = now_us
        if self._rate is not None:
            self._tokens = min(self._tokens + passed_us / 1e6 * self._rate.per_s, float(self._rate.burst))


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt; ``outcome`` is one of those of ``AlertStore.end``."""

    outcome: str
    error: str = ""
    due_us: int | None = None
    receipt: str | None = None


class AttemptLog:
    """The results of one target's attempts. It keeps a result that cannot be stored, so nothing is sent twice."""

    def __init__(self, store: Callable[[], Store], clock: Callable[[], int]) -> None:
        """``store`` returns the present store, ``clock`` the time in microseconds since 1970."""
        self._store = store
        self._clock = clock
        self._unsaved: tuple[Store, Delivery, AttemptResult] | None = None
        self._refused: dict[int, Store] = {}

    async def due(self, target: str, now_us: int, *, limit: int) -> list[Delivery]:
        """Return the due deliveries of a target, without those whose end the store refuses to record.

        Raises:
            StorageError: it cannot be read now.
        """
        store = self._store()
        deliveries = await store.alerting.due(now_us, target=target, limit=limit + len(self._refused))
        return [delivery for delivery in deliveries if self._refused.get(delivery.id) is not store][:limit]

    async def save(self, store: Store, delivery: Delivery, result: AttemptResult) -> None:
        """Store the result of an attempt at a delivery that was read from ``store``.

        Raises:
            StorageError: not now. Begin nothing else until ``retry`` succeeds.
        """
        self._unsaved = (store, delivery, result)
        await self.retry()

    async def retry(self) -> None:
        """Store the result that is not stored yet, if any; raises like ``save``."""
        if self._unsaved is None:
            return
        store, delivery, result = self._unsaved
        if store is self._store():  # otherwise the delivery is gone with the replaced store
            await self._end(store, delivery, result)
        self._unsaved = None

    async def _end(self, store: Store, delivery: Delivery, result: AttemptResult) -> None:
        try:
            await store.alerting.end(
                delivery.id,
                outcome=result.outcome,
                now_us=self._clock(),
                error=result.error,
                due_us=result.due_us,
                receipt=result.receipt,
            )
        except StorageError as error:
            if not error.permanent:
                raise
            # It had ended already, or the store is broken: then the next start checks whether it arrived.
            self._refused[delivery.id] = store
            _logger.warning("Could not store the result of delivery %d (%s): %s", delivery.id, result.outcome, error)
