"""Erases one user from a running monitor: from the store, and from what it keeps in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.query.query import now_us
from cogmeter.watch.interactions.erasure import person_of
from cogmeter_storage.alerting import AuditEntry

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.model import Erased


async def forget_running(monitor: Monitor, user_id: str, name: str | None = None, *, actor: str) -> Erased:
    """Erase a user; ``name`` is the display name in alerts, mutes and changes. What waits in memory is stored first.

    The audit log gets who erased how many rows, not whose.

    Raises:
        StorageError: the store cannot be written; what was erased stays erased.
    """
    await monitor.flusher.flush()
    person = await person_of(monitor.store, user_id, name)
    hashed = person.metadata_entry[1]
    monitor.alerting.evaluator.spending.forget(hashed)  # sums that wait, and the user's budget
    monitor.watcher.tracker.people.forget(hashed)
    erased = await monitor.store.erase_person(person)
    await monitor.store.alerting.add_audit(AuditEntry(now_us(), actor, "forget", "user", "", f"{erased.rows} rows"))
    return erased
