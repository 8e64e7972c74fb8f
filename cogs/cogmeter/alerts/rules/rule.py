"""What a rule is: its name, where its threshold comes from, and the function that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import CRITICAL, WARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.model import Limit, Reading
    from cogmeter.alerts.thresholds.limits import Limits

CRITICAL_FROM: Final = 1.6  # times the threshold; the guide's three examples fit this
SERVICE: Final = "service"
OPERATION: Final = "service, operation"
WHOLE_BOT: Final = "bot"
LOOP: Final = "loop"
RECOVERED_AT: Final = 0.8  # times the threshold


def below(threshold: float) -> float:
    """The recovery threshold of a rule that alerts above its threshold."""
    return RECOVERED_AT * threshold


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``find`` is pure: what is beyond its recovery threshold in this view, under these limits."""

    name: str
    setting: str  # the field of Settings that its threshold comes from; its limits are the threshold's, too
    unit: str  # share, ms, a minute, times, loops, USD, score
    find: Callable[[Snapshot, Limits], Iterable[Reading]]
    about: str = SERVICE  # what its readings are about
    recovery: Callable[[float], float] = below
    for_s: float = 0.0  # a breach lasts at least so long before it is told, if the setting asks for less
    min_operations: int | None = None  # None: PERFORMANCE_ALERT_MIN_OPERATIONS; 0: it counts no operations
    background: bool = True  # whether it reads what runs in the background without being told so by name


def severity(limit: Limit, current: float, critical_from: float = CRITICAL_FROM) -> str:
    """The limit's own severity, or ``critical`` from so many times the threshold on, else ``warning``."""
    return limit.severity or (CRITICAL if current >= critical_from * limit.threshold else WARNING)
