"""The live stream: server-sent events from one poll per second, which all streams share.

Events are ``snapshot`` (see ``LiveSnapshot``), ``alert`` (a new, changed or ended one), ``marker``, and ``trouble``
when the database cannot be read. A slow stream misses snapshots, and of the other events the oldest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.render.rule_text import worded
from cogmeter.schemas.alerts import AlertAnswer, MarkerAnswer
from cogmeter.schemas.live import snapshot
from cogmeter.web.api.routing import CALLER, FAULT, Route
from cogmeter_storage.alerting import SENT
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.schemas.base import Schema
    from cogmeter.schemas.live import MinuteCounts
    from cogmeter.web.api.routing import Shared

INTERVAL_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
HEARTBEAT: Final = b": here\n\n"
HELLO: Final = b"retry: 3000\n\n"  # milliseconds before a browser reconnects
WAITING: Final = 100  # alerts and markers that a slow stream may lag behind
BACK_US: Final = 60_000_000  # a marker may be stored this long after its time
HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # nginx would buffer events
}

_logger = logging.getLogger("cogmeter.web")


class Subscription:
    """The events that one stream has not sent yet."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._snapshot: bytes | None = None
        self._others: deque[bytes] = deque(maxlen=WAITING)
        self._ended = False

    def put(self, others: list[bytes], newest: bytes | None) -> None:
        """Add events, and replace a snapshot that has not been sent yet."""
        self._others.extend(others)
        self._snapshot = newest or self._snapshot
        self._wake.set()

    def end(self, _: object = None) -> None:
        """End the stream after the waiting events."""
        self._ended = True
        self._wake.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield events as they arrive, until the end."""
        yield HELLO
        while True:
            await self._wake.wait()
            self._wake.clear()
            chunk = b"".join((*self._others, self._snapshot or b""))
            self._others.clear()
            self._snapshot = None
            if chunk:
                yield chunk
            if self._ended:
                return


class Live:
    """Polls once a second while there is a subscription."""

    def __init__(self, monitor: Monitor, health: Health) -> None:
        self._monitor = monitor
        self._health = health
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._events = 0
        self._newest: bytes | None = None
        self._counts: MinuteCounts | None = None
        self._alerts: dict[str, tuple[int, str]] | None = None  # version and state by uid; None before the first poll
        self._markers: set[int] | None = None  # ids of the last minute's

    def join(self) -> Subscription:
        """Subscribe; the first subscription starts polling."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        if self._task is None or self._task.done():
            self._counts = self._alerts = self._markers = self._newest = None
            self._task = detached(self._run(), name="cogmeter live")
        elif self._newest is not None:
            subscription.put([], self._newest)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Unsubscribe; polling stops with the last subscription."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        heartbeat_s = time.perf_counter()
        while self._subscriptions:
            start_s = time.perf_counter()
            others = await self._poll()
            if start_s - heartbeat_s >= HEARTBEAT_S:
                others.append(HEARTBEAT)
                heartbeat_s = start_s
            for subscription in self._subscriptions:
                subscription.put(others, self._newest)
            await asyncio.sleep(max(INTERVAL_S - (time.perf_counter() - start_s), INTERVAL_S / 10))

    async def _poll(self) -> list[bytes]:
        """Return the new events, and keep the snapshot; an error of ours ends no stream."""
        try:
            events = [*await self._new_alerts(), *await self._new_markers()]
            self._newest = await self._snapshot()
        except StorageError as error:
            _logger.debug("The live stream cannot read the database: %s", error)
        except Exception:
            self._monitor.faults[FAULT] += 1
            _logger.exception("The live stream failed")
        else:
            return events
        self._newest = None
        return [self._event("trouble", b'{"detail":"Cannot read the database"}')]

    async def _snapshot(self) -> bytes:
        monitor = self._monitor
        verdict = await self._health.verdict()
        live_snapshot, self._counts = await snapshot(
            monitor.store,
            now_us(),
            self._counts,
            waiting=len(monitor.recorder.buffer) + monitor.flusher.pending,
            active_alerts=sum(alert.state in SENT for alert in monitor.alerting.engine.active),
            health=verdict.status.value,
        )
        return self._model_event("snapshot", live_snapshot)

    async def _new_alerts(self) -> list[bytes]:
        """Return the alerts that fired, changed or ended since the last poll."""
        active = {alert.uid: alert for alert in self._monitor.alerting.engine.active}
        before, self._alerts = self._alerts, {uid: (alert.version, alert.state.value) for uid, alert in active.items()}
        if before is None:
            return []
        changed = [active[uid] for uid, seen in self._alerts.items() if before.get(uid) != seen]
        for uid in before.keys() - active.keys():
            ended = await self._monitor.store.alerting.alert(uid)
            if ended is not None:  # None: it never fired, and was removed
                changed.append(ended)
        return [self._model_event("alert", worded(AlertAnswer.of(alert))) for alert in changed]

    async def _new_markers(self) -> list[bytes]:
        until_us = now_us() + 1
        markers = await self._monitor.store.markers(until_us - BACK_US, until_us)
        before, self._markers = self._markers, {marker.id for marker in markers}
        if before is None:
            return []
        return [self._model_event("marker", MarkerAnswer.of(marker)) for marker in markers if marker.id not in before]

    def _model_event(self, name: str, model: Schema) -> bytes:
        return self._event(name, model.__pydantic_serializer__.to_json(model, by_alias=True))

    def _event(self, name: str, data: bytes) -> bytes:
        """Return the event's lines; JSON contains no line break."""
        self._events += 1
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self._events, name.encode(), data)


async def stream_live(_monitor: Monitor, shared: Shared, request: web.Request) -> web.StreamResponse:
    """Send events until the client leaves, its session ends or the server stops. Last-Event-ID is not needed."""
    caller, streams, live = CALLER.get(), shared.streams, shared.live
    with streams.reserve():
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        subscription = live.join()
        end_task = asyncio.create_task(streams.ended.wait(), name="cogmeter live end")
        end_task.add_done_callback(subscription.end)
        try:
            async for chunk in subscription.chunks():
                if not shared.guard.still_admits(caller):
                    break
                await response.write(chunk)
            await response.write_eof()
        finally:
            live.leave(subscription)
            end_task.cancel()
    return response


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/live",
        stream_live,
        "Stream server-sent events: snapshot (each second), alert and marker, until the client disconnects",
        media={"text/event-stream": "Server-sent events; the data of each is JSON"},
    ),
)
