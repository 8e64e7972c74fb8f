"""Records every attempt of every request to Discord's REST API, also of webhooks and interaction callbacks.

discord.py's ``request`` knows the route, aiohttp's ``request`` makes each attempt; a context variable connects the two.
(aiohttp's own tracing would cost five times as much.) Only the route's template is kept, so that names and budget
contain no tokens.
"""

from __future__ import annotations

import functools
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from discord.http import Route
from discord.webhook.async_ import AsyncWebhookAdapter

from cogmeter.recording.operation import now_ns
from cogmeter.recording.recorder import MAX_NAME
from cogmeter.watch.hook import Hook
from cogmeter.watch.rest.attempts import ApiCall, RequestAttempt, RequestAttempts
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Token
    from types import TracebackType

    from cogmeter.diagnosis import Finding
    from cogmeter.watch.surface import WatchContext

    Request = Callable[..., Coroutine[Any, Any, Any]]
    Sending = Callable[..., Any]  # aiohttp's result: awaited, or entered by "async with"

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

# Requests that a user sees as a reply; True: an edit, which only continues one.
_OUTPUTS: Final = {
    "POST /channels/{channel_id}/messages": False,
    "POST /channels/{channel_id}/typing": False,
    "POST /webhooks/{webhook_id}/{webhook_token}": False,
    "PATCH /channels/{channel_id}/messages/{message_id}": True,
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}": True,
}

# Ids, tokens, emoji and codes in paths: without them the number of names is bounded.
_RAW = re.compile(
    r"(?P<hook>/(?:webhooks|interactions)/)(?:\d+|(?P<hook_id>\{\w+\}))/[^/{]+"  # the next part is a token
    r"|(?P<emoji>/reactions/)[^/{@]+"
    r"|(?P<code>/(?:invites|templates)/)[^/{]+"
    r"|/\d{15,21}(?=/|$)"
)

# The call of discord.py's ``request`` that the running code is inside of.
_api_call: ContextVar[ApiCall | None] = ContextVar("cogmeter_api_call", default=None)


