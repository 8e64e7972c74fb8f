"""Starts and stops the HTTP servers. Nothing here is fatal to the bot: a port in use is logged and retried."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cogmeter.diagnosis import Finding
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.render.links import public_url
from cogmeter.settings import LOCAL_NAMES, Settings, env_name
from cogmeter.times import SECOND_US
from cogmeter.web.server.login_codes import OPEN, VALID_S

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiohttp import web

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routing import Shared
    from cogmeter.web.server.security import Guard

SETTINGS: Final = frozenset({"analytics_dashboard", "dashboard_port", "http_port"})  # that decide what is served
HOST_PORTS: Final = ("SERVER_PORT", "PORT")  # environment variables in which bot hosts name their one public port
RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between attempts at a port; the last one repeats
GRACE_S: Final = 0.5  # for requests to finish when the servers stop
UPTIME: Final = "uptime"  # the job that stores it
UPTIME_S: Final = 600.0

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class DashboardLink:
    """A link to the dashboard for one user."""

    url: str
    valid_until_us: int | None  # of the one-time code in it; None without a token, when none is needed
    here: bool  # it opens only on the machine on which the bot runs
    tunnel: str  # the ssh command after which it opens on another machine, too


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One server: its port, the setting of the port, and whether it serves the dashboard's pages."""

    port: int
    setting: str
    pages: bool

    @property
    def content(self) -> str:
        """The parts that it serves, as text."""
        return "dashboard, API, health and metrics" if self.pages else "API, health and metrics"


def plans(settings: Settings, environ: Mapping[str, str]) -> list[ServerPlan]:
    """Return the servers to start; none unless PERFORMANCE_HTTP_PORT or the dashboard is enabled.

    The dashboard's server serves the API as well, so that pages use their own origin. When the dashboard is enabled and
    PERFORMANCE_HTTP_PORT is not set, a bot host's SERVER_PORT or PORT replaces it. It also replaces a default
    dashboard port, because such a host forwards no other port.
    """
    dashboard = settings.dashboard_port if settings.analytics_dashboard else None
    http, setting = settings.http_port, env_name("http_port")
    if dashboard is not None and http is None:
        http, setting = _host_port(environ)
        if http is not None and dashboard == Settings.model_fields["dashboard_port"].default:
            dashboard = http
    planned = [] if http is None else [ServerPlan(http, setting, pages=http == dashboard)]
    if dashboard is not None and dashboard != http:
        planned.append(ServerPlan(dashboard, env_name("dashboard_port"), pages=True))
    return planned


def _host_port(environ: Mapping[str, str]) -> tuple[int | None, str]:
    for name in HOST_PORTS:
        text = environ.get(name, "").strip()
        if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535:
            return int(text), name
        if text:
            _logger.warning("%s=%s is not a port, and is ignored. Use a number from 1 to 65535", name, text)
    return None, ""


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may resolve to any address


def url_host(host: str) -> str:
    """Return the host for a URL that is opened on this machine."""
    if host in {"0.0.0.0", "127.0.0.1"}:  # noqa: S104 - compared, not bound
        return "localhost"
    if host == "::":  # it listens on IPv6 only, and localhost may be IPv4
        return "[::1]"
    return f"[{host}]" if ":" in host else host


