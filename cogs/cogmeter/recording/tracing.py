"""The trace of an interaction: its spans, and the context variable that carries both.

The variable follows asyncio's rules: a task that is started inside an interaction belongs to it until the interaction
ends. After that, a task that continues (a worker, a timer, a connection) inherits nothing from it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cogmeter.recording.buffer import lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Context, Token

MAX_SPANS: Final = 100
CALLER: Final = "caller"  # in metadata: the label of the command, component or reply that an operation is part of
_COSTS: Final = frozenset({"tokens_in", "tokens_out", "cost_usd"})
_NO_HASHES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Span:
    """One operation inside a trace. Times are in nanoseconds; the start counts from the start of the trace."""

    id: int
    parent: int  # a span's id; 0 is the trace's root
    service: str
    operation: str
    start_ns: int
    duration_ns: int
    outcome: int  # an Outcome


class Trace:
    """The tree of operations of one interaction; at most MAX_SPANS are kept, the others are counted.

    Threads of the interaction (``asyncio.to_thread``) may open and close spans at the same time.
    """

    __slots__ = ("_last", "ended", "label", "left_out", "own", "spans", "start_ns")

    def __init__(self, label: str, start_ns: int) -> None:
        self.label = label  # replaced by a better one when the interaction is dispatched: "ask", "Confirm.yes"
        self.start_ns = start_ns  # of time.perf_counter_ns
        self.ended = False  # whether all code that discord.py ran for it has ended
        self.own = False  # whether it is one of cogmeter's commands, which are not the host's performance
        self.spans: list[Span] = []
        self.left_out = 0
        self._last = 0

    @property
    def over(self) -> bool:
        """True if code that runs now no longer belongs to the interaction."""
        return self.ended

    def open(self) -> int:
        """Return the id of a new span."""
        with lock:
            self._last += 1
            return self._last

    def close(self, span: Span) -> None:
        """Store a span that has ended."""
        with lock:
            if len(self.spans) < MAX_SPANS:
                self.spans.append(span)
            else:
                self.left_out += 1

    def add(self, parent: int, names: tuple[str, str], times_ns: tuple[int, int], outcome: int = 0) -> None:
        """Store a part that is no operation of its own, such as a wait.

        ``names`` are its service and operation, ``times_ns`` its start and end by time.perf_counter_ns.
        """
        start_ns, end_ns = times_ns
        self.close(Span(self.open(), parent, *names, start_ns - self.start_ns, end_ns - start_ns, outcome))

    def affected(self, outcome: int, duration_ns: int) -> Mapping[str, str]:  # noqa: ARG002 - for subclasses
        """Return metadata with hashes of the affected user and guild; empty where they are not known."""
        return _NO_HASHES

    def payer(self) -> Mapping[str, str]:
        """Return metadata of who caused costs: caller, and hashes of user and guild; empty where they are not known."""
        return _NO_HASHES

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:  # noqa: ARG002 - for subclasses
        """Store metadata with the operation of the whole interaction; return False if it cannot be stored."""
        return False

    def known_metadata(self) -> Mapping[str, Any]:
        """Return the metadata that the operation of the whole interaction has so far."""
        return _NO_HASHES


class AnnotationTarget(Protocol):
    """An operation that metadata can be added to while it runs."""

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:
        """Store metadata with the operation; return False if it has ended."""
        ...

    def known_metadata(self) -> Mapping[str, Any]:
        """Return the metadata that it has so far."""
        ...


class Scope(NamedTuple):
    """The trace and the span that the running code belongs to."""

    trace: Trace
    span: int
    name: str  # the span's "service/operation", or the trace's label
    target: AnnotationTarget | None = None  # the operation that is the span; None for the trace's root


_scope: ContextVar[Scope | None] = ContextVar("cogmeter_scope", default=None)
# Bound once, because the recorder calls it for each operation. None: the code belongs to no interaction. A scope: the
# code was started inside an interaction, which may be over.
inherited = _scope.get


def current() -> Scope | None:
    """Return the scope of the running code; None if it belongs to no interaction, or to one that is over."""
    scope = _scope.get()
    if scope is None or not scope.trace.over:
        return scope
    if not scope.trace.own:  # cogmeter's own commands must stay recognizable
        _scope.set(None)  # a task that outlives its interaction records at full speed again
    return None


def live(scope: Scope | None) -> Scope | None:
    """Return the scope, or None if its interaction is over."""
    return None if scope is None or scope.trace.over else scope


def scope_in(context: Context) -> Scope | None:
    """Return the scope of the code that runs in this context. Any thread may call it."""
    return live(context.get(_scope))


class Entered:
    """A running span, and the way to leave it."""

    __slots__ = ("_token", "scope", "span")

    def __init__(self, scope: Scope, name: str, target: AnnotationTarget | None = None) -> None:
        """Enter a span below ``scope``; code that runs from now on is below the new span, and annotates ``target``."""
        self.scope = scope
        self.span = scope.trace.open()
        self._token: Token[Scope | None] | None = _scope.set(Scope(scope.trace, self.span, name, target))

    def leave(self) -> None:
        """Return to the surrounding span. A generator may be closed in another context than it was started in."""
        token, self._token = self._token, None
        try:
            if token is not None:
                _scope.reset(token)
        except ValueError:
            return


def has_costs(metadata: Mapping[str, Any] | None) -> bool:
    """Return whether metadata has tokens or money, whose user, guild and command are recorded."""
    return metadata is not None and not _COSTS.isdisjoint(metadata)


def belonging(scope: Scope, metadata: Mapping[str, Any] | None, *, outcome: int, duration_ns: int) -> Mapping[str, Any]:
    """Return the metadata of an operation in this scope, extended by its command, its parent, its user and guild."""
    # The host's own metadata named "user" or "guild" has precedence.
    who = scope.trace.payer() if has_costs(metadata) else scope.trace.affected(outcome, duration_ns)
    return {**who, **(metadata or {}), "command": scope.trace.label, "parent": scope.name}


def begin(trace: Trace) -> Token[Scope | None]:
    """Assign all code that is started from here to this trace, until ``end``."""
    return _scope.set(Scope(trace, 0, trace.label))


def pause() -> Token[Scope | None]:
    """Assign all code that is started from here to no trace, until ``end``; it may outlive the interaction."""
    return _scope.set(None)


def end(token: Token[Scope | None]) -> None:
    """Undo ``begin`` or ``pause``. A coroutine may be closed in another context than it was started in."""
    try:
        _scope.reset(token)
    except ValueError:
        return
