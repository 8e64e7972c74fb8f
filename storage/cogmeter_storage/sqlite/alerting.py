"""The AlertStore on SQLite: which connection each question goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.sqlite import alert_rows, audit, mutes, outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Attempt, AuditEntry, Delivery, Mute, Step
    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.writer import Writer


class SqliteAlertStore:
    """Alerting's state in the store's file; see AlertStore for what each method promises."""

    def __init__(self, reading: Connection, writer: Callable[[], Writer]) -> None:
        """Made by SqliteStore; ``writer`` raises StorageError when the store is for reading alone."""
        self._reading = reading
        self._writer = writer

    async def save(self, steps: Sequence[Step]) -> list[Alert]:
        """Store steps, all or none."""
        alert_rows.check(steps)
        return await self._writer().run(alert_rows.save, tuple(steps))

    async def shift(self, step_us: int, *, now_us: int) -> None:
        """Follow a step of the clock."""
        await self._writer().run(mutes.shift, step_us, now_us)

    async def drop(self, uids: Collection[str]) -> None:
        """Forget alerts that never fired."""
        await self._writer().run(alert_rows.drop, tuple(uids))

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
        """Alerts, the last changed first."""
        return await self._reading.run(
            alert_rows.alerts,
            tuple(states),
            since_us=since_us,
            service=service,
            group=group,
            limit=limit,
            offset=offset,
        )

    async def alert(self, uid: str) -> Alert | None:
        """One alert."""
        return await self._reading.run(alert_rows.alert, uid)

    async def changes(self, alert: str | None = None, *, since_us: int = 0, limit: int = 1_000) -> list[AlertChange]:
        """What happened, newest first."""
        return await self._reading.run(alert_rows.changes, alert, since_us, limit)

    async def due(self, now_us: int, *, target: str | None = None, limit: int = 100) -> list[Delivery]:
        """Deliveries that can be tried now."""
        return await self._reading.run(outbox.due, now_us, target, limit)

    async def next_due_us(self, target: str | None = None) -> int | None:
        """When there is something to try."""
        return await self._reading.run(outbox.next_due_us, target)

    async def begin(self, delivery: int, *, now_us: int) -> None:
        """Note that an attempt begins."""
        await self._writer().run(outbox.begin, delivery, now_us)

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
        """Note how it ended."""
        outbox.check_end(outcome, due_us)
        await self._writer().run(
            outbox.end, delivery, outcome=outcome, now_us=now_us, error=error, due_us=due_us, receipt=receipt
        )

    async def receipt(self, alert: str, target: str) -> str | None:
        """What the target gave."""
        return await self._reading.run(outbox.receipt, alert, target)

    async def attempts(self, alert: str | None = None, *, limit: int = 100) -> list[Attempt]:
        """Attempts, newest first."""
        return await self._reading.run(outbox.attempts, alert, limit)

    async def add_mute(self, mute: Mute) -> Mute:
        """Keep a mute."""
        return await self._writer().run(mutes.add, mute)

    async def mutes(self, now_us: int) -> list[Mute]:
        """Mutes that hold."""
        return await self._reading.run(mutes.holding, now_us)

    async def end_mutes(self, ids: Collection[int], *, now_us: int, actor: str) -> list[Mute]:
        """End mutes."""
        return await self._writer().run(mutes.end, frozenset(ids), now_us, actor)

    async def overrides(self) -> dict[str, str]:
        """Changed thresholds."""
        return await self._reading.run(audit.overrides)

    async def override(self, values: Mapping[str, str | None], *, now_us: int, actor: str) -> list[AuditEntry]:
        """Change thresholds."""
        return await self._writer().run(audit.override, dict(values), now_us, actor)

    async def audit(self, *, limit: int = 100, offset: int = 0) -> list[AuditEntry]:
        """Who changed what, newest first."""
        return await self._reading.run(audit.newest, limit, offset)
