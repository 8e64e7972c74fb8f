"""What runs inside one interaction: its trace, the spans in it, and the context variable that carries both.

The variable follows asyncio's rules: a task started inside an interaction belongs to it, until the interaction is over.
What outlives it (a worker, a timer, a connection that the first command opened) inherits nothing from it any more.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.recording.locking import lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Context, Token

MAX_SPANS: Final = 100
_NOBODY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Span:
    """One operation inside a trace. Times in nanoseconds; the start counts from the trace's own."""

    id: int
    parent: int  # a span's id; 0 is the trace's root
    service: str
    operation: str
    start_ns: int
    duration_ns: int
    outcome: int  # an Outcome


class Trace:
    """The tree of operations of one interaction; at most MAX_SPANS are kept, the others counted.

    Threads that the interaction starts (``asyncio.to_thread``) open and close spans of it at the same time.
    """

    __slots__ = ("_last", "ended", "label", "left_out", "own", "spans", "start_ns")

    def __init__(self, label: str, start_ns: int) -> None:
        self.label = label  # what the interaction is, known better when it is dispatched: "ask", "Confirm.yes"
        self.start_ns = start_ns  # of time.perf_counter_ns
        self.ended = False  # whether everything that discord.py ran for it has ended
        self.own = False  # whether it is one of our own commands, which are not the host's performance
        self.spans: list[Span] = []
        self.left_out = 0
        self._last = 0

    @property
    def over(self) -> bool:
        """Whether code that runs now no longer belongs to it."""
        return self.ended

    def open(self) -> int:
        """The id of a span that begins."""
        with lock:
            self._last += 1
            return self._last

    def close(self, span: Span) -> None:
        """Keep a span that has ended."""
        with lock:
            if len(self.spans) < MAX_SPANS:
                self.spans.append(span)
            else:
                self.left_out += 1

    def touched(self, outcome: int, duration_ns: int) -> Mapping[str, str]:  # noqa: ARG002 - who knows more, overrides it
        """Metadata that says, in hashes, whom an operation of it with this end touched; empty where nobody knows."""
        return _NOBODY


class Scope(NamedTuple):
    """Where the running code stands: in which trace, and inside which of its spans."""

    trace: Trace
    span: int
    name: str  # the span's "service/operation", or the trace's label


_scope: ContextVar[Scope | None] = ContextVar("cogmeter_scope", default=None)
# Bound once, because the recorder calls it for each operation: None means that the code belongs to no interaction, a
# scope that it was started inside of one, which may be over.
inherited = _scope.get


def current() -> Scope | None:
    """Return the scope of the running code; None if it belongs to no interaction, or to one that is over."""
    scope = _scope.get()
    if scope is None or not scope.trace.over:
        return scope
    if not scope.trace.own:  # our own commands must stay recognizable
        _scope.set(None)  # a task that outlives its interaction records at full speed again
    return None


def live(scope: Scope | None) -> Scope | None:
    """Return the scope, or None if its interaction is over."""
    return None if scope is None or scope.trace.over else scope


def scope_in(context: Context) -> Scope | None:
    """Return the scope of the code that runs in this context. Any thread may call it."""
    return live(context.get(_scope))


class Entered:
    """A span under way, and how to leave it."""

    __slots__ = ("_token", "scope", "span")

    def __init__(self, scope: Scope, name: str) -> None:
        """Enter a span below ``scope``; what runs from now on is below it."""
        self.scope = scope
        self.span = scope.trace.open()
        self._token: Token[Scope | None] | None = _scope.set(Scope(scope.trace, self.span, name))

    def leave(self) -> None:
        """Go back to the span around it. A generator may be closed in another context than it was begun in."""
        token, self._token = self._token, None
        try:
            if token is not None:
                _scope.reset(token)
        except ValueError:
            return


def belonging(scope: Scope, metadata: Mapping[str, Any] | None, *, outcome: int, duration_ns: int) -> Mapping[str, Any]:
    """The metadata of an operation that ran in this scope: with the command that it belongs to, what it ran inside of,
    and whom it touched.
    """
    # What the host itself calls "user" or "guild" stays.
    touched = scope.trace.touched(outcome, duration_ns)
    return {**touched, **(metadata or {}), "command": scope.trace.label, "parent": scope.name}


def begin(trace: Trace) -> Token[Scope | None]:
    """Let everything that is started from here belong to this trace, until ``end``."""
    return _scope.set(Scope(trace, 0, trace.label))


def pause() -> Token[Scope | None]:
    """Let everything that is started from here belong to no trace, until ``end``: it outlives the interaction."""
    return _scope.set(None)


def end(token: Token[Scope | None]) -> None:
    """Undo ``begin`` or ``pause``. A coroutine may be closed in another context than it was begun in."""
    try:
        _scope.reset(token)
    except ValueError:
        return
