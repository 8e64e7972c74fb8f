"""Recording: ``track()``, ``operation()`` and ``record()`` append the atoms of operations to the buffer.

Nothing here awaits, raises into the host, or grows without bound.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

from cogmeter.recording.budgets import Budgets
from cogmeter.recording.buffer import Buffer, lock
from cogmeter.recording.decorators import decorated
from cogmeter.recording.errors import ErrorRecorder
from cogmeter.recording.markers import MarkerRecorder
from cogmeter.recording.operation import (
    OUTCOMES,
    Operation,
    OperationDetails,
    annotated_class,
    error_text,
    mark,
    now_ns,
    operation_class,
    outcome_of,
)
from cogmeter.recording.running import RunningOperations, started_in
from cogmeter.recording.tracing import Span, belonging, current, has_costs, inherited, live
from cogmeter.recording.usage import UsageRecorder
from cogmeter_storage.model import ERROR_GROUP, FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cogmeter.recording.tracing import Entered, Scope

P = ParamSpec("P")
R = TypeVar("R")

MAX_SERIES: Final = 2000
MAX_NAME: Final = 100
OTHER: Final = "(other)"
_OK: Final = Outcome.OK  # bound once: an enum lookup takes as long as recording does
MAX_DURATION_MS: Final = 1e11  # three years; also refuses infinity


class Tracker(Protocol):
    """A series that is ready to record: call it for a ``with`` block, or use it as a decorator."""

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
        """Record the operation."""
        ...


class Recorder:
    """The known series, and the functions that record into one buffer. The package has one; tests create their own."""

    def __init__(self, buffer: Buffer | None = None) -> None:
        self.buffer = Buffer() if buffer is None else buffer
        self.names: list[tuple[str, str]] = [(OTHER, OTHER)]  # a series' number here is its place in this list
        self.add = self.buffer.add
        self.markers: MarkerRecorder = MarkerRecorder()
        self.errors = ErrorRecorder()
        self.running = RunningOperations()
        self.usage = UsageRecorder()
        self.budgets: Budgets = Budgets()
        self.refused = 0  # operations with a bad name, outcome or duration
        self.overflowed = 0  # requests for a new series beyond MAX_SERIES
        self._numbers: dict[str, dict[str, int]] = {OTHER: {OTHER: 0}}
        self._kinds: dict[tuple[str, str], type[Operation]] = {}
        self._annotated: dict[tuple[str, str], type[Operation]] = {}  # of ``operation``
        self.record: Record = _record(self, self._numbers)
        with lock:
            _recorders.add(self)

    def track(self, service: str, operation: str) -> Tracker:
        """Define a series once, so that each of its operations is cheap to record.

        Raises:
            ValueError: a name is not 1 to 100 printable characters.
        """
        for kind, name in (("service", service), ("operation", operation)):
            if not valid_name(name):
                raise ValueError(
                    f"The {kind} name {name!r} is not 1 to {MAX_NAME} printable characters. Use another name."
                )
        series = self.series(service, operation)
        return _tracker(self, series, self._kind(service, operation, series))

    def operation(self, service: str, operation: str, /, **metadata: Any) -> Operation:
        """Return an operation for ``with`` or ``async with``; the keyword arguments are its metadata."""
        try:
            new_operation = self._annotated[service, operation]()
        except (KeyError, TypeError):
            new_operation = self._first(service, operation)
        new_operation._details = OperationDetails(metadata) if metadata else None  # noqa: SLF001 - created here, before it starts
        return new_operation

    def series(self, service: str, operation: str) -> int:
        """Return the number of a series with valid names; beyond MAX_SERIES new ones share ``(other)``."""
        known = self._numbers.get(service, {}).get(operation)
        if known is not None:
            return known
        with lock:  # two threads at once must get two numbers, or the same number for the same names
            return self._new_series(service, operation)

    def restore(self, names: Iterable[tuple[str, str]]) -> None:
        """Count stored series against the limit of series; this run did not record those beyond it."""
        for service, operation in names:
            if len(self.names) < MAX_SERIES:
                self.series(service, operation)

    def _new_series(self, service: str, operation: str) -> int:
        known = self._numbers.get(service, {}).get(operation)
        if known is not None:
            return known
        names, pair = self.names, (service, operation)
        if len(names) >= MAX_SERIES:
            self.overflowed += 1
            return 0
        # The name comes first, so that every reader of the number finds its name.
        names.append(pair)
        number = len(names) - 1
        # A signal handler or a finalizer of this thread may have added a series in between.
        while names[number] is not pair:
            number -= 1
        return self._numbers.setdefault(service, {}).setdefault(operation, number)

    def refuse(self) -> None:
        """Count an operation with a bad name, outcome or duration."""
        with lock:
            self.refused += 1

    def disable(self) -> None:
        """Drop operations and errors from now on, at no cost for the recording code."""
        self.buffer.disable()
        self.errors.disable()
        self.usage.disable()

    def forked(self) -> None:
        """Start empty in the child of a fork, except for the names: the parent stores what was recorded before."""
        self.buffer.forked()
        self.markers.forked()
        self.errors.forked()
        self.running.clear()
        self.usage.forked()
        self.refused = self.overflowed = 0

    def finish(
        self, series: int, end_ns: int, start_ns: int, details: OperationDetails | None, error: BaseException | None
    ) -> None:
        """Record an operation on the slow path: it failed, or it has annotations or an outcome."""
        try:
            details = details or OperationDetails()
            metadata, details.ended = details.metadata, True
            text, failure = details.error, details.failure
            details.failure = None  # its traceback may refer to this operation
            if error is not None and not isinstance(error, GeneratorExit):
                text, failure = error_text(error), error
            if details.outcome is not None:
                outcome = self._outcome(details.outcome, error)
                if error is not None:
                    mark(error, outcome)
            else:
                outcome = _OK if error is None else outcome_of(error)
            scope, duration_ns = None, end_ns - start_ns
            if details.entered is not None:
                details.entered.leave()
                scope = live(details.entered.scope)
                if scope is not None:
                    metadata = belonging(scope, metadata, outcome=outcome, duration_ns=duration_ns)
                    self._span(details.entered, series, start_ns, duration_ns, outcome)
            if scope is None and has_costs(metadata):
                metadata = _with_payer(metadata)
            if failure is not None and outcome in FAILURES:
                metadata = _joined(metadata, self.count_failure(failure, series, start_ns, scope=scope))
            extra = (text, metadata) if text is not None or metadata else None
            self.add(series, end_ns, duration_ns, 0 if outcome is _OK else int(outcome), extra)
        except Exception:  # noqa: BLE001 - a failure of the host's objects must not reach the host's command
            self.refuse()

    def add_timed(
        self,
        series: int,
        start_ns: int,
        end_ns: int,
        outcome: Outcome,
        *,
        error: str | None = None,
        failure: BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        scope: Scope | None = None,
    ) -> None:
        """Add an operation that was timed elsewhere.

        Args:
            series: its number.
            start_ns: its start, by time.perf_counter_ns.
            end_ns: its end.
            outcome: how it ended.
            error: the text of its error.
            failure: the exception that ended it; counted with its place if the outcome is a failure.
            metadata: stored with it.
            scope: makes it a span without children in that trace.
        """
        if failure is not None and outcome in FAILURES:
            metadata = _joined(metadata, self.count_failure(failure, series, start_ns, scope=scope))
        if scope is not None:
            trace, begun_ns = scope.trace, start_ns - scope.trace.start_ns
            names, duration_ns = self.names[series], end_ns - start_ns
            trace.close(Span(trace.open(), scope.span, *names, begun_ns, duration_ns, int(outcome)))
            metadata = belonging(scope, metadata, outcome=outcome, duration_ns=duration_ns)
        elif has_costs(metadata):
            metadata = _with_payer(metadata)
        extra = (error, metadata) if error is not None or metadata else None
        self.add(series, end_ns, end_ns - start_ns, int(outcome), extra)

    def count_failure(
        self,
        failure: BaseException,
        series: int,
        start_ns: int,
        *,
        scope: Scope | None = None,
        affected: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Count the exception that ended an operation of this series; return the metadata that names its error group.

        ``affected`` is by default that of the scope.
        """
        if affected is None:
            affected = scope.trace.affected(Outcome.ERROR, 0) if scope is not None else {}
        service, operation = self.names[series]
        fingerprint = self.errors.failed(failure, service, operation, affected=affected, since_ns=start_ns)
        return {} if fingerprint is None else {ERROR_GROUP: fingerprint}

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
        """Return an operation of a new series, or one that records nothing if a name is invalid."""
        if not (valid_name(service) and valid_name(operation)):
            self.refuse()
            return Operation()
        series = self.series(service, operation)
        kind = annotated_class(self._kind(service, operation, series), self, series, started_in)
        return self._annotated.setdefault((service, operation) if series else (OTHER, OTHER), kind)()

    def _kind(self, service: str, operation: str, series: int) -> type[Operation]:
        # All names beyond the limit share one class, so that memory is bounded.
        key = (service, operation) if series else (OTHER, OTHER)
        kind = self._kinds.get(key)
        if kind is None:  # two threads may each create one; both get the first
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
        """Record like ``record()``, for new series, failures, metadata and invalid arguments."""
        end = now_ns()
        try:
            valid = valid_name(service) and valid_name(operation) and 0 <= duration_ms < MAX_DURATION_MS
            result = OUTCOMES.get(outcome) if outcome is not None else outcome_of(error)
            if not valid or result is None:
                self.refuse()
                return
            text = None if error is None else error_text(error)
            series, start = self.series(service, operation), end - int(duration_ms * 1e6)
            failure = error if isinstance(error, BaseException) else None
            self.add_timed(series, start, end, result, error=text, failure=failure, metadata=metadata, scope=current())
        except Exception:  # noqa: BLE001 - recording never raises, whatever its arguments
            self.refuse()


