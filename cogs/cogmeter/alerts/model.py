"""The records between rules and engine: subjects, limits and readings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cogmeter.recording import service_names

if TYPE_CHECKING:
    from collections.abc import Iterable

INFO: Final = "info"  # sent silently
WARNING: Final = "warning"
CRITICAL: Final = "critical"
SEVERITIES: Final = (INFO, WARNING, CRITICAL)  # from the least to the worst

BOT: Final = service_names.BOT
_STATES: Final = ("firing", "acknowledged", "pending", "muted")  # from the most urgent to the least

# Where the threshold of an untouched default comes from, see thresholds.calibration; empty: from the setting.
CALIBRATED: Final = "calibrated"
PROVISIONAL: Final = "provisional"  # from less than three days
NO_HISTORY: Final = "no history yet"  # the setting's, and a breach is information
_COUNTS: Final = re.compile(r" \(([\d,]+) of ([\d,]+) failed\)$")
FLAP_FROM: Final = 3  # see ``lifecycle.subject_state.Policy``
FLAP_WINDOW_S: Final = 3_600.0
FLAP_CALM_S: Final = 600.0
_CALM: Final = " (no breach now)"  # at the end of an active alert's message

# Why the last check could not compare an active alert's value, before ``_CALM``, which earlier versions know.
NO_OPERATIONS: Final = "no operations"
TOO_FEW_OPERATIONS: Final = "too few operations"
TOO_FEW_FAILURES: Final = "too few failures"  # of enough operations: a few may be chance
WITH_SERVICE: Final = "judged with its service"  # its only operation: the service's alert is about both
_REASONS: Final = (NO_OPERATIONS, TOO_FEW_OPERATIONS, TOO_FEW_FAILURES, WITH_SERVICE)
_NOT_JUDGED: Final = re.compile(rf" \(({'|'.join(_REASONS)})\)$")


class ListedAlert(Protocol):
    """An active alert as far as its place in lists depends on it: a stored one, or one of the API."""

    @property
    def state(self) -> str: ...  # noqa: D102 - as in Alert
    @property
    def severity(self) -> str: ...  # noqa: D102 - as in Alert
    @property
    def started_us(self) -> int: ...  # noqa: D102 - as in Alert


A = TypeVar("A", bound=ListedAlert)


def by_urgency(alerts: Iterable[A]) -> list[A]:
    """Return active alerts in the order of every list: firing ones first, then the worst, then the newest."""

    def key(alert: A) -> tuple[int, int, int]:
        state = _STATES.index(alert.state) if alert.state in _STATES else len(_STATES)
        return state, -SEVERITIES.index(alert.severity) if alert.severity in SEVERITIES else 1, -alert.started_us

    return sorted(alerts, key=key)


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a reading: a rule's name, a service, and an operation (empty: the service as a whole)."""

    rule: str
    service: str
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of one subject. ``threshold`` and ``recovery`` are in the rule's unit; a threshold of 0 is off."""

    threshold: float
    recovery: float  # the alert recovers at this value, or on its better side
    for_s: float  # how long the breach lasts before the alert fires
    recovery_s: float  # how long it is over before the alert resolves
    min_operations: int  # with fewer of them in the window there is no reading
    severity: str = ""  # one of SEVERITIES; empty: by how far the value is beyond the threshold
    basis: str = ""  # CALIBRATED, PROVISIONAL, NO_HISTORY, or empty


@dataclass(frozen=True, slots=True)
class Reading:
    """A subject beyond its recovery threshold now. A subject without a reading is recovered, or unknown.

    ``breached`` is False between the recovery threshold and the threshold, and if another reading explains this
    one: it raises no alert, and keeps an active one.
    """

    subject: Subject
    current: float
    threshold: float
    message: str  # with a capital and without a full stop: "Error rate of 7.8% exceeds threshold of 5%"
    severity: str
    breached: bool = True
    operations: int = 0  # that were measured; 0 for a rule that counts none
    failures: int = 0  # of these

    @property
    def text(self) -> str:
        """The message with its counts, which are of the same moment: an alert's message."""
        return with_counts(self.message, self.failures, self.operations)


def with_counts(message: str, failures: int, operations: int) -> str:
    """Add to a message the operations that were measured, if there are any."""
    return f"{message} ({failures:,} of {operations:,} failed)" if operations else message


def split_counts(message: str) -> tuple[str, tuple[int, int] | None]:
    """Split the message of an alert into that of its reading, and (failures, operations); None without counts."""
    if is_calm(message):
        message = _NOT_JUDGED.sub("", message.removesuffix(_CALM))
    found = _COUNTS.search(message)
    if found is None:
        return message, None
    failures, operations = (int(number.replace(",", "")) for number in found.groups())
    return message[: found.start()], (failures, operations)


def calm(message: str, not_judged: str = "") -> str:
    """Return the message of an active alert that the last check found no breach of: its figures are of before.

    ``not_judged`` is why the check could not compare the value: NO_OPERATIONS and the like; empty: it could.
    """
    return split_counts(message)[0] + (f" ({not_judged})" if not_judged else "") + _CALM


def is_calm(message: str) -> bool:
    """Return True if the last check found no breach."""
    return message.endswith(_CALM)


def not_judged(message: str) -> str:
    """Return why the last check could not compare the value of an active alert; empty if it could."""
    found = _NOT_JUDGED.search(message.removesuffix(_CALM)) if is_calm(message) else None
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class GrownObjects:
    """The live objects and resources that grew in memory within a time, the largest first; often none."""

    span_s: float
    names: tuple[str, ...]  # "cogs.music.Music.queue (list, from 12,000 to 1,300,000 items)"

    def text(self, most: int) -> str:
        """Return "grew in the last hour: dict +1,200,000 (Music.history)"; empty if nothing grew."""
        if not self.names:
            return ""
        minutes = round(self.span_s / 60)
        span = "hour" if 55 <= minutes <= 65 else f"{minutes} min"
        more = f" and {len(self.names) - most} more" if len(self.names) > most else ""
        return f"grew in the last {span}: {', '.join(self.names[:most])}{more}"


@dataclass(frozen=True, slots=True)
class LoopState:
    """A background loop or scheduled job that is dead or overdue."""

    name: str  # the name of its operations in discord.tasks
    dead: bool  # ended by an error; else overdue
    overdue_s: float  # how long ago its next iteration was due; 0 for a dead one
    text: str  # the reason
