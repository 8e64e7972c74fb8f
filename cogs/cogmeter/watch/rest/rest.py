"""Discord's REST: sees every attempt of every request, webhooks and interaction callbacks included.

discord.py's ``request`` knows the route, aiohttp's ``request`` sees each attempt; a context variable brings the two
together. (aiohttp's own tracing would do for the second, for five times the cost.) Names and budget hold no token,
because only the route's template is kept.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from discord.http import Route
from discord.webhook.async_ import AsyncWebhookAdapter

from cogmeter.recording.operation import now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.rest.attempts import Flight, RequestAttempt, RequestAttempts
from cogmeter.watch.rest.routes import operation_name
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Token
    from types import TracebackType

    from cogmeter.diagnosis import Finding
    from cogmeter.watch.surface import WatchContext

    Request = Callable[..., Coroutine[Any, Any, Any]]
    Sending = Callable[..., Any]  # what aiohttp gives: awaited, or entered by "async with"

_SEND: Final = ("method", "url", "kwargs")
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

    def __init__(self, ground: WatchContext) -> None:
        super().__init__(ground)
        self.attempts = RequestAttempts(ground)
        self._by_address = False  # without its hook, a request is named by its address

    def prepare(self) -> None:
        """The bot's own requests by its HTTP client, webhooks and callbacks by the adapter that all of them share.

        Attempts by the class of all sessions: there is a new one after each login, and webhooks come with their own.
        """
        http = self.ground.bot.http
        self._sent = Hook("attempts at requests", aiohttp.ClientSession, "request", self._sendings, expects=_SEND)
        self.hooks += [
            Hook("REST requests", http, "request", self._requests, expects=_REQUEST),
            Hook("webhook requests", AsyncWebhookAdapter, "request", self._webhooks, expects=_WEBHOOK),
            self._sent,
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """Without a route, the address names a request; without the attempts, a call is one operation."""
        self._by_address = any(hook is not self._sent for hook in failed)

    def sample(self) -> dict[str, float]:
        """429s by scope and seconds of waiting, of the last ten minutes; the share of the invalid requests."""
        return self.attempts.budget.gauges(now_ns() / 1e9)

    def findings(self) -> list[Finding]:
        """The hooks, and what is used of Discord's patience."""
        return [*super().findings(), self.attempts.budget.finding(now_ns() / 1e9)]

    def _requests(self, original: Request, hook: Hook) -> Request:
        async def request(route: Route, **options: Any) -> Any:
            if not hook.active:
                return await original(route, **options)
            return await self._flown(hook, route, original(route, **options))

        return request

    def _webhooks(self, original: Request, hook: Hook) -> Request:
        async def request(
            adapter: AsyncWebhookAdapter, route: Route, session: aiohttp.ClientSession, **options: Any
        ) -> Any:
            if not hook.active:
                return await original(adapter, route, session, **options)
            return await self._flown(hook, route, original(adapter, route, session, **options))

        return request

    async def _flown(self, hook: Hook, route: Route, call: Coroutine[Any, Any, Any]) -> Any:
        """Await the call, inside its flight."""
        if _flight.get() is not None:
            return await call  # another monitor of this process has hooked the call, too, and was asked first
        flight = token = error = None
        try:
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
            if flight.attempts:
                self.attempts.landed(flight)
            elif error is None or getattr(error, "response", None) is not None or not self._sent.active:
                self.attempts.whole(flight, error)  # else it was given up before anything was sent
            _flight.reset(token)
        except ValueError:
            return  # a call that nobody awaits to its end is closed in another context
        except Exception as fault:  # noqa: BLE001 - our fault must not replace the host's answer
            hook.fault(fault)

    def _sendings(self, original: Sending, hook: Hook) -> Sending:
        def request(session: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
            sending = original(session, method, url, **options)
            if not hook.active:
                return sending
            flight = _flight.get()
            if flight is None and self._by_address:
                flight = self._named_by_address(hook, method, url)
            # The flight may be that of another monitor of this process.
            if flight is None or flight.owner is not self.attempts:
                return sending
            return _Sending(self.attempts, hook, flight, sending)

        return request

    def _named_by_address(self, hook: Hook, method: str, url: object) -> Flight | None:
        try:
            address = str(url)
            if not address.startswith(Route.BASE):
                return None
            path = address.removeprefix(Route.BASE).partition("?")[0]
            return Flight(self.attempts, operation_name(method, path), alone=True)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)
            return None


class _Sending:
    """One attempt: what aiohttp gave, with what becomes of it noted."""

    __slots__ = ("_attempt", "_attempts", "_flight", "_hook", "_sending")

    def __init__(self, attempts: RequestAttempts, hook: Hook, flight: Flight, sending: Any) -> None:
        self._attempts, self._hook, self._flight, self._sending = attempts, hook, flight, sending
        self._attempt: RequestAttempt | None = None

    def __await__(self) -> Generator[Any, Any, aiohttp.ClientResponse]:
        return self._answer(self._sending).__await__()

    async def __aenter__(self) -> aiohttp.ClientResponse:
        return await self._answer(self._sending.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note(self._attempts.left, error)
        await self._sending.__aexit__(kind, error, trace)

    async def _answer(self, answer: Any) -> aiohttp.ClientResponse:
        try:
            self._attempt = self._attempts.begin(self._flight)
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            self._hook.fault(fault)
        try:
            response: aiohttp.ClientResponse = await answer
        except BaseException as error:
            self._note(self._attempts.failed, error)
            raise
        self._note(self._attempts.answered, response.status, response.headers)
        return response

    def _note(self, step: Callable[..., None], *what: Any) -> None:
        if self._attempt is None:
            return
        try:
            step(self._attempt, *what)
        except Exception as fault:  # noqa: BLE001 - see above
            self._hook.fault(fault)
