"""The stored records of alerting (alerts, changes, deliveries, mutes, audit entries) and the AlertStore protocol."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class AlertState(enum.StrEnum):
    """The state of an alert; the values are stored and shown."""

    PENDING = "pending"  # beyond the threshold, but not for long enough
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"  # a person handles it
    MUTED = "muted"  # beyond the threshold; recorded but not sent
    RESOLVED = "resolved"

    @property
    def active(self) -> bool:
        """True while the value is beyond the threshold."""
        return self is not AlertState.RESOLVED


ACTIVE = tuple(state for state in AlertState if state.active)
SENT = frozenset({AlertState.FIRING, AlertState.ACKNOWLEDGED})  # active, and sent to the targets
SETTING_PREFIX = "setting:"  # of an override's key that names a setting and not a threshold


@dataclass(frozen=True, slots=True)
class Alert:
    """One breach of a rule's threshold from the first measurement to the end; the record changes over time.

    ``current``, ``worst`` and ``threshold`` are finite or infinite numbers in the rule's unit. ``worst`` is the value
    farthest beyond the threshold.
    """

    uid: str  # assigned by the engine, globally unique; used by buttons, webhooks and groups
    rule: str
    service: str
    operation: str  # empty: the service as a whole
    state: AlertState
    severity: str  # info, warning, critical
    message: str  # of the newest measurement; may end with its counts
    threshold: float
    current: float
    worst: float
    started_us: int  # first measurement beyond the threshold
    seen_us: int  # last measurement
    changed_us: int  # last change of the state
    fired_us: int | None = None  # first notification
    acknowledged_us: int | None = None
    acknowledged_by: str = ""  # a display name
    resolved_us: int | None = None
    muted_until_us: int | None = None
    reminded_us: int | None = None
    escalated: bool = False
    flapping: bool = False  # it fired and resolved several times within a short time
    group: str = ""  # uid of the alert that represents its group
    version: int = 0  # number of stored changes; set by the store
    id: int = 0  # assigned by the store, shown as "Alert 12"


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A stored change of an alert. ``kind`` is the event, ``state`` the alert's state after it."""

    alert: str  # its uid
    kind: str  # fired, escalated, reminded, acknowledged, muted, unmuted, worsened, eased, flapping, joined, resolved
    state: AlertState
    severity: str
    message: str
    current: float
    threshold: float
    at_us: int
    actor: str = ""  # display name of a person; empty: the engine
    note: str = ""
    id: int = 0  # assigned by the store

    @classmethod
    def of(cls, alert: Alert, kind: str, at_us: int, *, actor: str = "", note: str = "") -> AlertChange:
        """Return the change to the alert's present state."""
        return cls(
            alert=alert.uid,
            kind=kind,
            state=alert.state,
            severity=alert.severity,
            message=alert.message,
            current=alert.current,
            threshold=alert.threshold,
            at_us=at_us,
            actor=actor,
            note=note,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One unit to store: the alert as it is now, the change, and the targets to notify.

    Without a ``change``, only the alert's own values are updated.
    """

    alert: Alert
    change: AlertChange | None = None
    targets: tuple[str, ...] = ()  # notifiers by name; each gets a delivery


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change on its way to one target, with the alert as it is now."""

    id: int
    target: str
    change: AlertChange
    alert: Alert
    attempts: int  # started so far
    due_us: int
    begun_us: int | None  # start of an attempt without a stored result: it may have arrived
    receipt: str | None  # the target's last reference for this alert, such as a message id
    superseded: bool  # a later change of the same alert waits for the same target


@dataclass(frozen=True, slots=True)
class Attempt:
    """The record of one attempt at a delivery."""

    delivery: int
    target: str
    alert: str
    at_us: int
    took_us: int
    outcome: str  # sent, retry, failed, superseded
    error: str = ""


@dataclass(frozen=True, slots=True)
class Mute:
    """A time in which alerts are recorded but not sent. Empty ``service`` or ``rule``: all of them."""

    service: str
    rule: str
    since_us: int
    until_us: int
    actor: str
    reason: str = ""
    id: int = 0  # assigned by the store

    def covers(self, rule: str, service: str, at_us: int) -> bool:
        """Return True if the mute applies to this rule and service at this time."""
        return self.since_us <= at_us < self.until_us and self.rule in {"", rule} and self.service in {"", service}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change by a person: who, when, from which value to which."""

    at_us: int
    actor: str
    # "set" or "reset" of a "threshold" or "setting", mute, unmute, acknowledge, resolve error, mute error,
    # unmute error, request, use, forget
    action: str
    subject: str  # for example error_rate@knowledge-graph, or setting:alert_channel_id
    before: str
    after: str
    id: int = 0  # assigned by the store


class Revision(NamedTuple):
    """The numbers of the newest changes: a process compares them with those that it has read."""

    audit: int  # of what people changed: thresholds, settings, mutes, acknowledgements
    change: int  # of alerts


class AlertStore(Protocol):
    """The stored state of alerting: ``store.alerting``. Every method may raise StorageError, as in Store."""

    async def save(self, steps: Sequence[Step], *, token: int | None = None, exact: bool = False) -> list[Alert]:
        """Store all steps in one transaction: alerts (new by uid, or changed), changes, and their deliveries.

        Returns the alerts in the order of the steps, with ids and versions. A version rises by one with each step that
        has a change, and with no other; the id and version of the argument are ignored. Deliveries are due at once. A
        change of kind ``acknowledged`` gets an audit entry with its actor. A cancelled save has stored everything or
        nothing.

        ``token`` is that of the leader's lease, for what only the leader may write. ``exact`` requires that the stored
        alerts have the versions of the arguments.

        Raises ValueError when a change belongs to another alert, when there are targets without a change, or when a
        value is not a number (NaN); LostLeadError when another process leads; ChangedAlertError when an alert has
        another version. Nothing is stored then.
        """
        ...

    async def shift_times(self, step_us: int, *, now_us: int) -> None:
        """Follow a step of the clock, after which it shows ``now_us``: waiting deliveries keep their remaining time.

        Mutes that were active, also those of error groups, keep their remaining time. Ended ones are unchanged.
        """
        ...

    async def revision(self) -> Revision:
        """Return the numbers of the newest changes; they rise with each one."""
        ...

    async def delete_unfired(self, uids: Collection[str], *, token: int | None = None) -> None:
        """Delete those of these alerts that never fired, with everything that belongs to them. Fired alerts stay.

        ``token`` is that of ``save``.
        """
        ...

    async def alerts(
        self,
        states: Collection[AlertState] = ACTIVE,
        *,
        since_us: int = 0,
        service: str | None = None,
        group: str | None = None,
        limit: int = 1_000,
        offset: int = 0,
    ) -> list[Alert]:
        """Return the alerts in these states that changed since then, last begun first: lists show the begin.

        ``service`` and ``group`` filter if set; group "" selects the alerts that belong to no group.
        """
        ...

    async def alert(self, uid: str) -> Alert | None:
        """Return one alert by its uid."""
        ...

    async def changes(self, alert: str | None = None, *, since_us: int = 0, limit: int = 1_000) -> list[AlertChange]:
        """Return the changes of one alert (by uid) or of all, newest first."""
        ...

    async def due(self, now_us: int, *, target: str | None = None, limit: int = 100) -> list[Delivery]:
        """Return the waiting deliveries that are due, oldest first; with ``target``, only those to this target.

        A delivery is returned only after every earlier one of the same alert and target has ended, so each pair has at
        most one, and changes keep their order. ``superseded`` means that a later one waits. A delivery that was begun
        and never ended, by this process or by one that died, is returned again with its ``begun_us``.
        """
        ...

    async def next_due_us(self, target: str | None = None) -> int | None:
        """Return the earliest time at which ``due`` returns a delivery, to one target if set; None when nothing waits.

        The time is in the past when a delivery is due already.
        """
        ...

    async def begin(self, delivery: int, *, now_us: int, token: int | None = None) -> None:
        """Record the start of an attempt before it is made: set ``begun_us`` and increase ``attempts``.

        Raises StorageError (permanent) when no such delivery waits, and LostLeadError with a ``token`` (see ``save``)
        when another process leads: it must not be sent.
        """
        ...

    async def end(
        self,
        delivery: int,
        *,
        outcome: str,
        now_us: int,
        error: str = "",
        due_us: int | None = None,
        receipt: str | None = None,
    ) -> None:
        """Record the result of the attempt: ``sent``, ``retry`` (again at ``due_us``), ``failed`` or ``superseded``.

        One transaction stores the result and the record of the attempt, which lasts from its start; a delivery that
        ends without a start took no time. Every result except a retry ends the delivery. A receipt replaces the
        previous one; without a receipt the previous one stays.

        Raises ValueError for another outcome, and for a retry without ``due_us``; StorageError (permanent) when no such
        delivery waits.
        """
        ...

    async def receipt(self, alert: str, target: str) -> str | None:
        """Return the last receipt of the target for this alert."""
        ...

    async def attempts(self, alert: str | None = None, *, limit: int = 100) -> list[Attempt]:
        """Return the attempts for one alert (by uid) or for all, last ended first."""
        ...

    async def add_mute(self, mute: Mute) -> Mute:
        """Store a mute with an audit entry at its start, in one transaction; return it with its id."""
        ...

    async def mutes(self, now_us: int) -> list[Mute]:
        """Return the mutes that end after this time, the first to end first."""
        ...

    async def end_mutes(self, ids: Collection[int], *, now_us: int, actor: str) -> list[Mute]:
        """End mutes now, with audit entries in the same transaction; return those that had not ended, as they were."""
        ...

    async def overrides(self) -> dict[str, str]:
        """Return the overrides of thresholds and settings by key.

        See ``cogmeter.alerts.thresholds.keys`` and ``cogmeter.settings.overrides`` for keys and values.
        """
        ...

    async def override(self, values: Mapping[str, str | None], *, now_us: int, actor: str) -> list[AuditEntry]:
        """Set overrides (None: reset them) in one transaction, with an audit entry for each change.

        Returns the entries; a value that is already set has none.
        """
        ...

    async def audit(self, *, limit: int = 100, offset: int = 0) -> list[AuditEntry]:
        """Return the audit log, newest first."""
        ...

    async def add_audit(self, entry: AuditEntry) -> AuditEntry:
        """Store an audit entry that belongs to no other change; return it with its id."""
        ...
