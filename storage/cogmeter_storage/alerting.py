"""The records of alerting: what an alert, its changes, its deliveries, mutes and overrides are, as they are stored."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class AlertState(enum.StrEnum):
    """Where an alert stands; the words are what the store keeps and people read."""

    PENDING = "pending"  # in breach, not yet for long enough
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"  # somebody has taken it up
    MUTED = "muted"  # in breach, and nobody wants to hear of it
    RESOLVED = "resolved"

    @property
    def active(self) -> bool:
        """Whether the breach goes on."""
        return self is not AlertState.RESOLVED


ACTIVE = tuple(state for state in AlertState if state.active)


@dataclass(frozen=True, slots=True)
class Alert:
    """One breach of one rule from its first measurement to its end; the same record changes as it goes on.

    ``current``, ``worst`` and ``threshold`` are in the rule's unit, and numbers. ``worst`` is the value farthest beyond
    the threshold.
    """

    uid: str  # given by the engine, unique everywhere; what buttons, webhooks and groups refer to
    rule: str
    service: str
    operation: str  # empty: the service as a whole
    state: AlertState
    severity: str  # info, warning, critical
    message: str  # of the newest measurement, in the guide's words
    threshold: float
    current: float
    worst: float
    started_us: int  # when the breach was first measured
    seen_us: int  # when it was last measured
    changed_us: int  # when the state last changed
    fired_us: int | None = None  # when it was first told
    acknowledged_us: int | None = None
    acknowledged_by: str = ""  # a display name
    resolved_us: int | None = None
    muted_until_us: int | None = None
    reminded_us: int | None = None
    escalated: bool = False
    flapping: bool = False  # it came and went several times within a short time
    group: str = ""  # the uid of the alert that speaks for it
    version: int = 0  # how many changes are stored of it; the store counts
    id: int = 0  # given by the store, for people: "Alert 12"


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A stored change of an alert: the event. ``kind`` says what happened, ``state`` is the alert's state after it."""

    alert: str  # its uid
    kind: str  # fired, escalated, reminded, acknowledged, muted, unmuted, worsened, eased, flapping, joined, resolved
    state: AlertState
    severity: str
    message: str
    current: float
    threshold: float
    at_us: int
    actor: str = ""  # the display name of who did it; empty: the engine
    note: str = ""
    id: int = 0  # given by the store


@dataclass(frozen=True, slots=True)
class Step:
    """What is stored in one go: the alert as it is now, what happened to it, and whom to tell.

    Without a ``change`` only the alert's figures are brought up to date.
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
    attempts: int  # begun so far
    due_us: int
    begun_us: int | None  # an attempt that was begun and whose end was never stored: it may have arrived
    receipt: str | None  # what the target gave for this alert before: a message's id, for one
    superseded: bool  # whether a later change of the same alert waits for the same target


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
    """Alerts that nobody wants to hear of for a while. Empty ``service`` or ``rule``: every one."""

    service: str
    rule: str
    since_us: int
    until_us: int
    actor: str
    reason: str = ""
    id: int = 0  # given by the store

    def covers(self, rule: str, service: str, at_us: int) -> bool:
        """Whether it holds for this rule and service at this time."""
        return self.since_us <= at_us < self.until_us and self.rule in {"", rule} and self.service in {"", service}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what, when, from what to what."""

    at_us: int
    actor: str
    action: str  # threshold set, threshold reset, mute, unmute, acknowledge
    subject: str  # what was changed: error_rate@knowledge-graph
    before: str
    after: str
    id: int = 0  # given by the store


