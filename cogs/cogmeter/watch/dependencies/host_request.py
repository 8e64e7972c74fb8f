"""One request to another host: its name, its outcome and its place in the trace, until its answer has ended.

Only the host, the method, the status, times, the types of exceptions and the calling line of a failure are kept: no
port, path, query, header or text of an exception, which often contains the address.
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording import tracing
from cogmeter.recording.frames import CALLED_FROM, calling_instruction, line_text
from cogmeter.recording.llm_usage import is_first
from cogmeter.recording.operation import now_ns, tenths_ms
from cogmeter.recording.recorder import MAX_NAME, OTHER, valid_name
from cogmeter.recording.service_names import HTTP
from cogmeter.watch.rest.attempts import outcome_of_status, status_text
from cogmeter_storage.model import FAILURES, Outcome

if TYPE_CHECKING:
    from contextvars import Token

    from cogmeter.recording.recorder import Recorder
    from cogmeter.recording.usage_reader import LlmUsage
    from cogmeter.watch.dependencies.llm_answers import LlmAnswer
    from cogmeter.watch.hook import Hook

MAX_HOSTS: Final = 50  # with a service of their own; later ones share ``http.(other)``
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_OK: Final = Outcome.OK  # bound once: an enum lookup is slow
_DEPTH: Final = 4  # frames between a host's call and the request: begin three times, and the wrapper
_CAUSES: Final = 10  # exceptions of a chain that are followed

# The request that the running code is inside of. A client that sends through another one (httpx through aiohttp) is
# recorded once, and the inner part of a client finds the request of its outer part.
_current: ContextVar[HostRequest | None] = ContextVar("cogmeter_host_request", default=None)

# The hosts of each recorder: it survives reloads of the extension, and the limit has to.
_hosts: Final[weakref.WeakKeyDictionary[Recorder, set[str]]] = weakref.WeakKeyDictionary()


class HostRequest:
    """A request in progress. Its methods never raise, and any thread may call them."""

    __slots__ = (
        "_caller",
        "_first_byte_ns",
        "_hook",
        "_requests",
        "_scope",
        "began_ns",
        "ended",
        "host",
        "llm",
        "method",
        "status",
    )

    def __init__(self, requests: HostRequests, hook: Hook, host: str, method: str, scope: tracing.Scope | None) -> None:
        """Begin the request now."""
        self._requests, self._hook = requests, hook
        self.host, self.method = host, method
        self.status = 0
        self.ended = False
        self.llm: LlmAnswer | None = None  # the reader of tokens in its answer
        self._scope = scope
        self._first_byte_ns = 0
        self._caller = calling_instruction(_DEPTH)
        self.began_ns = now_ns()

    def answered(self, status: int) -> None:
        """Note the status of an answer; of several answers (redirects) the last one counts."""
        self._first_byte_ns = now_ns()
        self.status = status

    def end(self, error: BaseException | None = None, *, upstream: bool = False, complete: bool = True) -> None:
        """Record the request, once.

        ``upstream``: this error means that the host failed or was not reached. ``complete``: its answer was read.
        """
        if self.ended:
            return
        self.ended = True
        if not self._hook.active:
            return
        llm, self.llm = self.llm, None
        usage = None if llm is None else llm.result(cut=error is not None or not complete)
        try:
            if error is None and self.status < 400:  # most requests
                self._requests.record(self, _OK, None, usage)
                return
            outcome = _outcome(self.status, error, upstream=upstream)
            self._requests.record(self, outcome, None if outcome is _OK else _text(self.status, error), usage)
        except Exception as fault:  # noqa: BLE001 - our fault must not reach the host's request
            self._hook.fault(fault)

    def fault(self, error: BaseException) -> None:
        """Record the request as it is known, and count an internal error."""
        self._hook.fault(error)
        self.end()

    def metadata(self, outcome: Outcome) -> dict[str, Any] | None:
        """Return the status and the milliseconds to the first byte of an answer, and the calling line of a failure."""
        metadata: dict[str, Any] | None = None
        if self.status:
            metadata = {"status": self.status, "first_byte_ms": tenths_ms(self._first_byte_ns - self.began_ns)}
        if outcome in FAILURES and self._caller is not None:
            metadata = {**(metadata or {}), CALLED_FROM: line_text(*self._caller)}
        return metadata

    @property
    def scope(self) -> tracing.Scope | None:
        """The place in the trace, while its interaction lasts."""
        return None if self._scope is None else tracing.live(self._scope)


class HostRequests:
    """The names of requests, and their way to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._hosts = _hosts.setdefault(recorder, set())
        self._series: dict[tuple[str, str], int] = {}

    def begin(self, hook: Hook, host: str, method: str, scope: tracing.Scope | None) -> HostRequest | None:
        """Return a request that begins now, in the scope of the running code.

        Return None if it is the inner part of a request in progress.
        """
        outer = _current.get()
        if outer is not None and not outer.ended and outer.host == host and outer.method == method:
            return None
        return HostRequest(self, hook, host, method, scope)

    def record(self, request: HostRequest, outcome: Outcome, error: str | None, usage: LlmUsage | None = None) -> None:
        """Record a request that ends now, with the tokens of its answer."""
        host, method, began_ns, scope = request.host, request.method, request.began_ns, request.scope
        series = self._series.get((host, method)) or self._new_series(host, method)
        metadata, end_ns = request.metadata(outcome), now_ns()
        if usage is not None and is_first(usage):
            metadata = {**(metadata or {}), **usage.metadata()}
        elif scope is None and error is None:  # a shorter way for most requests
            extra = (None, metadata) if metadata else None
            self._recorder.add(series, end_ns, end_ns - began_ns, 0 if outcome is _OK else int(outcome), extra)
            return
        self._recorder.add_timed(series, began_ns, end_ns, outcome, error=error, metadata=metadata, scope=scope)

    def _new_series(self, host: str, method: str) -> int:
        name, operation = host.lower().rstrip(".")[: MAX_NAME - len(HTTP)], method.upper()
        if len(self._hosts) < MAX_HOSTS and valid_name(name):
            self._hosts.add(name)
        service = HTTP + (name if name in self._hosts else OTHER)
        series = self._recorder.series(service, operation if operation in _METHODS else OTHER)
        if len(self._series) < MAX_HOSTS * len(_METHODS):
            self._series[host, method] = series
        return series


