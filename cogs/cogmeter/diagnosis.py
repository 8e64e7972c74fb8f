"""The results of checks: the status of a component or service, and one line of a doctor page."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(enum.StrEnum):
    """How a component is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it serves, with losses
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # nothing can be said yet: it is still starting, or nothing happened

    @property
    def serves(self) -> bool:
        """Whether an orchestrator should let it go on, and send it work: not while it is starting."""
        return self in {Status.HEALTHY, Status.DEGRADED}


_FROM_GOOD_TO_BAD = (Status.HEALTHY, Status.DEGRADED, Status.UNKNOWN, Status.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Check:
    """The judgement on one component. Its reason is for everybody to read: no path, no address, no id, no error text.

    ``age_s`` is the age of what it rests on, in seconds: of the last heartbeat, flush, write, sample or run.
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
    """One service within the window of the alerts; without operations in it, all but ``last_seen_us`` is empty."""

    check: Check
    operations: int = 0
    error_rate: float | None = None
    mean_us: float | None = None
    p95_us: float | None = None
    last_seen_us: int | None = None  # when its last operation ended, to a sixtieth of the window


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; unknown if there is none. Unknown is worse than degraded: nobody has seen it work."""
    return max(statuses, key=_FROM_GOOD_TO_BAD.index, default=Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a doctor page: what was looked at, how it is, and what to do if it is not well."""

    name: str
    well: bool
    text: str
    advice: str = ""
