"""An alert rule: its facts, the limits that it reads, and the readings that it builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from cogmeter.alerts.model import BOT, CRITICAL, NO_HISTORY, WARNING, Reading, Subject
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, TASKS, is_dependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.measurement.values import CountArray, Values
    from cogmeter.alerts.model import Limit
    from cogmeter.settings import Settings
    from cogmeter_storage.errors import ErrorKind

CRITICAL_FROM: Final = 1.6  # times the threshold; the guide's three examples fit this
RECOVERED_AT: Final = 0.8  # times the threshold
KEPT: Final = 0.5  # share of the minimum that keeps an alert active, so that it does not flap at the edge
ANY_RULE: Final = "*"
AT_LEAST: Final = "at or above"  # of rules whose breach begins at the threshold

# What the readings of a rule name.
SERVICE: Final = "service"
OPERATION: Final = "service, operation"
WHOLE_BOT: Final = "bot"
BOT_AND_SERVICE: Final = "bot, service"
LOOP: Final = "loop"
DEPENDENCY_SERVICE: Final = "dependency"
_ONLY_SERVICE: Final = {WHOLE_BOT: BOT, ACKNOWLEDGEMENT: ACKNOWLEDGEMENT}


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rule's limits as arrays, one value for each service or series; infinite where the rule is off."""

    threshold: NDArray[np.float64]
    recovery: NDArray[np.float64]
    min_operations: NDArray[np.int64]

    def at(self, places: NDArray[np.int64]) -> Bounds:
        """Return the limits at some places."""
        return Bounds(self.threshold[places], self.recovery[places], self.min_operations[places])