# Assign all requests that are sent from here to this request, until ``leave``.
enter = _current.set


def leave(token: Token[HostRequest | None]) -> None:
    """Undo ``enter``. A coroutine may be closed in another context than it was started in."""
    try:
        _current.reset(token)
    except ValueError:
        return


def current() -> HostRequest | None:
    """Return the request in progress that the running code is inside of."""
    request = _current.get()
    return None if request is None or request.ended else request


def _outcome(status: int, error: BaseException | None, *, upstream: bool) -> Outcome:
    if status >= 400:
        outcome = outcome_of_status(status)
        return Outcome.ERROR if outcome is Outcome.USER else outcome  # Discord's 403 and 404 are caused by users
    if error is None:
        return Outcome.OK
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
        return Outcome.CANCELLED
    if upstream or isinstance(error, OSError):  # TimeoutError is one
        return Outcome.UPSTREAM
    return Outcome.OK if status else Outcome.ERROR  # code of the host failed while it read a good answer


def _text(status: int, error: BaseException | None) -> str:
    """Return the status, or the types of the exception and of the system's error: an exception's text has addresses."""
    if status >= 400 or error is None:
        return status_text(status)
    name, system, cause = type(error).__name__, "", error
    for _ in range(_CAUSES):
        following = cause.__cause__ or cause.__context__  # httpcore raises "from None"
        if following is None:
            break
        cause = following
        system = type(cause).__name__ if isinstance(cause, OSError) else system
    return f"{name}: {system}" if system and system != name else name
