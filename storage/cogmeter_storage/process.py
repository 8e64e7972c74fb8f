"""How a process is known among those that share a store."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Process:
    """The process that writes: one of the bot's fleet, known by its name over all of its starts."""

    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    version: str = ""
    shards: str = ""