class Servers:
    """The HTTP servers of one bot: none, one or two."""

    def __init__(self, monitor: Monitor, environ: Mapping[str, str] = os.environ) -> None:
        """Nothing listens before ``start``. A bot host names its port in ``environ``."""
        self._monitor = monitor
        self._environ = environ
        self._shared: Shared | None = None
        self._health: Health | None = None
        self._guard: Guard | None = None  # a changed setting must not open ended sessions again, or use up codes
        self._listeners: list[Listener] = []
        self._failures: list[Finding] = []
        self._sweep_task: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        """Return the health checks of the bot, which commands and servers share."""
        from cogmeter.diagnostics.health import Health

        if self._health is None:
            self._health = Health(self._monitor)
        return self._health

    async def start(self) -> None:
        """Listen on every planned port; a port in use is retried in the background. Never raises."""
        try:
            planned = plans(self._monitor.settings, self._environ)
            if not planned or not self._is_allowed(planned):
                return
            await detached(self._open(planned), name="cogmeter web start")
        except Exception:
            self._monitor.faults["web"] += 1
            _logger.exception("Could not start the web servers")
            self._failures.append(Finding("web", well=False, text="could not start", advice="See the log"))

    async def stop(self) -> None:
        """End live streams, let requests finish, and free the ports. Never raises."""
        if self._shared is None:
            return
        try:
            await detached(self._close(self._shared), name="cogmeter web stop")
        except Exception:
            _logger.exception("Could not stop the web servers cleanly")
        self._shared = None

    async def follow(self, changed: Collection[str]) -> None:
        """Start what the changed settings plan, and stop what they do not plan any more. Never raises."""
        if not SETTINGS.isdisjoint(changed):
            await self.stop()
            self._failures.clear()
            await self.start()

    @property
    def addresses(self) -> list[str]:
        """The URLs that a browser can open now, the dashboard first."""
        ordered = sorted(self._listeners, key=lambda listener: not listener.plan.pages)
        return [listener.address for listener in ordered if listener.listening]

    def dashboard_link(self, user: int, actor: str) -> DashboardLink | None:
        """Return a link for a user, with a one-time code if a token is set; None while no dashboard is served."""
        listener = next((listener for listener in self._listeners if listener.plan.pages and listener.listening), None)
        if listener is None or self._shared is None:
            return None
        own, guard = urlsplit(listener.address), self._shared.guard
        base = self._public_url or f"{own.scheme}://{own.netloc}"
        tunnel = f"ssh -N -L {own.port}:{own.netloc} user@your-server"
        here = urlsplit(base).hostname in LOCAL_NAMES
        if not guard.has_token:
            return DashboardLink(f"{base}/performance", None, here, tunnel)
        code = guard.codes.issue(user, actor)
        return DashboardLink(f"{base}{OPEN}?code={code}", now_us() + VALID_S * SECOND_US, here, tunnel)

    @property
    def _public_url(self) -> str | None:
        """PERFORMANCE_DASHBOARD_URL, if it can be reached."""
        return public_url(self._monitor.settings)

    def findings(self) -> list[Finding]:
        """Return the state of each server for the doctor; nothing if none is planned."""
        findings = [*self._failures, *(listener.finding() for listener in self._listeners)]
        url = self._monitor.settings.dashboard_url
        if url and self._listeners and self._public_url is None:
            text = f"{env_name('dashboard_url')}={url} cannot be used: {env_name('http_token')} is not set"
            advice = f"Set {env_name('http_token')} to 32 or more random characters"
            findings.append(Finding("dashboard link", well=False, text=text, advice=advice))
        failed = self._monitor.faults["web"]
        if failed:
            findings.append(Finding("web requests", well=False, text=f"{failed} failed", advice="See the log"))
        return findings

    def _is_allowed(self, planned: list[ServerPlan]) -> bool:
        """Return True if the address may be used; if not, report it in the log and the doctor."""
        host, token = self._monitor.settings.http_host, self._monitor.settings.http_token
        if is_loopback(_without_brackets(host)) or token is not None:
            return True
        name = f"{env_name('http_host')}={host}"
        advice = f"Set {env_name('http_token')} to 32 or more random characters, or use 127.0.0.1"
        text = (
            f"{name} is reachable from other machines, and {env_name('http_token')} is not set: no server was started"
        )
        _logger.error("%s. %s", text, advice)
        self._failures = [Finding(f"web :{plan.port}", well=False, text=text, advice=advice) for plan in planned]
        return False

    async def _open(self, planned: list[ServerPlan]) -> None:
        # In a thread: importing the templates, models and metrics takes long.
        self._shared = shared = await asyncio.to_thread(_shared, self._monitor, self.health, self._guard)
        self._guard = shared.guard
        from cogmeter.web.server.limits import sweep

        self._sweep_task = asyncio.create_task(sweep(self._running), name="cogmeter web sweep")
        schedule = self._monitor.schedule
        if shared.status is not None and all(job.id != UPTIME for job in schedule.jobs):
            schedule.every(UPTIME_S, UPTIME, shared.status.uptime.keep)
        self._listeners = [Listener(plan, self._monitor.settings.http_host, shared) for plan in planned]
        for listener in self._listeners:
            await listener.start()

    def _running(self) -> list[web.Server]:
        runners = [listener.runner for listener in self._listeners if listener.runner is not None]
        return [runner.server for runner in runners if runner.server is not None]

    async def _close(self, shared: Shared) -> None:
        shared.streams.ended.set()
        if self._sweep_task is not None:
            self._sweep_task.cancel()
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        self._listeners = []


