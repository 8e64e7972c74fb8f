"""The AlertStore: sends each call to the reading or the writing connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.sql import alerts, mutes_and_overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter_storage.alerting import (
        Alert,
        AlertChange,
        AlertState,
        Attempt,
        AuditEntry,
        Delivery,
        Mute,
        Revision,
        Step,
    )
    from cogmeter_storage.sql.session import Runner


class SqlAlertStore:
    """The state of alerting in the store's file; see AlertStore for the contract of each method."""

    def __init__(self, reading: Runner, writer: Callable[[], Runner]) -> None:
        """``writer`` raises StorageError when the store is read-only."""
        self._reading = reading
        self._writer = writer

    async def save(self, steps: Sequence[Step], *, token: int | None = None, exact: bool = False) -> list[Alert]:
        """Store steps, all or none."""
        alerts.check_steps(steps)
        return await self._writer().run(alerts.save_steps, tuple(steps), token, exact=exact)

    async def revision(self) -> Revision:
        """Return the numbers of the newest changes."""
        return await self._reading.run(alerts.read_revision)

    async def shift_times(self, step_us: int, *, now_us: int) -> None:
        """Follow a step of the clock."""
        await self._writer().run(mutes_and_overrides.shift_times, step_us, now_us)

    async def delete_unfired(self, uids: Collection[str], *, token: int | None = None) -> None:
        """Delete alerts that never fired."""
        await self._writer().run(alerts.delete_unfired, tuple(uids), token)

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
        """Return alerts, last begun first."""
        return await self._reading.run(
            alerts.read_alerts,
            tuple(states),
            since_us=since_us,
            service=service,
            group=group,
            limit=limit,
            offset=offset,
        )

    async def alert(self, uid: str) -> Alert | None:
        """Return one alert."""
        return await self._reading.run(alerts.read_alert, uid)

    async def changes(self, alert: str | None = None, *, since_us: int = 0, limit: int = 1_000) -> list[AlertChange]:
        """Return changes, newest first."""
        return await self._reading.run(alerts.read_changes, alert, since_us, limit)

    async def due(self, now_us: int, *, target: str | None = None, limit: int = 100) -> list[Delivery]:
        """Return the deliveries that are due."""
        return await self._reading.run(alerts.due_deliveries, now_us, target, limit)

    async def next_due_us(self, target: str | None = None) -> int | None:
        """Return the time of the next due delivery."""
        return await self._reading.run(alerts.next_due_us, target)

    async def begin(self, delivery: int, *, now_us: int, token: int | None = None) -> None:
        """Record the start of an attempt."""
        await self._writer().run(alerts.begin_attempt, delivery, now_us, token)

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
        """Record the result of an attempt."""
        alerts.check_attempt_end(outcome, due_us)
        await self._writer().run(
            alerts.end_attempt, delivery, outcome=outcome, now_us=now_us, error=error, due_us=due_us, receipt=receipt
        )

    async def receipt(self, alert: str, target: str) -> str | None:
        """Return the target's last receipt."""
        return await self._reading.run(alerts.read_receipt, alert, target)

    async def attempts(self, alert: str | None = None, *, limit: int = 100) -> list[Attempt]:
        """Return attempts, newest first."""
        return await self._reading.run(alerts.read_attempts, alert, limit)

    async def add_mute(self, mute: Mute) -> Mute:
        """Store a mute."""
        return await self._writer().run(mutes_and_overrides.add_mute, mute)

    async def mutes(self, now_us: int) -> list[Mute]:
        """Return mutes that have not ended."""
        return await self._reading.run(mutes_and_overrides.read_mutes, now_us)

    async def end_mutes(self, ids: Collection[int], *, now_us: int, actor: str) -> list[Mute]:
        """End mutes."""
        return await self._writer().run(mutes_and_overrides.end_mutes, frozenset(ids), now_us, actor)

    async def overrides(self) -> dict[str, str]:
        """Return the threshold overrides."""
        return await self._reading.run(mutes_and_overrides.read_overrides)

    async def override(self, values: Mapping[str, str | None], *, now_us: int, actor: str) -> list[AuditEntry]:
        """Set or reset threshold overrides."""
        return await self._writer().run(mutes_and_overrides.set_overrides, dict(values), now_us, actor)

    async def audit(self, *, limit: int = 100, offset: int = 0) -> list[AuditEntry]:
        """Return the audit log, newest first."""
        return await self._reading.run(mutes_and_overrides.read_audit, limit, offset)

    async def add_audit(self, entry: AuditEntry) -> AuditEntry:
        """Store an audit entry."""
        return await self._writer().run(mutes_and_overrides.store_entry, entry)
