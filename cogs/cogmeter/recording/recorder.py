"""Recording: ``track()``, ``operation()`` and ``record()`` turn what the host does into atoms in the buffer.

Nothing here awaits, raises into the host, or grows without bound.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.decorators import decorated
from cogmeter.recording.locking import lock
from cogmeter.recording.markers import MarkerRecorder
from cogmeter.recording.operation import (
    OUTCOMES,
    Operation,
    OperationDetails,
    error_text,
    mark,
    now_ns,
    operation_class,
    outcome_of,
)
from cogmeter.recording.tracing import Span, belonging, current, inherited, live
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cogmeter.recording.tracing import Entered, Scope

P = ParamSpec("P")
R = TypeVar("R")

MAX_SERIES: Final = 2000
MAX_NAME: Final = 100
OTHER: Final = "(other)"
_OK: Final = Outcome.OK  # bound once: looking into an enumeration takes as long as recording does
MAX_DURATION_MS: Final = 1e11  # three years; also refuses infinity


class Tracker(Protocol):
    """A series, ready to record: call it for a ``with`` block, or use it as a decorator."""

    @overload
    def __call__(self) -> Operation: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


class Record(Protocol):
    """Record an operation that ends now and took ``duration_ms`` milliseconds.

    With an ``error`` (text or exception) and no ``outcome``, the outcome is ``error`` (or ``cancelled``).
    """

    def __call__(
        self,
        service: str,
        operation: str,
        *,
        duration_ms: float,
        error: object = None,
        outcome: Outcome | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class."""
        ...


class Recorder:
    """Knows the series, and writes into one buffer. The package has one; tests make their own."""

    def __init__(self, buffer: Buffer | None = None) -> None:
        self.buffer = Buffer() if buffer is None else buffer
        self.names: list[tuple[str, str]] = [(OTHER, OTHER)]  # a series' number here is its place in this list
        self.add = self.buffer.add
        self.marks = MarkerRecorder()  # moments worth knowing, beside the operations
        self.refused = 0  # operations with a bad name, outcome or duration
        self.overflowed = 0  # times that a new series was asked for beyond MAX_SERIES
        self._numbers: dict[str, dict[str, int]] = {OTHER: {OTHER: 0}}
        self._kinds: dict[tuple[str, str], type[Operation]] = {}
        self.record: Record = _record(self, self._numbers)
        with lock:
            _recorders.add(self)

    def track(self, service: str, operation: str) -> Tracker:
        """Define a series once, to record it cheaply ever after.

        Raises:
            ValueError: a name is not 1 to 100 printable characters.
        """
        for kind, name in (("service", service), ("operation", operation)):
            if not valid_name(name):
                raise ValueError(
                    f"The {kind} name {name!r} is not 1 to {MAX_NAME} printable characters; give it another"
                )
        series = self.series(service, operation)
        return _tracker(self, series, self._kind(service, operation, series))

    def operation(self, service: str, operation: str, /, **metadata: Any) -> Operation:
        """One operation, for ``with`` or ``async with``; the keyword arguments are its metadata."""
        try:
            one = self._kinds[service, operation]()
        except (KeyError, TypeError):
            one = self._first(service, operation)
        one._note = OperationDetails(metadata) if metadata else None  # noqa: SLF001 - made here, one step before it starts
        return one

    def series(self, service: str, operation: str) -> int:
        """The number of a series with valid names; beyond MAX_SERIES new ones share ``(other)``."""
        known = self._numbers.get(service, {}).get(operation)
        if known is not None:
            return known
        with lock:  # two threads that come here at once must get two numbers, or the same one for the same names
            return self._new_series(service, operation)

    def _new_series(self, service: str, operation: str) -> int:
        known = self._numbers.get(service, {}).get(operation)
        if known is not None:
            return known
        names, pair = self.names, (service, operation)
        if len(names) >= MAX_SERIES:
            self.overflowed += 1
            return 0
        # The name comes first: whoever finds the number, and the flusher, find its name.
        names.append(pair)
        number = len(names) - 1
        # A signal handler or a finalizer of this very thread may have named a series of its own in between.
        while names[number] is not pair:
            number -= 1
        return self._numbers.setdefault(service, {}).setdefault(operation, number)

    def refuse(self) -> None:
        """Count an operation with a bad name, outcome or duration."""
        with lock:
            self.refused += 1

    def forked(self) -> None:
        """Begin anew in the child of a fork, but for the names: what was recorded before belongs to the parent."""
        self.buffer.forked()
        self.marks.forked()
        self.refused = self.overflowed = 0

    def finish(
        self, series: int, end_ns: int, start_ns: int, note: OperationDetails | None, error: BaseException | None
    ) -> None:
        """The slow path: an operation that failed, was annotated, or was given an outcome."""
        try:
            note = note or OperationDetails()
            metadata = note.metadata
            text = note.error if error is None or isinstance(error, GeneratorExit) else error_text(error)
            if note.outcome is not None:
                outcome = self._outcome(note.outcome, error)
                if error is not None:
                    mark(error, outcome)
            else:
                outcome = _OK if error is None else outcome_of(error)
            if note.entered is not None:
                note.entered.leave()
                scope, duration_ns = live(note.entered.scope), end_ns - start_ns
                if scope is not None:
                    metadata = belonging(scope, metadata, outcome=outcome, duration_ns=duration_ns)
                    self._span(note.entered, series, start_ns, duration_ns, outcome)
            extra = (text, metadata) if text is not None or metadata else None
            self.add(series, end_ns, end_ns - start_ns, 0 if outcome is _OK else int(outcome), extra)
        except Exception:  # noqa: BLE001 - whatever a host's objects do, it must not reach the host's command
            self.refuse()

    def add_timed(
        self,
        series: int,
        start_ns: int,
        end_ns: int,
        outcome: Outcome,
        *,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        scope: Scope | None = None,
    ) -> None:
        """Add an operation that was timed elsewhere; with a ``scope`` it is a span of that trace, without children."""
        if scope is not None:
            trace, begun_ns = scope.trace, start_ns - scope.trace.start_ns
            names, duration_ns = self.names[series], end_ns - start_ns
            trace.close(Span(trace.open(), scope.span, *names, begun_ns, duration_ns, int(outcome)))
            metadata = belonging(scope, metadata, outcome=outcome, duration_ns=duration_ns)
        extra = (error, metadata) if error is not None or metadata else None
        self.add(series, end_ns, end_ns - start_ns, int(outcome), extra)

    def _span(self, at: Entered, series: int, start_ns: int, duration_ns: int, outcome: Outcome) -> None:
        trace = at.scope.trace
        begun_ns = start_ns - trace.start_ns
        trace.close(Span(at.span, at.scope.span, *self.names[series], begun_ns, duration_ns, int(outcome)))

    def _outcome(self, outcome: Outcome | str, error: BaseException | None) -> Outcome:
        try:
            return OUTCOMES[outcome]
        except (KeyError, TypeError):
            self.refuse()
            return outcome_of(error)

    def _first(self, service: str, operation: str) -> Operation:
        """An operation whose series was not used before, or whose names are bad."""
        if not (valid_name(service) and valid_name(operation)):
            self.refuse()
            return Operation()
        return self._kind(service, operation, self.series(service, operation))()

    def _kind(self, service: str, operation: str, series: int) -> type[Operation]:
        # Names beyond the limit all share one class, so that they cannot fill the memory either.
        key = (service, operation) if series else (OTHER, OTHER)
        kind = self._kinds.get(key)
        if kind is None:  # two threads may each make one, and both get the first
            kind = self._kinds.setdefault(key, operation_class(self, series))
        return kind

    def record_checked(
        self,
        service: str,
        operation: str,
        *,
        duration_ms: float,
        error: object,
        outcome: Outcome | str | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        """The same as record() for what is new, failed, annotated, or wrong."""
        end = now_ns()
        try:
            fine = valid_name(service) and valid_name(operation) and 0 <= duration_ms < MAX_DURATION_MS
            known = OUTCOMES.get(outcome) if outcome is not None else outcome_of(error)
            if not fine or known is None:
                self.refuse()
                return
            text = None if error is None else error_text(error)
            series, start = self.series(service, operation), end - int(duration_ms * 1e6)
            self.add_timed(series, start, end, known, error=text, metadata=metadata, scope=current())
        except Exception:  # noqa: BLE001 - recording never raises, whatever it is given
            self.refuse()


# Every recorder, for the child of a fork: a lock or a bound that was half changed, and operations of the parent's.
_recorders: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()


def _forked() -> None:
    for recorder in list(_recorders):
        recorder.forked()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forked)


