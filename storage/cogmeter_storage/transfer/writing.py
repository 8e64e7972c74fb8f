"""The interface of a store that a transfer fills."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.sql.session import Session
    from cogmeter_storage.transfer.reading import Clocks, TransferReader
    from cogmeter_storage.transfer.tables import TransferTable


class TransferWriter(Protocol):
    """A store that is being filled. All methods but ``reader`` are parts of the caller's transaction."""

    name: str
    session: Session
    run: int  # of the operations, in a store of many processes; 0 in others

    @abstractmethod
    def begin(self) -> None:
        """Begin the run of the copied operations."""

    @abstractmethod
    def insert(self, table: TransferTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of a table."""

    @abstractmethod
    def insert_operations(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of OPERATION_COLUMNS."""

    @abstractmethod
    def insert_slots(self, slots: Sequence[tuple[SealedSlot, bool]]) -> None:
        """Insert slots, each with whether a coarser one contains it."""

    @abstractmethod
    def finish(self, last_ids: Mapping[str, int], clocks: Clocks) -> None:
        """Continue sequences of ids after these, and set the position of the writer."""

    @abstractmethod
    def reader(self) -> AbstractContextManager[TransferReader]:
        """Return a reader of the same store, outside of a transaction."""