class Listener:
    """One server on its port."""

    def __init__(self, plan: ServerPlan, host: str, shared: Shared) -> None:
        self.plan = plan
        self._host = _without_brackets(host)
        self._shared = shared
        self.runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._failure, self._advice = "", f"change {plan.setting}"
        self._retry_task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """True while the port is open."""
        return self._server is not None

    @property
    def address(self) -> str:
        """The URL for a browser."""
        return f"http://{url_host(self._host)}:{self.plan.port}{'/performance' if self.plan.pages else '/api'}"

    async def start(self) -> None:
        """Build the application and try the port once; later attempts are made in the background."""
        from aiohttp import web

        from cogmeter.web.server.app import build
        from cogmeter.web.server.limits import HEADERS, IDLE_S, LINE_BYTES

        app = await asyncio.to_thread(build, self._shared, pages=self.plan.pages)
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": _logger,  # malformed requests are not errors of the host
            "keepalive_timeout": IDLE_S,
            "max_line_size": LINE_BYTES,
            "max_field_size": LINE_BYTES,
            "max_headers": HEADERS,
            "auto_decompress": False,
        }
        # A client that disconnects cancels its request; changes are shielded from it.
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=GRACE_S, **self._options)
        await self.runner.setup()
        if not await self._listen():
            self._retry_task = asyncio.create_task(self._retry(), name=f"cogmeter web :{self.plan.port}")

    async def stop(self) -> None:
        """Free the port and disconnect every client."""
        if self._retry_task is not None:
            self._retry_task.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self.runner is not None:
            from cogmeter.web.api.routing import CONTEXT

            await self.runner.cleanup()
            self.runner.app[CONTEXT].clear()

    def finding(self) -> Finding:
        """Return its state for the doctor."""
        text = self._failure or f"{self.plan.content} at {self.address}"
        advice = f"cogmeter retries by itself. To fix it, {self._advice}"
        return Finding(f"web :{self.plan.port}", well=self.listening, text=text, advice=advice)

    async def _listen(self) -> bool:
        """Open the port; return False if that fails."""
        from cogmeter.web.server.limits import connections

        assert self.runner is not None
        assert self.runner.server is not None
        factory = connections(self.runner.server, **self._options)
        try:
            self._server = await asyncio.get_running_loop().create_server(factory, self._host, self.plan.port)
        except (OSError, UnicodeError) as error:  # UnicodeError for a host name that is not valid
            self._report(error)
            return False
        self._failure = ""
        _logger.info("Serving %s at %s", self.plan.content, self.address)
        return True

    async def _retry(self) -> None:
        for wait_s in chain(RETRY_S, repeat(RETRY_S[-1])):
            await asyncio.sleep(wait_s)
            if await self._listen():
                return

    def _report(self, error: OSError | UnicodeError) -> None:
        """Log a new failure once, and keep it with its advice for the doctor."""
        setting, number = f"{self.plan.setting}={self.plan.port}", getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if number == errno.EADDRINUSE:
            failure = f"{setting} on {self._host} is in use"
            self._advice = f"free the port, or change {self.plan.setting}"
        elif number == errno.EADDRNOTAVAIL or isinstance(error, (socket.gaierror, UnicodeError)):
            failure = f"{env_name('http_host')}={self._host} is not an address of this machine: {reason}"
            self._advice = f"change {env_name('http_host')}"
        else:
            failure = f"cannot listen on {setting} on {self._host}: {reason}"
            self._advice = f"change {self.plan.setting}"
        if failure != self._failure:
            _logger.warning("%s. cogmeter retries; the bot keeps running", failure)
        self._failure = failure


def _shared(monitor: Monitor, health: Health, guard: Guard | None) -> Shared:
    from cogmeter.web.api.routes.live import Live
    from cogmeter.web.api.routing import LogThrottle, Shared
    from cogmeter.web.metrics.scrape import Scraper
    from cogmeter.web.pages.status import StatusPage
    from cogmeter.web.server.limits import StreamLimit
    from cogmeter.web.server.security import Guard

    token = monitor.settings.http_token
    status = StatusPage(monitor, health) if monitor.settings.status_page else None
    return Shared(
        monitor,
        guard or Guard(None if token is None else token.get_secret_value()),
        StreamLimit(),
        health,
        Live(monitor, health),
        Scraper(monitor, health),
        LogThrottle(),
        status,
    )


def _without_brackets(host: str) -> str:
    """Return an IPv6 address without its brackets."""
    return host.removeprefix("[").removesuffix("]")
