"""What one check sees: everything that the rules read, taken at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cogmeter.alerts.gauges import Gauges
from cogmeter.services import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.costs import Costs
    from cogmeter.alerts.history import History
    from cogmeter.alerts.model import LoopState
    from cogmeter.alerts.window import Counts


@dataclass(frozen=True, slots=True)
class View:
    """The window's totals by service and by series, the long windows, the gauges. Durations in microseconds."""

    now_us: int
    span_s: float  # how much of the window there is data for
    up_s: float  # how long this process has been measuring
    services: Sequence[str]
    by_service: Counts  # by the place in ``services``
    buckets: NDArray[np.int32]  # [services, BUCKETS]
    series: Sequence[tuple[str, str]]  # (service, operation)
    service_of: NDArray[np.int64]  # the place in ``services`` of each series
    by_series: Counts
    buckets_of: Callable[[int], NDArray[np.int64]]  # of one series
    history: History
    costs: Costs
    gauges: Gauges = field(default_factory=Gauges)
    loops: Sequence[LoopState] = ()
    longest_stall: tuple[float, str] | None = None  # milliseconds, and where

    def front(self) -> NDArray[np.bool_]:
        """Which services are asked for by people."""
        return np.array([service not in BACKGROUND for service in self.services], dtype=np.bool_)
