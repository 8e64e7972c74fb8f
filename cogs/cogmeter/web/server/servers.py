"""Starts and stops the servers. Nothing here is fatal to the bot: a port in use is tried again, and said."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from cogmeter.diagnosis import Finding
from cogmeter.recording.background import detached
from cogmeter.settings import env_name
from cogmeter.web.server.ports import ServerPlan, is_loopback, plans, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.server.context import Shared

RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between tries at a port; the last one for ever
GRACE_S: Final = 0.5  # for requests to finish when the servers stop

_logger = logging.getLogger("cogmeter.web")


class Servers:
    """The web of one bot: none, one or two servers."""

    def __init__(self, monitor: Monitor, environ: Mapping[str, str] = os.environ) -> None:
        """Nothing listens until ``start``. ``environ`` is where a bot host names its port."""
        self._monitor = monitor
        self._environ = environ
        self._shared: Shared | None = None
        self._listeners: list[Listener] = []
        self._refused: list[Finding] = []
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on every port that is wanted; one that is in use is tried again in the background. Never raises."""
        try:
            wanted = plans(self._monitor.settings, self._environ)
            if not wanted or not self._allowed(wanted):
                return
            await detached(self._open(wanted), name="cogmeter web start")
        except Exception:
            self._monitor.faults["web"] += 1
            _logger.exception("The web could not be started")
            self._refused.append(Finding("web", well=False, text="could not be started", advice="See the log"))

    async def stop(self) -> None:
        """End live streams, let requests finish, and free the ports. Never raises."""
        if self._shared is None:
            return
        try:
            await detached(self._close(self._shared), name="cogmeter web stop")
        except Exception:
            _logger.exception("The web did not stop as it should")
        self._shared = None

    @property
    def addresses(self) -> list[str]:
        """What can be opened in a browser now: the dashboard first."""
        return [one.address for one in sorted(self._listeners, key=lambda one: not one.plan.pages) if one.listening]

    def findings(self) -> list[Finding]:
        """How each server is; nothing where none is wanted."""
        found = [*self._refused, *(one.finding() for one in self._listeners)]
        failed = self._monitor.faults["web"]
        if failed:
            found.append(Finding("web requests", well=False, text=f"{failed} failed", advice="See the log"))
        return found

    def _allowed(self, wanted: list[ServerPlan]) -> bool:
        """Whether the address may be listened on; if not, says so in the log and the doctor."""
        host, token = self._monitor.settings.http_host, self._monitor.settings.http_token
        if is_loopback(_bare(host)) or token is not None:
            return True
        name = f"{env_name('http_host')}={host}"
        advice = f"Set {env_name('http_token')} to 32 or more random characters, or take 127.0.0.1"
        text = f"{name} can be reached by others, and {env_name('http_token')} is not set: nothing listens"
        _logger.error("%s. %s", text, advice)
        self._refused = [Finding(f"web :{one.port}", well=False, text=text, advice=advice) for one in wanted]
        return False

    async def _open(self, wanted: list[ServerPlan]) -> None:
        # In a thread: the templates, models and metrics that the web needs take long to import.
        self._shared = shared = await asyncio.to_thread(_shared, self._monitor)
        from cogmeter.web.server.limits import sweep

        self._sweeping = asyncio.create_task(sweep(self._running), name="cogmeter web sweep")
        self._listeners = [Listener(one, self._monitor.settings.http_host, shared) for one in wanted]
        for one in self._listeners:
            await one.start()

    def _running(self) -> list[web.Server]:
        runners = [one.runner for one in self._listeners if one.runner is not None]
        return [one.server for one in runners if one.server is not None]

    async def _close(self, shared: Shared) -> None:
        shared.streams.ended.set()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(*(one.stop() for one in self._listeners))
        self._listeners = []


class Listener:
    """One server on its port."""

    def __init__(self, plan: ServerPlan, host: str, shared: Shared) -> None:
        self.plan = plan
        self._host = _bare(host)
        self._shared = shared
        self.runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._trouble, self._mend = "", f"change {plan.setting}"
        self._trying: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Whether the port is ours."""
        return self._server is not None

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{shown(self._host)}:{self.plan.port}{'/performance' if self.plan.pages else '/api'}"

    async def start(self) -> None:
        """Prepare the application and try the port once; further tries are made in the background."""
        from aiohttp import web

        from cogmeter.web.server.app import build
        from cogmeter.web.server.limits import HEADERS, IDLE_S, LINE_BYTES

        app = await asyncio.to_thread(build, self._shared, pages=self.plan.pages)
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": IDLE_S,
            "max_line_size": LINE_BYTES,
            "max_field_size": LINE_BYTES,
            "max_headers": HEADERS,
            "auto_decompress": False,
        }
        # A client that leaves ends its question; what changes something is shielded from it.
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=GRACE_S, **self._options)
        await self.runner.setup()
        if not await self._listen():
            self._trying = asyncio.create_task(self._retry(), name=f"cogmeter web :{self.plan.port}")

    async def stop(self) -> None:
        """Free the port and let go of every client."""
        if self._trying is not None:
            self._trying.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self.runner is not None:
            from cogmeter.web.server.context import SERVED

            await self.runner.cleanup()
            self.runner.app[SERVED].clear()

    def finding(self) -> Finding:
        """How it is, for the doctor."""
        where = f"{self.plan.serves} at {self.address}"
        advice = f"It is tried again by itself; {self._mend}"
        return Finding(f"web :{self.plan.port}", well=self.listening, text=self._trouble or where, advice=advice)

    async def _listen(self) -> bool:
        """Whether it listens now."""
        from cogmeter.web.server.limits import connections

        assert self.runner is not None
        assert self.runner.server is not None
        make = connections(self.runner.server, **self._options)
        try:
            self._server = await asyncio.get_running_loop().create_server(make, self._host, self.plan.port)
        except (OSError, UnicodeError) as error:  # the latter of a host name that cannot be one
            self._tell(error)
            return False
        self._trouble = ""
        _logger.info("Serving %s at %s", self.plan.serves, self.address)
        return True

    async def _retry(self) -> None:
        for wait_s in chain(RETRY_S, repeat(RETRY_S[-1])):
            await asyncio.sleep(wait_s)
            if await self._listen():
                return

    def _tell(self, error: OSError | UnicodeError) -> None:
        """Say once what is wrong with the address, and keep how it is mended."""
        port, number = f"{self.plan.setting}={self.plan.port}", getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if number == errno.EADDRINUSE:
            trouble, self._mend = f"{port} on {self._host} is in use", f"free the port, or change {self.plan.setting}"
        elif number == errno.EADDRNOTAVAIL or isinstance(error, (socket.gaierror, UnicodeError)):
            named = env_name("http_host")
            trouble, self._mend = f"{named}={self._host} is no address of this machine: {reason}", f"change {named}"
        else:
            trouble, self._mend = f"{port} on {self._host} cannot be had: {reason}", f"change {self.plan.setting}"
        if trouble != self._trouble:
            _logger.warning("%s; it is tried again, and the bot goes on", trouble)
        self._trouble = trouble


def _shared(monitor: Monitor) -> Shared:
    from cogmeter.web.server.context import Shared
    from cogmeter.web.server.limits import Streams
    from cogmeter.web.server.security import Guard

    token = monitor.settings.http_token
    return Shared(monitor, Guard(None if token is None else token.get_secret_value()), Streams())


def _bare(host: str) -> str:
    """An IPv6 address without its brackets."""
    return host.removeprefix("[").removesuffix("]")
