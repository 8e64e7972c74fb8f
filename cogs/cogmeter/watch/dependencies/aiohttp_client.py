"""Requests of aiohttp's sessions, websocket handshakes included.

Every request of every session passes ``ClientSession._request``; ``get``, ``post`` and ``ws_connect`` do not pass
``request``. It follows redirects and retries a lost connection itself, so that these are part of one operation.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from discord.gateway import DiscordClientWebSocketResponse
from discord.http import Route

from cogmeter.recording.background import is_own
from cogmeter.recording.tracing import inherited
from cogmeter.watch.dependencies.host_request import enter, leave
from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from cogmeter.watch.dependencies.host_request import HostRequest, HostRequests

    Request = Callable[..., Coroutine[Any, Any, aiohttp.ClientResponse]]

_SWITCHED: Final = 101  # the status of a websocket's handshake, which has no body


class AiohttpRequests:
    """The hook on aiohttp."""

    def __init__(self, requests: HostRequests) -> None:
        self._requests = requests

    def hooks(self) -> list[Hook]:
        """Return the hooks that are not installed yet."""
        return [Hook("aiohttp requests", aiohttp.ClientSession, "_request", self._wrap)]

    def _wrap(self, original: Request, hook: Hook) -> Request:
        async def _request(session: aiohttp.ClientSession, *arguments: Any, **options: Any) -> aiohttp.ClientResponse:
            request = self._begin(hook, session, arguments, options) if hook.active else None
            if request is None:
                return await original(session, *arguments, **options)
            token = enter(request)
            try:
                response = await original(session, *arguments, **options)
            except BaseException as error:
                _failed(request, error)
                raise
            finally:
                leave(token)
            _answered(request, response)
            return response

        return _request

    def _begin(
        self, hook: Hook, session: aiohttp.ClientSession, arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> HostRequest | None:
        try:
            scope = inherited()
            if is_own(scope):
                return None  # cogmeter's own request
            method = arguments[0] if arguments else options["method"]
            address = arguments[1] if len(arguments) > 1 else options["str_or_url"]
            if str(address).startswith(Route.BASE):
                return None  # of Discord's API: ``discord.rest``
            url = session._build_url(address)  # noqa: SLF001 - adds the session's base address
            if url.scheme in {"ws", "wss"} and session._ws_response_class is DiscordClientWebSocketResponse:  # noqa: SLF001 - the gateway surface watches discord.py's connections
                return None
            return self._requests.begin(hook, url.raw_host, method, scope) if url.raw_host else None
        except (ValueError, AssertionError):
            return None  # no valid address: aiohttp says so
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            hook.fault(fault)
            return None


def _answered(request: HostRequest, response: aiohttp.ClientResponse) -> None:
    """Note the answer; the request ends with its body."""
    try:
        request.answered(response.status)
        if response.status == _SWITCHED:
            request.end()
        else:
            response.content.on_eof(_BodyEnd(request, response))  # called at once if the body is complete
    except Exception as fault:  # noqa: BLE001 - the response class may be the host's
        request.fault(fault)


def _failed(request: HostRequest, error: BaseException) -> None:
    """Record a request that ended without an answer, or whose session raises for a status."""
    if isinstance(error, aiohttp.ClientResponseError) and not isinstance(error.__cause__, HttpProcessingError):
        status = getattr(error, "status", 0)  # aiohttp reports an answer that is not HTTP as status 400
        if isinstance(status, int) and status:
            request.answered(status)
    request.end(error, upstream=_is_upstream(error))


def _is_upstream(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientError) and not isinstance(error, ValueError)  # InvalidURL was not sent


class _BodyEnd:
    """The end of a body, on the list of a stream's callbacks.

    The stream calls it when the body is complete. If the answer is closed, fails, or loses its connection before, the
    stream drops it uncalled; nothing else refers to it, so that it is finalized then. (aiohttp does not collect an
    unread answer before its connection ends: the connection refers to the stream, and the stream to the answer.)
    """

    __slots__ = ("_request", "_response")

    def __init__(self, request: HostRequest, response: aiohttp.ClientResponse) -> None:
        self._request, self._response = request, response

    def __call__(self) -> None:
        self._request.end()

    def __del__(self) -> None:
        if self._request.ended:
            return
        try:
            error = self._error()
            self._request.end(error, upstream=error is not None and _is_upstream(error))
        except Exception as fault:  # noqa: BLE001 - also while the interpreter shuts down
            self._request.fault(fault)

    def _error(self) -> BaseException | None:
        """Return the error that ended the body; None if the host closed it or left it unread."""
        error = self._response.content.exception()
        if error is not None and type(error) is not aiohttp.ClientConnectionError:
            return error
        # aiohttp closes the answer while it handles a time-out or a cancellation of the read. An unrelated exception
        # that the host handles while it closes the answer is not the answer's.
        handled = sys.exc_info()[1]
        return handled if handled is not None and _raised_in_aiohttp(handled) else None


def _raised_in_aiohttp(error: BaseException) -> bool:
    trace, name = error.__traceback__, ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return name.partition(".")[0] == "aiohttp"
