"""The results of checks: the status of a component or service, and one line of a doctor page."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(enum.StrEnum):
    """The health of a component."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it works, with losses
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # it is still starting, or has nothing to judge yet

    @property
    def serves(self) -> bool:
        """True if an orchestrator should keep it running and send it work. False while it starts."""
        return self in {Status.HEALTHY, Status.DEGRADED}


_FROM_GOOD_TO_BAD = (Status.HEALTHY, Status.DEGRADED, Status.UNKNOWN, Status.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. Its reason is public: it has no path, no address, no id and no error text.

    ``age_s`` is the age in seconds of the data that the check uses: the last heartbeat, flush, write, sample or run.
    """

    name: str
    status: Status
    reason: str
    age_s: float | None = None

    def __post_init__(self) -> None:
        if self.age_s is not None:
            object.__setattr__(self, "age_s", max(self.age_s, 0.0))  # the wall clock may have jumped back


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The health of a service in the alert window; without operations, all fields but ``last_seen_us`` are empty."""

    check: Check
    operations: int = 0
    error_rate: float | None = None
    mean_us: float | None = None
    p95_us: float | None = None
    last_seen_us: int | None = None  # when its last operation ended, rounded to a sixtieth of the window


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst status; unknown without any. Unknown is worse than degraded, which at least works."""
    return max(statuses, key=_FROM_GOOD_TO_BAD.index, default=Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of a doctor page: the check, its result, and advice if it fails."""

    name: str
    well: bool
    text: str
    advice: str = ""