def valid_name(name: object) -> bool:
    """Whether a name is 1 to 100 printable characters and not blank."""
    return isinstance(name, str) and len(name) <= MAX_NAME and name.isprintable() and not name.isspace() and name != ""


def _tracker(recorder: Recorder, series: int, kind: type[Operation]) -> Tracker:
    """What ``track()`` gives: a function, because calling one costs less than calling an object."""

    def tracker(function: Callable[..., Any] | None = None, /) -> Any:
        """Without a function: the next operation. With one: that function, each call of it recorded."""
        if function is not None:
            return decorated(function, recorder, series, tracker)
        one = kind()
        one._note = None  # noqa: SLF001 - made here, one step before it starts
        return one

    return cast("Tracker", tracker)


def _record(recorder: Recorder, numbers: dict[str, dict[str, int]]) -> Record:
    """What ``record()`` is: a closure without checks of the duration, which the flusher does, off the host's path."""
    buffer = recorder.buffer
    rows, extend, now, scope = buffer.rows, buffer.rows.extend, now_ns, inherited

    def record(
        service: str,
        operation: str,
        *,
        duration_ms: float,
        error: object = None,
        outcome: Outcome | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        # One chain of tests: nothing was said beyond the duration, this is inside no trace, and there is room.
        if error is outcome is metadata is scope() is None and len(rows) < buffer.limit:  # type: ignore[comparison-overlap]  # all may be None
            try:
                extend((numbers[service][operation], now(), duration_ms, None, None))
            except (KeyError, TypeError):
                pass  # a new series, or a bad name: the checked way tells which
            else:
                return
        recorder.record_checked(
            service, operation, duration_ms=duration_ms, error=error, outcome=outcome, metadata=metadata
        )

    record.__doc__ = Record.__doc__
    return record
