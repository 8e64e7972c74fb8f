"""A store that counts what an export reads from it, for a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from cogmeter_storage import Store
    from cogmeter_storage.model import OperationRecord


class CountingStore:
    """A store that counts the operations that are streamed from it."""

    def __init__(self, store: Store) -> None:
        self.operations = 0
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def stream(
        self, series: Collection[int] | None, since_us: int, until_us: int, *, rows: int = 1_000
    ) -> AsyncIterator[list[OperationRecord]]:
        """Implement Store.stream."""
        async for chunk in self._store.stream(series, since_us, until_us, rows=rows):
            self.operations += len(chunk)
            yield chunk
