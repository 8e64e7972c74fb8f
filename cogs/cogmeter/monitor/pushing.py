"""The pushers of one monitor: one for each target that the settings switch on."""

from __future__ import annotations

import asyncio
import socket
import uuid
from typing import TYPE_CHECKING, Final

from cogmeter.push.base import Origin
from cogmeter.push.pusher import Pusher, PushFleet
from cogmeter.push.table import build, switched_on

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.diagnosis import Finding
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store

INSTANCE: Final = "instance"  # the key of the database's own id
BOT: Final = "bot name"  # the key of the bot's name, which is known once it is connected


class Pushing:
    """Starts and stops the pushers."""

    def __init__(self, monitor: Monitor) -> None:
        self.pushers: list[Pusher] = []
        self._monitor = monitor

    async def begin(self) -> None:
        """Start the pushers of the present settings.

        Raises:
            SettingsError: a setting is invalid or missing; the text names it and the fix.
        """
        monitor = self._monitor
        names = switched_on(monitor.settings)
        if not names:
            return
        found = await origin(monitor.store.own, monitor.settings, monitor.recorder.errors.version)
        for name in names:
            with monitor.parts.guard(f"push {name}", "nothing is pushed there"):
                target = await asyncio.to_thread(build, name, monitor.settings, found)
                interval_s = monitor.settings.export_interval / 1000
                pusher = Pusher(
                    target,
                    lambda: monitor.store.own,
                    interval_s=interval_s,
                    gauges=self._gauges,
                    faults=monitor.faults,
                    fleet=PushFleet(lambda: monitor.store, lambda: monitor.leadership.leads),
                )
                pusher.start()
                self.pushers.append(pusher)

    async def end(self) -> None:
        """Stop the pushers, all at once, after a last push."""
        pushers, self.pushers = self.pushers, []
        await asyncio.gather(*(pusher.stop() for pusher in pushers))

    async def restart(self) -> None:
        """Stop, and start again with the present settings; see ``begin`` for errors."""
        await self.end()
        await self.begin()

    async def named(self, name: str) -> None:
        """Use this name of the bot from now on, also after a restart."""
        stored = name.encode()
        if self.pushers and await self._monitor.store.own.get_value(BOT) != stored:
            await self._monitor.store.own.set_value(BOT, stored)
            await self.restart()

    def findings(self) -> list[Finding]:
        """Return the doctor's findings about the targets."""
        return [finding for pusher in self.pushers for finding in pusher.findings()]

    def _gauges(self) -> tuple[int, Mapping[str, float]]:
        """Return the newest sample and its time."""
        monitor = self._monitor
        return monitor.sampled_us if monitor.gauges else 0, monitor.gauges


async def origin(store: Store, settings: Settings, version: str | None) -> Origin:
    """Return what identifies the bot at the other end; the id of its database is made at the first push.

    Before the bot was connected for the first time, it has the name of the metrics at ``/metrics``.

    Raises:
        StorageError: the store cannot be used.
    """
    await store.add_value(INSTANCE, str(uuid.uuid4()).encode())
    return await stored_origin(store, settings, version)


async def stored_origin(store: Store | None, settings: Settings, version: str | None) -> Origin:
    """Return what identifies the bot, from a store that may be read-only. Before the first push it has no id.

    Raises:
        StorageError: the store cannot be read.
    """
    found = [await store.get_value(key) for key in (INSTANCE, BOT)] if store else [None, None]
    instance, name = ((value or b"").decode(errors="replace") for value in found)
    host = await asyncio.to_thread(socket.gethostname)
    return Origin(name or settings.metrics_namespace, instance, host, version or "")
