"""The live stream: server-sent events of one look a second, which all streams share.

Events are ``snapshot`` (see answers.live), ``alert`` (one that came, changed or ended), ``marker``, and ``trouble``
when nothing could be seen. A stream that does not keep up misses snapshots, and of other events the oldest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import worst
from cogmeter.diagnostics import health_of
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.schemas.alerts import TOLD, AlertAnswer
from cogmeter.schemas.changes import MarkerAnswer
from cogmeter.schemas.live import snapshot
from cogmeter.web.api.routing import FAULT
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.schemas.base import Schema
    from cogmeter.schemas.live import Counted

INTERVAL_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
HEARTBEAT: Final = b": here\n\n"
HELLO: Final = b"retry: 3000\n\n"  # so long, in milliseconds, a browser waits before it connects again
WAITING: Final = 100  # alerts and markers that a slow stream may be behind
BACK_US: Final = 60_000_000  # a marker may be stored so long after its moment

_logger = logging.getLogger("cogmeter.web")


class Subscription:
    """What one stream is still to be sent."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._snapshot: bytes | None = None
        self._others: deque[bytes] = deque(maxlen=WAITING)
        self._ended = False

    def put(self, others: list[bytes], newest: bytes | None) -> None:
        """Send these, and the newest snapshot in place of one that is not sent yet."""
        self._others.extend(others)
        self._snapshot = newest or self._snapshot
        self._wake.set()

    def end(self, _: object = None) -> None:
        """Send what waits, and no more."""
        self._ended = True
        self._wake.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is to be sent, as it comes, until the end."""
        yield HELLO
        while True:
            await self._wake.wait()
            self._wake.clear()
            piece = b"".join((*self._others, self._snapshot or b""))
            self._others.clear()
            self._snapshot = None
            if piece:
                yield piece
            if self._ended:
                return


class Live:
    """Looks once a second, as long as anybody listens."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._open: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._events = 0
        self._newest: bytes | None = None
        self._counted: Counted | None = None
        self._alerts: dict[str, tuple[int, str]] | None = None  # version and state by uid; None before the first look
        self._markers: set[int] | None = None  # ids of the last minute's

    def join(self) -> Subscription:
        """Begin to listen."""
        one = Subscription()
        self._open.add(one)
        if self._task is None or self._task.done():
            self._counted = self._alerts = self._markers = self._newest = None
            self._task = detached(self._run(), name="cogmeter live")
        elif self._newest is not None:
            one.put([], self._newest)
        return one

    def leave(self, one: Subscription) -> None:
        """Listen no more. The look stops with the last one."""
        self._open.discard(one)
        if not self._open and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        beaten_s = time.perf_counter()
        while self._open:
            begun_s = time.perf_counter()
            others = await self._look()
            if begun_s - beaten_s >= HEARTBEAT_S:
                others.append(HEARTBEAT)
                beaten_s = begun_s
            for one in self._open:
                one.put(others, self._newest)
            await asyncio.sleep(max(INTERVAL_S - (time.perf_counter() - begun_s), INTERVAL_S / 10))

    async def _look(self) -> list[bytes]:
        """The events of this moment but the snapshot, which is kept; a fault of ours ends no stream."""
        try:
            found = [*await self._look_at_alerts(), *await self._look_at_markers()]
            self._newest = await self._snapshot()
        except StorageError as error:
            _logger.debug("Nothing live: %s", error)
        except Exception:
            self._monitor.faults[FAULT] += 1
            _logger.exception("The live stream could not look")
        else:
            return found
        self._newest = None
        return [self._event("trouble", b'{"detail":"The database does not answer"}')]

    async def _snapshot(self) -> bytes:
        monitor = self._monitor
        checks = await health_of(monitor).vital()
        made, self._counted = await snapshot(
            monitor.store,
            now_us(),
            self._counted,
            waiting=len(monitor.recorder.buffer) + monitor.flusher.pending,
            active_alerts=sum(one.state in TOLD for one in monitor.alerting.engine.active),
            health=worst(one.status for one in checks).value,
        )
        return self._told("snapshot", made)

    async def _look_at_alerts(self) -> list[bytes]:
        """Those that came, changed or ended since the last look."""
        active = {one.uid: one for one in self._monitor.alerting.engine.active}
        before, self._alerts = self._alerts, {uid: (one.version, one.state.value) for uid, one in active.items()}
        if before is None:
            return []
        changed = [active[uid] for uid, seen in self._alerts.items() if before.get(uid) != seen]
        for uid in before.keys() - active.keys():
            over = await self._monitor.store.alerting.alert(uid)
            if over is not None:  # else it never fired, and is forgotten
                changed.append(over)
        return [self._told("alert", AlertAnswer.of(one)) for one in changed]

    async def _look_at_markers(self) -> list[bytes]:
        until_us = now_us() + 1
        found = await self._monitor.store.markers(until_us - BACK_US, until_us)
        before, self._markers = self._markers, {one.id for one in found}
        if before is None:
            return []
        return [self._told("marker", MarkerAnswer.of(one)) for one in found if one.id not in before]

    def _told(self, name: str, answer: Schema) -> bytes:
        return self._event(name, answer.__pydantic_serializer__.to_json(answer, by_alias=True))

    def _event(self, name: str, data: bytes) -> bytes:
        """The event's lines; JSON has no line break of its own."""
        self._events += 1
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self._events, name.encode(), data)


def live_of(monitor: Monitor) -> Live:
    """The look of this monitor, the same at every call: all servers share it."""
    if Live not in monitor.beside:
        monitor.beside[Live] = Live(monitor)
    live: Live = monitor.beside[Live]
    return live