class AlertStore(Protocol):
    """Where alerting keeps its state: ``store.alerting``. Every method may raise StorageError, as Store's do."""

    async def save(self, steps: Sequence[Step]) -> list[Alert]:
        """Store all steps in one transaction: alerts (new by their uid, or changed), changes, and their deliveries.

        Returns the alerts of the steps, in their order, with ids and versions. A version rises by one with each step
        that has a change, and with no other; what the given record says of id and version does not count. Deliveries
        are due at once. A change ``acknowledged`` is audited by its actor. A cancelled save has stored all or nothing.

        Raises ValueError when a change is of another alert, when there are targets without a change, or when a figure
        is not a number (NaN); then nothing is stored.
        """
        ...

    async def shift(self, step_us: int, *, now_us: int) -> None:
        """Follow a step of the clock, after which it shows ``now_us``: what waits is due as long from now as before.

        Mutes that were active keep what is left of them. What has ended stays as it is.
        """
        ...

    async def drop(self, uids: Collection[str]) -> None:
        """Forget alerts that never fired, with all that belongs to them; of those that did, none goes."""
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
        """Alerts in these states that changed since then, the last changed first; of one service or group if given.

        Group "" is that of the alerts that speak for themselves.
        """
        ...

    async def alert(self, uid: str) -> Alert | None:
        """One alert by its uid."""
        ...

    async def changes(self, alert: str | None = None, *, since_us: int = 0, limit: int = 1_000) -> list[AlertChange]:
        """What happened, newest first; to one alert (its uid) or to all."""
        ...

    async def due(self, now_us: int, *, target: str | None = None, limit: int = 100) -> list[Delivery]:
        """Deliveries that wait and are due, to one target if given, oldest first; of one alert in the order of changes.

        A delivery is not given before every earlier one of the same alert and target has ended, so of each pair there
        is at most one; ``superseded`` tells that a later one waits behind it. One that was begun and not ended, by this
        process or by one that died, is given again and shows when it was begun.
        """
        ...

    async def next_due_us(self, target: str | None = None) -> int | None:
        """When ``due`` has something to give, to one target if given; None when nothing waits.

        It lies in the past when there is something already.
        """
        ...

    async def begin(self, delivery: int, *, now_us: int) -> None:
        """Note, before it is tried, that an attempt begins: ``begun_us`` is set, and ``attempts`` rises.

        Raises StorageError (permanent) when no such delivery waits: it must not be sent.
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
        """Note how the attempt ended: ``sent``, ``retry`` (due again at ``due_us``), ``failed`` or ``superseded``.

        One transaction with the record of the attempt, which counts from its beginning (a delivery that ends without
        having begun took no time). All but a retry end the delivery for good. A receipt takes the place of the one
        before; without one that stays.

        Raises ValueError for another outcome, and for a retry without ``due_us``; StorageError (permanent) when no such
        delivery waits.
        """
        ...

    async def receipt(self, alert: str, target: str) -> str | None:
        """What the target last gave for this alert."""
        ...

    async def attempts(self, alert: str | None = None, *, limit: int = 100) -> list[Attempt]:
        """The record of attempts, those that ended last first; at one alert (its uid) or at all."""
        ...

    async def add_mute(self, mute: Mute) -> Mute:
        """Keep a mute; returns it with its id. Audited by its actor, at its beginning, in the same transaction."""
        ...

    async def mutes(self, now_us: int) -> list[Mute]:
        """The mutes that hold now or later, the first to end first."""
        ...

    async def end_mutes(self, ids: Collection[int], *, now_us: int, actor: str) -> list[Mute]:
        """End mutes now, audited in the same transaction; returns those that were yet to end, as they were."""
        ...

    async def overrides(self) -> dict[str, str]:
        """Return the threshold overrides by key; see ``cogmeter.alerts.thresholds.keys`` for keys and values."""
        ...

    async def override(self, values: Mapping[str, str | None], *, now_us: int, actor: str) -> list[AuditEntry]:
        """Set (or, with None, reset) overrides in one transaction; each change is audited, from what to what.

        Returns the entries; what was so already has none.
        """
        ...

    async def audit(self, *, limit: int = 100, offset: int = 0) -> list[AuditEntry]:
        """The newest changes first."""
        ...
