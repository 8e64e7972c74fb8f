"""Adds up a range to the microsecond: whole minutes by their sums, and the minutes that it cuts by their operations.

``Store.totals`` widens a range to whole minutes. In a range of a minute or two, such as the time of an alert, that
would count much that happened outside of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import MINUTE_US, Outcome, Totals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cogmeter_storage.base import Store


def cuts_minutes(since_us: int, until_us: int, now_us: int) -> bool:
    """Return whether a range begins or ends inside a minute; one that ends now has no later operations."""
    return bool(since_us % MINUTE_US) or (until_us < now_us and bool(until_us % MINUTE_US))


async def exact_totals(
    store: Store,
    since_us: int,
    until_us: int,
    *,
    groups: Mapping[int, int],
    now_us: int,
    whole: Callable[[int, int], Awaitable[Totals]],
) -> Totals:
    """Return what ``Store.totals`` returns in one bin, of exactly this range while its operations are stored.

    ``whole`` reads a range of whole minutes. A minute whose operations have been cleaned up counts as a whole.

    Raises:
        StorageError: the store cannot be read.
    """
    oldest_us = (await store.status()).first_end_us
    if not groups or oldest_us is None or not cuts_minutes(since_us, until_us, now_us):
        return await whole(since_us, until_us)
    begin_us, end_us = since_us, until_us
    stored_us = oldest_us // MINUTE_US * MINUTE_US  # operations are cleaned up in whole hours or days
    if since_us >= stored_us:
        begin_us = -(-since_us // MINUTE_US) * MINUTE_US
    if stored_us <= until_us < now_us:
        end_us = until_us // MINUTE_US * MINUTE_US
    parts = [await whole(begin_us, end_us)] if begin_us < end_us else []
    for first_us, last_us in ((since_us, min(begin_us, until_us)), (max(end_us, begin_us), until_us)):
        if first_us < last_us:
            parts.append(await _of_operations(store, first_us, last_us, groups))
    return _added(parts, min(since_us, *(part.since_us for part in parts)), max(until_us, end_us))


async def _of_operations(store: Store, since_us: int, until_us: int, groups: Mapping[int, int]) -> Totals:
    names = {(series.service, series.operation): series.id for series in await store.series()}
    size = max(groups.values()) + 1
    outcomes = np.zeros((1, size, len(Outcome)), dtype=np.int64)
    sum_us, max_us = np.zeros((1, size), dtype=np.int64), np.zeros((1, size), dtype=np.int64)
    buckets = np.zeros((1, size, BUCKETS), dtype=np.int64)
    async for chunk in store.stream(list(groups), since_us, until_us):
        of = np.array([groups[names[one.service, one.operation]] for one in chunk])
        durations_us = np.array([one.duration_us for one in chunk], dtype=np.int64)
        np.add.at(outcomes[0], (of, np.array([int(one.outcome) for one in chunk])), 1)
        np.add.at(sum_us[0], of, durations_us)
        np.maximum.at(max_us[0], of, durations_us)
        np.add.at(buckets[0], (of, bucket_of(durations_us)), 1)
    return Totals(since_us, until_us, np.array([since_us]), outcomes, sum_us, max_us, buckets)


def _added(parts: Sequence[Totals], since_us: int, until_us: int) -> Totals:
    return Totals(
        since_us,
        until_us,
        np.array([since_us]),
        np.sum([part.outcomes for part in parts], axis=0),
        np.sum([part.sum_us for part in parts], axis=0),
        np.max([part.max_us for part in parts], axis=0),
        np.sum([part.buckets for part in parts], axis=0),
    )
