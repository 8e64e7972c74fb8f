"""Requests of httpx's clients, sync and async: what the clients of OpenAI, Anthropic and Ollama use.

httpx is the host's: it is hooked once the host has imported it, and never imported here. ``send`` is public, passed by
every request, and includes redirects and authentication. Inside it, ``_send_single_request`` returns with the headers
of an answer, which is the time to the first byte.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cogmeter.recording.background import is_own
from cogmeter.recording.tracing import inherited
from cogmeter.watch.dependencies.host_request import current, enter, leave
from cogmeter.watch.dependencies.llm_answers import reader_of
from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    from cogmeter.watch.dependencies.host_request import HostRequest, HostRequests

_NEEDED = ("AsyncByteStream", "AsyncClient", "Client", "RequestError", "SyncByteStream")


class HttpxRequests:
    """The hooks on httpx."""

    def __init__(self, requests: HostRequests, *, reads_tokens: bool = False) -> None:
        """``reads_tokens``: read the tokens of the answers of known AI hosts."""
        self._requests = requests
        self._reads_tokens = reads_tokens
        self._upstream: tuple[type[BaseException], ...] = ()
        self._not_sent: tuple[type[BaseException], ...] = ()
        self._sync_stream: type[_Stream] | None = None
        self._async_stream: type[_Stream] | None = None

    @property
    def imported(self) -> bool:
        """True if the host has imported httpx, completely."""
        module = sys.modules.get("httpx")
        return module is not None and all(hasattr(module, name) for name in _NEEDED)

    def hooks(self) -> list[Hook]:
        """Return the hooks that are not installed yet."""
        module = sys.modules["httpx"]
        self._upstream = (module.RequestError,)
        kinds = (getattr(module, name, None) for name in ("UnsupportedProtocol", "LocalProtocolError"))
        self._not_sent = tuple(kind for kind in kinds if kind is not None)
        self._sync_stream, self._async_stream = _sync_stream(module), _async_stream(module)
        return [
            Hook("httpx requests", module.Client, "send", self._wrap_send),
            Hook("httpx async requests", module.AsyncClient, "send", self._wrap_async_send),
            Hook("httpx answers", module.Client, "_send_single_request", self._wrap_single),
            Hook("httpx async answers", module.AsyncClient, "_send_single_request", self._wrap_async_single),
        ]

    def end(self, request: HostRequest, error: BaseException) -> None:
        """Record a request that failed."""
        sent = not isinstance(error, self._not_sent)
        request.end(error, upstream=sent and isinstance(error, self._upstream))

    def _wrap_send(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def send(client: Any, *arguments: Any, **options: Any) -> Any:
            request = self._begin(hook, arguments, options) if hook.active else None
            if request is None:
                return original(client, *arguments, **options)
            token = enter(request)
            try:
                response = original(client, *arguments, **options)
            except BaseException as error:
                self.end(request, error)
                raise
            finally:
                leave(token)
            self._answered(request, response, self._sync_stream)
            return response

        return send

    def _wrap_async_send(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        async def send(client: Any, *arguments: Any, **options: Any) -> Any:
            request = self._begin(hook, arguments, options) if hook.active else None
            if request is None:
                return await original(client, *arguments, **options)
            token = enter(request)
            try:
                response = await original(client, *arguments, **options)
            except BaseException as error:
                self.end(request, error)
                raise
            finally:
                leave(token)
            self._answered(request, response, self._async_stream)
            return response

        return send

    def _wrap_single(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def _send_single_request(client: Any, *arguments: Any, **options: Any) -> Any:
            response = original(client, *arguments, **options)
            _note_headers(hook, response)
            return response

        return _send_single_request

    def _wrap_async_single(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        async def _send_single_request(client: Any, *arguments: Any, **options: Any) -> Any:
            response = await original(client, *arguments, **options)
            _note_headers(hook, response)
            return response

        return _send_single_request

    def _begin(self, hook: Hook, arguments: tuple[Any, ...], options: dict[str, Any]) -> HostRequest | None:
        try:
            scope = inherited()
            if is_own(scope):
                return None  # cogmeter's own request
            request = arguments[0] if arguments else options["request"]
            host = request.url.raw_host.decode("ascii")
            return self._requests.begin(hook, host, request.method, scope) if host else None
        except Exception as fault:  # noqa: BLE001 - our fault must not lose the host's request
            hook.fault(fault)
            return None

    def _answered(self, request: HostRequest, response: Any, stream: type[_Stream] | None) -> None:
        """End the request with its answer: now if it was read, else when its stream ends."""
        try:
            if not request.status:
                request.answered(response.status_code)
            if self._reads_tokens and request.status < 400:
                request.llm = reader_of(request.host, response.headers)
            if response.is_closed or stream is None:
                if request.llm is not None:
                    request.llm.feed_decoded(response.content)
                request.end()
            else:
                response.stream = stream(self, response.stream, request)
        except Exception as fault:  # noqa: BLE001 - see above
            request.fault(fault)


def _note_headers(hook: Hook, response: Any) -> None:
    request = current() if hook.active else None
    if request is None:
        return
    try:
        request.answered(response.status_code)
    except Exception as fault:  # noqa: BLE001 - see above
        hook.fault(fault)


class _Stream:
    """An unread answer's stream, which it passes on; the request ends with it."""

    def __init__(self, owner: HttpxRequests, stream: Any, request: HostRequest) -> None:
        self._owner, self._stream, self._request = owner, stream, request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _feed(self, part: bytes) -> None:
        """Show the bytes to the reader of tokens."""
        llm = self._request.llm
        if llm is not None:
            llm.feed(part)

    def __del__(self) -> None:
        self._request.end(complete=False)  # it was neither read nor closed


def _sync_stream(module: ModuleType) -> type[_Stream]:
    class SyncStream(_Stream, module.SyncByteStream):  # type: ignore[name-defined,misc]  # httpx checks the class
        def __iter__(self) -> Iterator[bytes]:
            try:
                for part in self._stream:
                    self._feed(part)
                    yield part
            except GeneratorExit:
                raise  # the reader stopped, and closes the answer next
            except BaseException as error:
                self._owner.end(self._request, error)
                raise
            self._request.end()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._request.end(complete=False)

    return SyncStream


def _async_stream(module: ModuleType) -> type[_Stream]:
    class AsyncStream(_Stream, module.AsyncByteStream):  # type: ignore[name-defined,misc]  # see above
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for part in self._stream:
                    self._feed(part)
                    yield part
            except GeneratorExit:
                raise
            except BaseException as error:
                self._owner.end(self._request, error)
                raise
            self._request.end()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._request.end(complete=False)

    return AsyncStream
