"""The input of one check: everything that the rules read, at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cogmeter.alerts.measurement.errors import RecentErrors
from cogmeter.alerts.measurement.gauges import GaugeHistory
from cogmeter.recording.budgets import Budgets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.costs import CostTotals
    from cogmeter.alerts.measurement.deviations import Deviation
    from cogmeter.alerts.measurement.history import LongWindows
    from cogmeter.alerts.measurement.running import LongRunning
    from cogmeter.alerts.measurement.window import Counts
    from cogmeter.alerts.model import GrownObjects, LoopState
    from cogmeter_storage.process import ProcessRecord


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The window's totals by service and by series, the long windows, the gauges. Durations in microseconds."""

    now_us: int
    span_s: float  # how much of the window has data
    up_s: float  # how long this process has been measuring
    services: Sequence[str]
    by_service: Counts  # by the place in ``services``
    buckets: NDArray[np.int32]  # [services, BUCKETS]
    top: int  # the last bucket with a count
    series: Sequence[tuple[str, str]]  # (service, operation)
    service_of: NDArray[np.int64]  # the place in ``services`` of each series
    by_series: Counts
    histograms_of: Callable[[NDArray[np.int64]], NDArray[np.int32]]  # of some series, [series, BUCKETS]
    history: LongWindows
    costs: CostTotals
    usual_per_minute: Mapping[int, NDArray[np.float64]]  # before each of some windows (seconds), by service
    burstiness: NDArray[np.float64]  # of each service's traffic, see ``WindowHistory.burstiness``
    silent_before: Collection[str] = ()  # services whose traffic was low when the last run ended
    gauges: GaugeHistory = field(default_factory=GaugeHistory)
    loops: Sequence[LoopState] = ()
    running: Sequence[LongRunning] = ()  # the oldest of each name, oldest first
    grown: GrownObjects | None = None
    longest_stall: tuple[float, str] | None = None  # milliseconds, and where
    errors: RecentErrors = field(default_factory=RecentErrors)
    budgets: Budgets = field(default_factory=Budgets)
    processes: Sequence[ProcessRecord] = ()  # those that share the store, also this one
    deviations: Mapping[str, Deviation] = field(default_factory=dict)  # by service
