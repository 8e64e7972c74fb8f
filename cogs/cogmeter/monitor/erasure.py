"""Erases one user from a running monitor: from the store, and from what it keeps in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.watch.interactions.erasure import person_of

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.model import Erased


async def forget_running(monitor: Monitor, user_id: str, name: str | None = None) -> Erased:
    """Erase a user; ``name`` is the display name in alerts, mutes and changes. What waits in memory is stored first.

    Raises:
        StorageError: the store cannot be written; what was erased stays erased.
    """
    await monitor.flusher.flush()
    person = await person_of(monitor.store, user_id, name)
    hashed = person.metadata_entry[1]
    monitor.alerting.evaluator.spending.forget(hashed)  # sums that wait, and the user's budget
    monitor.watcher.tracker.people.forget(hashed)
    return await monitor.store.erase_person(person)
