"""Operations as JSON objects, one a line, in order of their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.exporters.base import ROWS, Export, wanted_ids
from cogmeter.exporters.operations import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogmeter_storage.base import Store


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """See Exporter."""
    ids = await wanted_ids(store, export)
    async for operations in store.stream(ids, export.since_us, export.until_us, rows=ROWS):
        yield ("\n".join(as_json(operations)) + "\n").encode()
