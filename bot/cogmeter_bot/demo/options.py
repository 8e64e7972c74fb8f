"""What a demo is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo runs. A port of 0 is any free one; ``database`` None is a temporary file."""

    port: int = 0  # of the simulated Discord
    dashboard_port: int = 0
    history_days: float = 7.0
    seed: int = 1
    database: Path | None = None
