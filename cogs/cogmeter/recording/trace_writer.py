"""Stores the traces that wait."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections import deque

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import TraceRecord

TRACES: Final = 200  # stored per flush

_logger = logging.getLogger("cogmeter.flusher")


async def store_traces(store: Store, waiting: deque[TraceRecord]) -> None:
    """Store the oldest waiting traces. No figure depends on them, so their failure is not a failed flush."""
    traces = list(itertools.islice(waiting, TRACES))
    try:
        await store.add_traces(traces)
    except StorageError as error:
        _logger.debug("%d traces wait for the store: %s", len(waiting), error)
        return
    except Exception:
        _logger.exception("Dropped %d traces that could not be stored", len(traces))
    # While they were written, a full deque may have dropped some of them, from the same end.
    stored = set(map(id, traces))
    while waiting and id(waiting[0]) in stored:
        waiting.popleft()
