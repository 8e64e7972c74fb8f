"""The processes that share a store."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Process:
    """The process that writes: one of the bot's fleet, known by its name over all of its starts."""

    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    version: str = ""  # of the bot
    shards: str = ""  # "0, 1", or empty


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The last start of a process, as the store knows it. Times are those of the store's own clock."""

    process: Process
    host: str
    pid: int
    started_us: int
    seen_us: int  # its last sign of life
    now_us: int  # when this was read
    ended: bool  # in an orderly way, or because it was silent for minutes
    last_end_us: int  # the end of its last operation, by its own clock; 0 without one
    orderly: bool = False  # it ended itself

    @property
    def lost(self) -> bool:
        """True if another process ended it, because it was silent for minutes."""
        return self.ended and not self.orderly

    @property
    def silent_us(self) -> int:
        """How long it has shown no sign of life."""
        return max(self.now_us - self.seen_us, 0)
