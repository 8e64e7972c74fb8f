"""A running operation: its annotations, its outcome, and the class that is made for each series.

The fast path (no error, no annotation) is repeated in each closure, because a shared function's call would double its
cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from cogmeter.recording.message_texts import without_message
from cogmeter.recording.tracing import Entered, current, inherited
from cogmeter.redaction import redact, without_ids, without_queries
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from cogmeter.recording.buffer import Buffer

MAX_ERROR: Final = 500
_MARK: Final = "cogmeter_outcome"
OUTCOMES: Final[dict[object, Outcome]] = {name: outcome for outcome in Outcome for name in (outcome, outcome.label)}

now_ns = time.perf_counter_ns


def tenths_ms(duration_ns: int) -> float:
    """Return milliseconds with one decimal place, for metadata; ``round`` would take five times as long."""
    return (duration_ns + 50_000) // 100_000 / 10


class Operation:
    """A running operation, the target of ``with``. Its methods may be called until the block ends."""

    __slots__ = ("_details", "_start")

    _start: int
    _details: OperationDetails | None
    # Of the class of each series; ``recording/waiting.py`` reads them of operations that run.
    sink: ClassVar[Sink | None] = None
    names: ClassVar[tuple[str, str]] = ("", "")

    @property
    def start_ns(self) -> int:
        """The start of a running operation, by time.perf_counter_ns."""
        return self._start

    def annotate(self, **metadata: Any) -> None:
        """Store these values with the operation; a later value of the same name replaces the earlier."""
        details = self._ensure_details()
        details.metadata = {**details.metadata, **metadata} if details.metadata else metadata

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:
        """Store metadata like ``annotate``; return False if the operation has ended."""
        details = self._ensure_details()
        if details.ended:
            return False
        details.metadata = {**details.metadata, **metadata} if details.metadata else dict(metadata)
        return True

    def known_metadata(self) -> Mapping[str, Any]:
        """Return the metadata that it has so far."""
        return (self._details.metadata if self._details else None) or {}

    def fail(self, reason: object = "failed", *, outcome: Outcome | str = Outcome.ERROR) -> None:
        """Mark the operation as failed for this reason, even if no exception leaves the block."""
        self._ensure_details().fail(reason, outcome)

    @property
    def outcome(self) -> Outcome | str | None:
        """The outcome if it was set by hand; otherwise it follows from the exception, if any.

        An unknown outcome is counted as refused, and the outcome then follows from the exception.
        """
        return self._details.outcome if self._details else None

    @outcome.setter
    def outcome(self, outcome: Outcome | str) -> None:
        self._ensure_details().outcome = outcome

    def _enter_span(self, name: str) -> None:
        """Open a span in the trace that the running code belongs to."""
        scope = current()
        if scope is not None:
            self._ensure_details().entered = Entered(scope, name, self)

    def _ensure_details(self) -> OperationDetails:
        if self._details is None:
            self._details = OperationDetails()
        return self._details

    # The class of each series overrides how an operation starts and ends.
    def __enter__(self) -> Self:
        self._details = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class OperationDetails:
    """The annotations of a running operation; most operations have none."""

    __slots__ = ("ended", "entered", "error", "failure", "metadata", "outcome")

    def __init__(self, metadata: Mapping[str, Any] | None = None) -> None:
        self.metadata = metadata
        self.ended = False  # it was recorded
        self.entered: Entered | None = None  # its span in a trace
        self.error: str | None = None
        self.failure: BaseException | None = None  # the exception that was passed to ``fail``
        self.outcome: Outcome | str | None = None

    def fail(self, reason: object, outcome: Outcome | str) -> None:
        """Note that the operation has failed for this reason, text or exception."""
        self.error = error_text(reason)
        self.failure = reason if isinstance(reason, BaseException) else None
        self.outcome = outcome


class Sink(Protocol):
    """The destination of operations that end: the recorder."""

    buffer: Buffer
    names: list[tuple[str, str]]

    def finish(
        self, series: int, end_ns: int, start_ns: int, details: OperationDetails | None, error: BaseException | None
    ) -> None:
        """Record an operation that failed, has annotations or an outcome, ran inside a trace, or does not fit."""
        ...


def operation_class(sink: Sink, series: int) -> type[Operation]:
    """Return the class of one series' operations; everything constant is in the closure."""
    buffer = sink.buffer
    rows, extend, now, finish, scope = buffer.rows, buffer.rows.extend, now_ns, sink.finish, inherited
    name = "/".join(sink.names[series])

    class Timed(Operation):
        __slots__ = ()

        def __enter__(self) -> Self:
            if scope() is not None:
                self._enter_span(name)
            self._start = now()
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            end = now()
            if kind is None and self._details is None and len(rows) < buffer.limit:
                extend((series, end, end - self._start, 0, None))
            else:
                finish(series, end, self._start, self._details, error)

        async def __aenter__(self) -> Self:
            if scope() is not None:
                self._enter_span(name)
            self._start = now()
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            end = now()
            if kind is None and self._details is None and len(rows) < buffer.limit:
                extend((series, end, end - self._start, 0, None))
            else:
                finish(series, end, self._start, self._details, error)

    Timed.sink, Timed.names = sink, sink.names[series]
    return Timed


