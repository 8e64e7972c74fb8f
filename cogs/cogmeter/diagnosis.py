"""The results of checks: the status of a component, service or day, a line of a doctor page, what needs attention."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


DOWN_DAY_US: Final = 3_600_000_000  # a day with this much downtime is shown as down, with less as degraded
DEGRADED_DAY_US: Final = 300_000_000
MOST_SHARDS: Final = 64  # shards that have their own gauges
STALE_S: Final = 60.0  # age of a shard's last heartbeat from which it is out of date; one is due every 41 s


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
    without_alerts: Status | None = None  # its status without the alerts that made it worse; None: none did

    @property
    def label(self) -> str:
        """The name in texts."""
        return "event loop" if self.name == "loop" else self.name

    @property
    def serving(self) -> Status:
        """The status for an orchestrator: an alert makes it degraded at most, as a restart does not help."""
        return self.status if self.without_alerts is None else worst((self.without_alerts, Status.DEGRADED))

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
    listed: bool = False  # also where passed checks are only counted
    known: bool = True  # False: it did not fail, but there was nothing to judge


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs attention: one sentence with its number, and the next step. Both are plain text."""

    severity: str  # info, warning or critical
    people: int | None  # users affected; None: not known
    text: str  # without a full stop
    next_step: str  # an imperative without a full stop
    subject: tuple[str, str] | None  # service and operation ("": the service as a whole); None: the bot as a whole
    # What shows more: errors, error:12, stats, slow, alerts, running, doctor, report, cost, compare:marker:7:24h.
    target: str
    alert: str = ""  # uid of the active alert that it is about
    page: str = ""  # the dashboard's page with more and its part, "discord#blockers"; empty: that of ``target``


MOST: Final = 3  # findings unless more are asked for
EVERY: Final = 100  # findings where all are asked for


class ConcernList(list[Concern]):
    """The findings that matter most, worst first, and how many more there are."""

    def __init__(self, concerns: Iterable[Concern] = (), left_out: int = 0) -> None:
        super().__init__(concerns)
        self.left_out = left_out


def left_out_text(left_out: int) -> str:
    """Return "and 2 more findings"; empty if none is left out."""
    return f"and {left_out:,} more finding{'' if left_out == 1 else 's'}" if left_out else ""


def all_findings_text(concerns: ConcernList) -> str:
    """Return what leads to the whole list: "All 5 findings"."""
    return f"All {len(concerns) + concerns.left_out:,} findings"


def step_text(next_step: str, command: str) -> str:
    """Return the next step with its command: "See the error: `/perf errors`", where a page has a link to open."""
    if next_step.startswith("Open "):
        return f"See {next_step.removeprefix('Open ')}: {command}"
    return f"{next_step}. See {command}"


NO_CONCERN = "Nothing needs attention"
_OF_SEVERITY = {"info": Status.HEALTHY, "warning": Status.DEGRADED, "critical": Status.UNHEALTHY}


def status_of(severity: str) -> Status:
    """Return the status that an alert or finding of this severity means: healthy for information."""
    return _OF_SEVERITY.get(severity, Status.DEGRADED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of the bot now: the worst of its active alerts, its services and its components."""

    status: Status
    text: str  # "2 active alerts (1 critical); 1 service unhealthy (graph); 8 of 9 component checks pass"

    @property
    def alerts(self) -> str:
        """The first part of the text: ``2 active alerts (1 critical)``."""
        return self.text.partition(";")[0]


class PublicState(enum.StrEnum):
    """The state of the bot for people outside."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class DayUptime:
    """The uptime of one day in UTC; without observed time, nothing is known about the day."""

    day: int  # days since 1970
    observed_us: int = 0
    down_us: int = 0
    degraded_us: int = 0

    @property
    def share(self) -> float | None:
        """The share of the observed time in which the bot was up; a degraded bot is up."""
        return 1 - self.down_us / self.observed_us if self.observed_us else None

    @property
    def state(self) -> PublicState | None:
        """The state that the day's bar shows."""
        if not self.observed_us:
            return None
        if self.down_us >= DOWN_DAY_US:
            return PublicState.DOWN
        return PublicState.DEGRADED if self.down_us or self.degraded_us >= DEGRADED_DAY_US else PublicState.UP


@dataclass(frozen=True, slots=True)
class ShardState:
    """The connection of one shard."""

    number: int
    problem: str  # "is not connected"; empty if it works
    latency_us: float | None = None


@dataclass(frozen=True, slots=True)
class StateItem:
    """One service, loop, shard or part of the bot, with its status and its most important figures."""

    name: str
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class StateArea:
    """A part of the bot's state: its services, its loops, its shards."""

    name: str
    items: tuple[StateItem, ...]  # worst first

    @property
    def counts(self) -> dict[Status, int]:
        """The number of items by status, worst first, without those that no item has."""
        statuses = [item.status for item in self.items]
        return {status: statuses.count(status) for status in WORST_FIRST if status in statuses}


@dataclass(frozen=True, slots=True)
class BotState:
    """The state of the whole bot at one moment."""

    at_us: int
    verdict: Verdict
    areas: tuple[StateArea, ...]

    @property
    def problems(self) -> list[tuple[str, StateItem]]:
        """The degraded and unhealthy items with the names of their areas, unhealthy ones first."""
        bad = [(area.name, item) for area in self.areas for item in area.items if item.status in BAD]
        return sorted(bad, key=lambda pair: pair[1].status is not Status.UNHEALTHY)


BAD: Final = frozenset({Status.DEGRADED, Status.UNHEALTHY})
WORST_FIRST: Final = (Status.UNHEALTHY, Status.DEGRADED, Status.HEALTHY, Status.UNKNOWN)  # of items: no data comes last
