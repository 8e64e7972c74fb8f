"""Which process of a fleet leads: it alone evaluates the rules, sends alerts, and posts what is scheduled.

The leader renews a lease in the database. One that cannot stops by itself before another process may lead. A process
that is alone, as with SQLite, always leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, Final

from cogmeter.recording.background import detached
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter_storage.base import Store
    from cogmeter_storage.lease import Lease

RENEW_S: Final = 3.0
SAFETY_S: Final = 1.0  # before the end of the lease, from which the leader does nothing more
SHORTEST_S: Final = 0.05  # after the end of another process's lease
RETRY_S: Final = 1.0  # after a change of roles that failed

_logger = logging.getLogger("cogmeter.alerts")


def elapsed_s() -> float:
    """Return the seconds of a clock that is never set and does not stop while the machine sleeps, if there is one."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class Term:
    """A time in which a process leads, or does not: what it knows of the alerts is valid for one term."""

    def __init__(
        self, *, until_s: float = math.inf, token: int | None = None, clock_s: Callable[[], float] = elapsed_s
    ) -> None:
        """Without arguments, of a process that is alone. ``token`` is that of the lease."""
        self.token = token
        self.until_s = until_s
        self.on_end: Callable[[], object] = lambda: None
        self._clock_s = clock_s

    @property
    def leads(self) -> bool:
        """True while no other process can lead. Ask right before each act, because the process may have been paused."""
        return self._clock_s() < self.until_s

    def end(self) -> None:
        """Lead no more: the store has refused a write."""
        self.until_s = -math.inf
        self.on_end()


class Leadership:
    """Keeps the lease of one process, and calls back when its role changes. ``term`` is the present one."""

    def __init__(self, store: Callable[[], Store], *, clock_s: Callable[[], float] = elapsed_s) -> None:
        """``store`` returns the present store; ``clock_s`` the seconds of a clock that is never set."""
        self.term = Term(clock_s=clock_s)
        self.problem = ""  # why the lease could not be renewed; empty after a success
        self._store = store
        self._clock_s = clock_s
        self._known = self.term  # to what ``on_change`` has built
        self._left_s = 0.0  # of another process's lease
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def leads(self) -> bool:
        """True while no other process can lead."""
        return self.term.leads

    async def begin(self) -> None:
        """Lead if no other process does, and keep the lease in the background.

        Never raises for an error of the store: then another attempt follows.
        """
        if self._store().shared:
            self._begin_term(-math.inf, None)
            await self.renew()
            self._known = self.term
            self._tasks = [detached(self._keep_renewing(), name="cogmeter-lease")]

    def start(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Call ``on_change``, which builds what depends on ``term``, after each new one since ``begin``."""
        if self._store().shared:
            self._tasks.append(detached(self._follow(on_change), name="cogmeter-leadership"))

    async def end(self) -> None:
        """Stop, and let another process lead at once."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._store().shared:
            self._begin_term(-math.inf, None)
            try:
                await self._store().resign()
            except StorageError as error:
                _logger.debug("The lease could not be released; it ends by itself", exc_info=error)

    async def renew(self) -> None:
        """Take or renew the lease, and begin a new term if the role changes."""
        asked_s = self._clock_s()
        try:
            lease = await self._store().lead()
        except StorageError as error:
            self._left_s = RENEW_S
            self._note_problem(str(error))
        else:
            self.problem = ""
            self._take(lease, asked_s)
            if self.term is not self._known:
                self._changed.set()
        if not self.term.leads and self.term.token is not None:  # it could not be renewed in time
            self._begin_term(-math.inf, None)

    def _take(self, lease: Lease, asked_s: float) -> None:
        self._left_s = lease.left_s
        until_s = asked_s + lease.left_s - SAFETY_S
        if not lease.leads:
            if self.term.token is not None:
                self._begin_term(-math.inf, None)
        elif lease.token == self.term.token and self.term.leads:
            self.term.until_s = until_s
        else:
            self._begin_term(until_s, lease.token)

    def _begin_term(self, until_s: float, token: int | None) -> None:
        self.term.until_s = -math.inf
        self.term = Term(until_s=until_s, token=token, clock_s=self._clock_s)
        self.term.on_end = self._woken.set
        self._changed.set()

    async def _keep_renewing(self) -> None:
        while True:
            pause_s = RENEW_S if self.term.leads else min(RENEW_S, self._left_s + SHORTEST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)
            self._woken.clear()
            try:
                await self.renew()
            except Exception:
                _logger.exception("The lease of the leader could not be renewed; it is tried again")

    async def _follow(self, on_change: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            term = self.term
            if term is self._known or self.problem:  # nothing can be read now; the next renewal comes back to it
                continue
            _logger.info("This process %s", "leads: it sends the alerts of the fleet" if term.leads else "follows")
            try:
                await on_change()
                self._known = term
            except Exception:
                _logger.exception("The change of the leader could not be followed; it is tried again")
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    def _note_problem(self, problem: str) -> None:
        if not self.problem:
            _logger.warning("The lease of the leader could not be renewed: %s", problem)
        self.problem = problem
