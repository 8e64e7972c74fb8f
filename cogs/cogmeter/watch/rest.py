"""Discord's REST: sees every attempt of every request, webhooks and interaction callbacks included.

discord.py's ``request`` knows the route, aiohttp's tracing sees the attempts in it; a context variable brings the two
together. Budget and names hold no token, because only the route's template is kept.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from discord.http import Route
from discord.webhook.async_ import AsyncWebhookAdapter
from yarl import URL

from cogmeter.finding import Finding
from cogmeter.timing import now_ns
from cogmeter.watch.attempts import Attempts, Flight
from cogmeter.watch.hook import Hook
from cogmeter.watch.routes import operation_name
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Token
    from types import SimpleNamespace

    from cogmeter.watch.surface import Ground

    Request = Callable[..., Coroutine[Any, Any, Any]]

_REQUEST: Final = ("route", "files", "form", "kwargs")
_WEBHOOK: Final = (
    "route",
    "session",
    "payload",
    "multipart",
    "proxy",
    "proxy_auth",
    "files",
    "reason",
    "auth_token",
    "params",
)

# The call of discord.py's that the running code is inside of.
_flight: ContextVar[Flight | None] = ContextVar("cogmeter_rest_flight", default=None)


class Rest(Surface):
    """The service ``discord.rest``; each attempt is one operation, named by method and route template."""

    name = "rest"
    setting = "watch_rest"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.attempts = Attempts(ground)
        self._config = self._tracing()
        self._followed: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()
        self._by_address = False  # without its hook, a request is named by its address
        self._unfollowed = ""  # why the attempts of some session cannot be seen

    def prepare(self) -> None:
        """The bot's own requests by its HTTP client, webhooks and callbacks by the adapter that all of them share."""
        http = self.ground.bot.http
        self.hooks += [
            Hook("REST requests", http, "request", self._requests, expects=_REQUEST),
            Hook("webhook requests", AsyncWebhookAdapter, "request", self._webhooks, expects=_WEBHOOK),
        ]

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - one way stands in for either hook
        """Without a hook, follow the session alone: from now, or from the login on."""
        self._by_address = True
        self._follow(self._session())
        self.listeners.append(("on_connect", self._on_connect))

    async def remove(self) -> None:
        """Also let go of all sessions."""
        await super().remove()
        for session in list(self._followed):
            configs = session.trace_configs
            configs[:] = [config for config in configs if config is not self._config]
        self._followed.clear()

    def sample(self) -> dict[str, float]:
        """429s by scope and seconds of waiting, of the last ten minutes; the share of the invalid requests."""
        return self.attempts.budget.gauges(now_ns() / 1e9)

    def findings(self) -> list[Finding]:
        """The hooks, what is used of Discord's patience, and sessions that cannot be followed."""
        found = [*super().findings(), self.attempts.budget.finding(now_ns() / 1e9)]
        if self._unfollowed:
            text = f"Some requests are recorded with their retries and waits as one: {self._unfollowed}"
            found.append(Finding(self.name, well=False, text=text, advice="Update cogmeter or aiohttp"))
        return found

    def _requests(self, original: Request, hook: Hook) -> Request:
        async def request(route: Route, **options: Any) -> Any:
            if not hook.active:
                return await original(route, **options)
            return await self._flown(hook, self._session(), route, original(route, **options))

        return request

    def _webhooks(self, original: Request, hook: Hook) -> Request:
        async def request(
            adapter: AsyncWebhookAdapter, route: Route, session: aiohttp.ClientSession, **options: Any
        ) -> Any:
            if not hook.active:
                return await original(adapter, route, session, **options)
            return await self._flown(hook, session, route, original(adapter, route, session, **options))

        return request

    async def _flown(self, hook: Hook, session: Any, route: Route, call: Coroutine[Any, Any, Any]) -> Any:
        """Await the call, inside its flight."""
        flight = token = error = None
        try:
            self._follow(session)
            flight = Flight(self.attempts, operation_name(route.method, route.path))
            token = _flight.set(flight)
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            hook.fault(fault)
        try:
            return await call
        except BaseException as raised:
            error = raised
            raise
        finally:
            if flight is not None and token is not None:
                self._land(hook, flight, token, error)
            error = None  # the frame and its exception would hold each other

    def _land(self, hook: Hook, flight: Flight, token: Token[Flight | None], error: BaseException | None) -> None:
        try:
            if flight.attempts or not self._unfollowed:
                self.attempts.landed(flight, error)
            else:
                answer = getattr(error, "response", None)
                status, headers = (answer.status, answer.headers) if answer is not None else (0 if error else 200, {})
                self.attempts.whole(flight, error, status, headers)
            _flight.reset(token)
        except ValueError:
            return  # a call that nobody awaits to its end is closed in another context
        except Exception as fault:  # noqa: BLE001 - our fault must not replace the host's answer
            hook.fault(fault)

    def _session(self) -> Any:
        """discord.py's session: new at each login, and something that is false before the first."""
        return getattr(self.ground.bot.http, "_HTTPClient__session", None)

    def _follow(self, session: Any) -> None:
        """See the attempts of this session from now on. A webhook may come with a session of the host's."""
        if not session or session in self._followed:
            return
        try:
            if not any(config is self._config for config in session.trace_configs):
                session.trace_configs.append(self._config)
            self._followed.add(session)
        except (AttributeError, TypeError) as error:
            self._unfollowed = f"{type(session).__name__}: {error}"

    async def _on_connect(self) -> None:
        self._follow(self._session())

    def _tracing(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._guarded(self._began))
        config.on_request_end.append(self._guarded(self._answered))
        config.on_response_chunk_received.append(self._guarded(self._read))
        config.on_request_exception.append(self._guarded(self._failed))
        # aiohttp freezes what a session is built with; one that comes later must be frozen by whoever adds it.
        config.freeze()
        return config

    def _guarded(self, see: Callable[[SimpleNamespace, Any], None]) -> Callable[..., Coroutine[Any, Any, None]]:
        async def signal(_: aiohttp.ClientSession, attempt: SimpleNamespace, parameters: Any) -> None:
            try:
                see(attempt, parameters)
            except Exception as error:  # noqa: BLE001 - our fault must not lose the host's request
                self.hooks[0].fault(error)

        return signal

    def _began(self, seen: SimpleNamespace, parameters: aiohttp.TraceRequestStartParams) -> None:
        flight = _flight.get()
        if flight is None and self._by_address and str(parameters.url).startswith(Route.BASE):
            path = str(parameters.url.path).removeprefix(URL(Route.BASE).path)
            flight = Flight(self.attempts, operation_name(parameters.method, path))
            seen.alone = True
        # Another monitor of this process may follow the same session for calls that it hooked.
        mine = flight is not None and flight.owner is self.attempts
        seen.attempt = self.attempts.begin(flight) if flight is not None and mine else None

    def _answered(self, seen: SimpleNamespace, parameters: aiohttp.TraceRequestEndParams) -> None:
        if seen.attempt is not None:
            self.attempts.answered(seen.attempt, parameters.response.status, parameters.response.headers)

    def _read(self, seen: SimpleNamespace, _: aiohttp.TraceResponseChunkReceivedParams) -> None:
        if seen.attempt is not None:
            self.attempts.read(seen.attempt)
            if getattr(seen, "alone", False):
                self.attempts.landed(seen.attempt.flight, None)

    def _failed(self, seen: SimpleNamespace, parameters: aiohttp.TraceRequestExceptionParams) -> None:
        if seen.attempt is not None:
            self.attempts.failed(seen.attempt, parameters.exception)
