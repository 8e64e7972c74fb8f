"""What processes that share a store need from it: which of them leads, and what the others have recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter_storage.rollup import SealedSlot

LEASE_S: Final = 12.0  # after the last renewal, when another process may lead


class Lease(NamedTuple):
    """The lease of the leader, as a process sees it."""

    leads: bool  # this process has it
    left_s: float = math.inf  # until it ends, if it is not renewed
    token: int | None = None  # of the leader's writes; None: no other process writes, so there is nothing to check


class LiveMinute(NamedTuple):
    """The operations of one minute that one process has stored so far. A process may have several of one minute."""

    run: int  # of the process
    own: bool  # recorded by the process that reads it
    minute: SealedSlot


class LostLeadError(StorageError):
    """Another process leads. The write was refused."""

    def __init__(self) -> None:
        super().__init__("Another process leads the fleet and sends its alerts; nothing was stored.", permanent=False)


class ChangedAlertError(StorageError):
    """Another process has changed the alert. Nothing was stored: read it, and decide again."""

    def __init__(self, uid: str) -> None:
        super().__init__(f"Alert {uid} was changed by another process in the meantime.", permanent=False)