class RuleLimits(Protocol):
    """The limits in effect, as rules read them; ``thresholds.limits.Limits`` is the implementation."""

    settings: Settings

    def of(self, subject: Subject) -> Limit:
        """Return the limit of a subject."""
        ...

    def statistic_of(self, subject: Subject) -> str:
        """Return the statistic that is compared with the threshold."""
        ...

    def explicit(self, rule: str, *fields: str) -> Iterator[Subject]:
        """Yield the services and operations for which one of these fields was set by name."""
        ...

    def bounds(self, rule: str, services: Sequence[str]) -> Bounds:
        """Return the limits of services."""
        ...

    def bounds_by_series(self, rule: str, services: Sequence[str], series: Sequence[tuple[str, str]]) -> Bounds:
        """Return the limits of series."""
        ...

    def own_operations(self, rule: str, series: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Return the places of the series that have their own threshold: set by name, or calibrated."""
        ...


@dataclass(frozen=True, slots=True)
class GaugeCurve:
    """Gauges that the chart of an alert draws: of several (shards, scopes) the highest, or their total."""

    name: str  # on the chart: "gateway latency"
    unit: Literal["duration", "bytes", "count", "share"]  # a duration is in microseconds
    prefix: str  # of the gauges' names
    factor: float = 1.0  # from the gauge's unit to the curve's
    threshold_factor: float | None = 1.0  # from the rule's unit to the curve's; None: the threshold is not drawn
    total: bool = False


# The answer to which a finding about an alert of a rule leads.
LeadsTo: TypeAlias = Literal["errors", "stats", "slow", "alerts", "running", "doctor", "cost"]

# What the chart of an alert shows: response times or throughput with the threshold, the error rate, a gauge. On the
# plain timeline there is no threshold.
AlertChart: TypeAlias = (
    GaugeCurve | Literal["response time", "throughput", "error rate", "error rate without threshold", "timeline"]
)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """The counts of windows of one length, one value for each window; ``buckets`` is [windows, BUCKETS]."""

    operations: CountArray
    failures: CountArray
    sum_us: CountArray
    buckets: CountArray
    span_s: float
    statistic: str


@dataclass(frozen=True, slots=True)
class Replay:
    """How a rule is replayed from stored minutes: its values depend on the counts of one window alone."""

    values: Callable[[WindowCounts], Values]
    buckets: bool = False  # needs the histogram; with a statistic, only if that is a quantile
    chance: bool = False  # only more failures than chance explains are a breach, see failures.py
    operations: bool = False  # also replays each operation of a service, not only those with their own threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKind:
    """A kind of alert: how texts name it and write its values."""

    name: str
    title: str  # "Error rate"
    # share, share of usual, share of success, growth, ms, operations/min, factor, USD, USD per day, score, number.
    # Any other is a plural noun: "loops" is written "3 loops", "times in 10 min" "1 time in 10 min".
    unit: str
    digits: int = 3  # decimals of a value in JSON; a threshold has one more
    falling: bool = False  # a lower value is worse
    value_name: str = ""  # what a value is, in the past tense, where the title names an event: "Longest block"

    def is_worse(self, value: float, other: float) -> bool:
        """Return whether a value is worse than another value or limit."""
        return value < other if self.falling else value > other


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(AlertKind):
    """One alert rule with all its facts."""

    setting: str  # the field of Settings with its threshold; the field's range is the range of the threshold
    find: Callable[[Snapshot, RuleLimits], Iterable[Reading]]  # pure: what is beyond its recovery threshold
    about: str  # what its readings name
    next_step: str  # what an owner does about it: an imperative without a full stop
    next_step_by_message: Callable[[str], str] | None = None  # where it depends on what the alert's message names
    leads_to: LeadsTo  # the answer that shows more
    page: str = ""  # the dashboard's page with more and its part, "discord#blockers"; empty: that of ``leads_to``
    chart: AlertChart
    replay: Replay | None  # None: it reads gauges, several windows, or what was learned; no slot stores these
    compares: str = ""  # instead of "above" or "below", see ``comparison``
    threshold_unit: str = ""  # where the threshold is written in another unit than the values
    recovery: Callable[[float], float] = field(default=lambda threshold: RECOVERED_AT * threshold)
    for_s: float = 0.0  # how long the breach lasts before the alert fires, if the setting is shorter
    min_operations: int | None = None  # None: PERFORMANCE_ALERT_MIN_OPERATIONS; 0: it counts no operations
    # The share of the minimum of operations in the alert window that continues an alert: without them its value is not
    # known. None: a window without operations has a value, too.
    kept: float | None = None
    background: bool = True  # judges background services, also without a threshold of their own
    dependencies: bool = True  # judges the background services that are dependencies, too
    statistic_setting: str = ""  # the field of Settings with the statistic that it compares
    calibrated_from_s: float | None = None  # the history that a calibration of its default needs; None: it has none
    source: str = ""  # the service with its operations, where its readings name the bot
    counted: str = "operation"  # what is recorded under ``source``, in the singular
    slowest: bool = False  # the example of an incident is the slowest operation, not a failure
    error_kind: ErrorKind | None = None  # the error of an incident is the most frequent stored one of this kind
    harms_everyone: bool = False  # everybody who uses the bot notices
    one_error: bool = False  # its readings name a group of errors, see measurement.errors
    own_process: bool = False  # only a process itself can measure it: each one shares its readings with the leader
    degrades: bool = False  # users notice it: the public status page shows a critical alert as "degraded"
    explained_by: tuple[str, ...] = ()  # rules whose breach of the same service explains this one; ANY_RULE: all
    explained_by_bot: tuple[str, ...] = ()  # rules whose breach of the bot as a whole explains this one
    # How long after the other breach, by the reading's threshold; None: the default of ``Suppression``.
    explained_for_s: Callable[[float], float] | None = None

    @property
    def comparison(self) -> str:
        """The words before a threshold in a list: "above" 5%, "below" 10% of usual."""
        return self.compares or ("below" if self.falling else "above")

    @property
    def only_service(self) -> str:
        """The single service that the rule judges; empty if it judges every service."""
        return _ONLY_SERVICE.get(self.about, "")

    @property
    def by_operation(self) -> bool:
        """True if an operation can have its own limit."""
        return self.about in {OPERATION, LOOP}

    def next_step_of(self, message: str) -> str:
        """Return what an owner does about an alert with this message."""
        return self.next_step if self.next_step_by_message is None else self.next_step_by_message(message)

    def judges(self, service: str) -> bool:
        """Return whether the rule can have a reading of a service."""
        if self.about == DEPENDENCY_SERVICE:
            return not service or is_dependency(service)
        return service in (self.only_service or (TASKS if self.about == LOOP else service), "")

    def subject(self, service: str = BOT, operation: str = "") -> Subject:
        """Return what a reading of this rule is about."""
        return Subject(self.name, service, operation)

    def measured_service(self, service: str) -> str:
        """Return the service whose operations a reading of this service measures."""
        return self.source if self.source and service == BOT else service

    def beyond_recovery(self, value: float, limit: Limit) -> bool:
        """Return whether the rule is on, and the value is beyond its recovery threshold."""
        return bool(limit.threshold) and self.is_worse(value, limit.recovery)

    def reading(self, subject: Subject, value: float, limit: Limit, what: str, *, level: str = "") -> Reading:
        """Compare a value with its limit. ``what`` begins the message: "Error rate of 7.8%".

        The severity is the limit's own, else ``level``, else it depends on how far the value is beyond the threshold.
        """
        breached = self.is_worse(value, limit.threshold)
        verb = ("is below" if self.falling else "exceeds") if breached else "is still near"
        written, current = _written(self.unit, limit.threshold), _written(self.unit, value)
        if breached:
            what = what.replace(current, beyond(current, written, falling=self.falling), 1)
        text = f"{what} {verb} {_threshold_text(limit, written)}"
        level = limit.severity or level or severity(limit, value)
        return Reading(subject, value, limit.threshold, text, level, breached)


def _threshold_text(limit: Limit, value: str) -> str:
    """Return the threshold with what it is based on: "calibrated threshold of 17s"."""
    if limit.basis == NO_HISTORY:
        return f"threshold of {value}; {limit.basis}"
    return f"{limit.basis} threshold of {value}".lstrip()


def beyond(value: str, threshold: str, *, falling: bool = False) -> str:
    """Return a formatted value that is beyond a threshold: "just over 5s" if rounding made both equal."""
    return f"just {'under' if falling else 'over'} {value}" if value == threshold else value


def severity(limit: Limit, value: float) -> str:
    """Return the limit's own severity, else ``critical`` from 1.6 times the threshold on, else ``warning``."""
    return limit.severity or (CRITICAL if value >= CRITICAL_FROM * limit.threshold else WARNING)


def number(value: float) -> str:
    """Format with at most one decimal: 7.8, 5, 1,200."""
    return f"{value:,.1f}".removesuffix(".0")


def percent(share: float) -> str:
    """Format a share between 0 and 1: 7.8%, 0.04%."""
    return f"{share * 100:.2g}%" if 0 < share < 0.0005 else f"{number(share * 100)}%"


def duration(milliseconds: float) -> str:
    """Format as the guide's messages do: 145ms, 8.2s, 5s."""
    return f"{milliseconds:.0f}ms" if milliseconds < 1000 else f"{number(milliseconds / 1000)}s"


def dollars(amount: float) -> str:
    """Format an amount: $12.50."""
    return f"${amount:,.2f}"


def _written(unit: str, threshold: float) -> str:
    """Format a threshold for a message."""
    if unit == "factor":
        return f"{number(threshold)} times"
    forms = {"share": percent, "share of usual": percent, "growth": percent, "ms": duration, "USD": dollars}
    return forms.get(unit, number)(threshold)