# The innermost operation outside of interactions that ``Recorder.operation`` has begun, and the running operation that
# it is part of. Inside an interaction the scope has it.
_innermost: Final[ContextVar[tuple[Operation, object] | None]] = ContextVar("cogmeter_operation", default=None)


# Of an operation without details that has ended.
_ENDED: Final = OperationDetails()
_ENDED.ended = True


def innermost() -> tuple[Operation, object] | None:
    """Return the innermost operation outside of interactions, and the running operation that it is part of."""
    return _innermost.get()


def annotated_class(timed: type[Operation], sink: Sink, series: int, part_of: Callable[[], object]) -> type[Operation]:  # noqa: C901 - the same code for with and async with
    """Return the class of a series' operations that code below them can annotate outside of interactions, too.

    It sets a context variable, which takes a fifth of a microsecond: too much for the operations of ``track``. The code
    of ``timed`` is repeated, because a call of its methods would double that. ``part_of`` returns the running one.
    """
    buffer = sink.buffer
    rows, extend, now, finish, scope = buffer.rows, buffer.rows.extend, now_ns, sink.finish, inherited
    name, follow, leave = "/".join(sink.names[series]), _innermost.set, _innermost.reset

    class Annotated(timed):  # type: ignore[valid-type,misc]  # a class that is made at run time
        __slots__ = ("_token",)

        def __enter__(self) -> Self:
            self._token = follow((self, part_of()))
            if scope() is not None:
                self._enter_span(name)
            self._start = now()  # type: ignore[misc]  # a slot of Operation
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            end = now()
            if kind is None and self._details is None and len(rows) < buffer.limit:
                extend((series, end, end - self._start, 0, None))
                _set_ended(self)
            else:
                finish(series, end, self._start, self._details, error)
            try:
                leave(self._token)
            except ValueError:  # a generator may be closed in another context than it was started in
                return

        async def __aenter__(self) -> Self:
            self._token = follow((self, part_of()))
            if scope() is not None:
                self._enter_span(name)
            self._start = now()  # type: ignore[misc]  # a slot of Operation
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            end = now()
            if kind is None and self._details is None and len(rows) < buffer.limit:
                extend((series, end, end - self._start, 0, None))
                _set_ended(self)
            else:
                finish(series, end, self._start, self._details, error)
            try:
                leave(self._token)
            except ValueError:
                return

    return Annotated


def _set_ended(operation: Operation) -> None:
    """Note that an operation without details has ended: it cannot be annotated any more."""
    operation._details = _ENDED  # noqa: SLF001 - of this module


def error_text(error: object) -> str:
    """Return an exception's type and message, or a reason's text, without secrets, Discord ids and what the user wrote.

    It has at most 500 characters.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's __str__ is the host's code
        text = "(no text: its __str__ failed)"
    if isinstance(error, BaseException):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Cut twice: first, so that a megabyte is not searched for secrets, then to the final length. Lone surrogates and
    # NUL are valid in a Python string, but not in a database.
    shortened = without_ids(without_queries(redact(without_message(text)[: 4 * MAX_ERROR])))[:MAX_ERROR]
    return shortened.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def outcome_of(error: object) -> Outcome:
    """Return the outcome of an operation that ended with this exception, reason, or None."""
    if error is None or isinstance(error, GeneratorExit):  # a consumer that stops early is not a failure
        return Outcome.OK
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
        return Outcome.CANCELLED
    return marked(error) or Outcome.ERROR


def mark(error: BaseException, outcome: Outcome) -> None:
    """Attach the outcome to an exception that leaves an operation, for the operations around it, up to the command."""
    with contextlib.suppress(AttributeError, TypeError):  # an exception class with slots
        error.__dict__[_MARK] = outcome


def marked(error: object) -> Outcome | None:
    """Return the outcome that ``mark`` attached to this exception."""
    outcome = getattr(error, "__dict__", {}).get(_MARK)
    return outcome if isinstance(outcome, Outcome) else None