# Every recorder, to reset in the child of a fork: it has the parent's operations, and may have a half-changed bound.
_recorders: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()


def _forked() -> None:
    for recorder in list(_recorders):
        recorder.forked()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forked)


def _joined(metadata: Mapping[str, Any] | None, more: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return metadata with more entries; the host's metadata as it is if it is no mapping."""
    try:
        return {**(metadata or {}), **more} if more else metadata
    except TypeError:
        return metadata


def _with_payer(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the metadata of an operation outside of interactions, with its reply and who causes its costs."""
    running = started_in()
    return {**(running.payer() if running is not None else {}), **(metadata or {})}


def valid_name(name: object) -> bool:
    """Return whether a name is 1 to 100 printable characters and not blank."""
    return isinstance(name, str) and len(name) <= MAX_NAME and name.isprintable() and not name.isspace() and name != ""


def _tracker(recorder: Recorder, series: int, kind: type[Operation]) -> Tracker:
    """Return the result of ``track()``: a function, because its call costs less than an object's."""

    def tracker(function: Callable[..., Any] | None = None, /) -> Any:
        """Return the next operation, or with a function, a wrapper that records each call."""
        if function is not None:
            return decorated(function, recorder, series, tracker)
        new_operation = kind()
        new_operation._details = None  # noqa: SLF001 - created here, before it starts
        return new_operation

    return cast("Tracker", tracker)


def _record(recorder: Recorder, numbers: dict[str, dict[str, int]]) -> Record:
    """Return ``record()``: a closure that does not check the duration; the flusher does that, off the host's path."""
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
        # One chain of tests: only the duration was passed, the code is outside of traces, and the buffer has room.
        if error is outcome is metadata is scope() is None and len(rows) < buffer.limit:  # type: ignore[comparison-overlap]  # all may be None
            try:
                extend((numbers[service][operation], now(), duration_ms, None, None))
            except (KeyError, TypeError):
                pass  # a new series or an invalid name: record_checked decides
            else:
                return
        recorder.record_checked(
            service, operation, duration_ms=duration_ms, error=error, outcome=outcome, metadata=metadata
        )

    record.__doc__ = Record.__doc__
    return record


default_recorder: Final[Recorder] = Recorder()  # passive: a list and two dictionaries until something is recorded