class Rest(Surface):
    """One operation of ``discord.rest`` for each attempt, named by method and route template."""

    name = "rest"
    setting = "watch_rest"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self.attempts = RequestAttempts(context)
        self._by_address = False  # without the hook on the route, a request is named by its address

    def prepare(self) -> None:
        """Hook the bot's HTTP client, and the adapter of all webhooks and callbacks.

        Attempts are hooked on the class of sessions: each login creates a new session, and webhooks have their own.
        """
        http = self.context.bot.http
        self._sent = Hook("attempts at requests", aiohttp.ClientSession, "request", self._sendings, expects=_SEND)
        self._bots = Hook("REST requests", http, "request", self._requests, expects=_REQUEST)
        self.hooks += [
            self._bots,
            Hook("webhook requests", AsyncWebhookAdapter, "request", self._webhooks, expects=_WEBHOOK),
            self._sent,
        ]

    async def install(self) -> None:
        """Install the hooks; replies are known if each request of the bot passes one."""
        await super().install()
        self.context.sees_requests = self._bots.active

    def fall_back(self, failed: list[Hook]) -> None:
        """Name requests by address without the route; record a call as one operation without its attempts."""
        self._by_address = any(hook is not self._sent for hook in failed)

    def sample(self) -> dict[str, float]:
        """Return 429s by scope, seconds of waiting, and the share of invalid requests in the last ten minutes."""
        return self.attempts.budget.gauges(now_ns() / 1e9)

    def findings(self) -> list[Finding]:
        """Return the findings of the hooks and of the budget."""
        return [*super().findings(), self.attempts.budget.finding(now_ns() / 1e9)]

    def _requests(self, original: Request, hook: Hook) -> Request:
        async def request(route: Route, **options: Any) -> Any:
            if not hook.active:
                return await original(route, **options)
            return await self._track(hook, route, original(route, **options))

        return request

    def _webhooks(self, original: Request, hook: Hook) -> Request:
        async def request(
            adapter: AsyncWebhookAdapter, route: Route, session: aiohttp.ClientSession, **options: Any
        ) -> Any:
            if not hook.active:
                return await original(adapter, route, session, **options)
            return await self._track(hook, route, original(adapter, route, session, **options))

        return request

    async def _track(self, hook: Hook, route: Route, call: Coroutine[Any, Any, Any]) -> Any:
        """Await the call, with its record in the context."""
        if _api_call.get() is not None:
            return await call  # another monitor of this process has hooked the call, too, and was called first
        api_call = token = error = None
        try:
            api_call = ApiCall(self.attempts, operation_name(route.method, route.path))
            token = _api_call.set(api_call)
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            hook.fault(fault)
        try:
            return await call
        except BaseException as raised:
            error = raised
            raise
        finally:
            if api_call is not None and token is not None:
                self._finish(hook, api_call, token, error)
                self._pass_on(hook, api_call.operation, error)
            error = None  # the frame and its exception would reference each other

    def _finish(self, hook: Hook, api_call: ApiCall, token: Token[ApiCall | None], error: BaseException | None) -> None:
        try:
            if api_call.attempts:
                self.attempts.finished(api_call)
            elif error is None or getattr(error, "response", None) is not None or not self._sent.active:
                self.attempts.record_whole(api_call, error)  # else it was cancelled before anything was sent
            _api_call.reset(token)
        except ValueError:
            return  # a call that is not awaited to its end is closed in another context
        except Exception as fault:  # noqa: BLE001 - our fault must not replace the host's answer
            hook.fault(fault)

    def _pass_on(self, hook: Hook, operation: str, error: BaseException | None) -> None:
        """Pass a message or typing on to the reply that it belongs to."""
        replies, edit = self.context.replies, _OUTPUTS.get(operation)
        if replies is None or edit is None:
            return
        try:
            replies.sent(error, edit=edit)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)

    def _sendings(self, original: Sending, hook: Hook) -> Sending:
        def request(session: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
            sending = original(session, method, url, **options)
            if not hook.active:
                return sending
            api_call = _api_call.get()
            if api_call is None and self._by_address:
                api_call = self._named_by_address(hook, method, url)
            # The call may be recorded by another monitor of this process.
            if api_call is None or api_call.owner is not self.attempts:
                return sending
            return _Sending(self.attempts, hook, api_call, sending)

        return request

    def _named_by_address(self, hook: Hook, method: str, url: object) -> ApiCall | None:
        try:
            address = str(url)
            if not address.startswith(Route.BASE):
                return None
            path = address.removeprefix(Route.BASE).partition("?")[0]
            return ApiCall(self.attempts, operation_name(method, path), alone=True)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)
            return None


class _Sending:
    """A wrapper of aiohttp's request object that records the attempt."""

    __slots__ = ("_api_call", "_attempt", "_attempts", "_hook", "_sending")

    def __init__(self, attempts: RequestAttempts, hook: Hook, api_call: ApiCall, sending: Any) -> None:
        self._attempts, self._hook, self._api_call, self._sending = attempts, hook, api_call, sending
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
            self._attempt = self._attempts.begin(self._api_call)
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            self._hook.fault(fault)
        try:
            response: aiohttp.ClientResponse = await answer
        except BaseException as error:
            self._note(self._attempts.failed, error)
            raise
        self._note(self._attempts.answered, response.status, response.headers)
        return response

    def _note(self, step: Callable[..., None], *arguments: Any) -> None:
        if self._attempt is None:
            return
        try:
            step(self._attempt, *arguments)
        except Exception as fault:  # noqa: BLE001 - see above
            self._hook.fault(fault)


@functools.lru_cache(maxsize=2048)
def operation_name(method: str, path: str) -> str:
    """Return ``POST /channels/{channel_id}/messages`` for a template, or for a path with ids and tokens."""
    return f"{method} {_RAW.sub(_placeholder, path)}"[:MAX_NAME]


def _placeholder(match: re.Match[str]) -> str:
    if match["hook"]:
        return f"{match['hook']}{match['hook_id'] or '{id}'}/{{token}}"
    if match["emoji"]:
        return f"{match['emoji']}{{emoji}}"
    return f"{match['code']}{{code}}" if match["code"] else "/{id}"
