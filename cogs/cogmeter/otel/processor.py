"""A span processor of OpenTelemetry's SDK that records each call to another system as one operation."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk import trace as sdk
from opentelemetry.trace import SpanKind, StatusCode

from cogmeter import default_recorder
from cogmeter.otel.naming import Names
from cogmeter.otel.outcomes import failure_of
from cogmeter.recording import background
from cogmeter.recording.operation import now_ns
from cogmeter.recording.recorder import MAX_DURATION_MS
from cogmeter.recording.tracing import current, live
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from cogmeter.recording.recorder import Recorder
    from cogmeter.recording.tracing import Scope

MAX_OPEN: Final = 10_000  # spans inside interactions that have not ended; the oldest is forgotten first
_CALLS: Final = (SpanKind.CLIENT, SpanKind.PRODUCER)
_OK, _FAILED = Outcome.OK, StatusCode.ERROR  # bound once: looking up a member of an enum is slow
_MAX_DURATION_NS: Final = int(MAX_DURATION_MS * 1e6)


class SpanProcessor(sdk.SpanProcessor):
    """Record each ended client or producer span as one operation of ``db.<system>``, ``rpc.<system>`` and the like.

    A span that starts inside an interaction belongs to its trace. Spans of HTTP requests are left out, because
    PERFORMANCE_WATCH_HTTP records these requests; with ``http=True`` they are recorded here.
    """

    def __init__(self, recorder: Recorder | None = None, *, http: bool = False) -> None:
        self._recorder = default_recorder if recorder is None else recorder
        self._names = Names(self._recorder, http=http)
        self._scopes: OrderedDict[int, Scope] = OrderedDict()  # by span id, of running spans inside interactions
        self._ended = False

    def on_start(self, span: sdk.Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's interface
        """Remember the interaction that the span belongs to; the span may end in another context."""
        try:
            if span.kind not in _CALLS:
                return
            scope = current()
            if scope is None or span.context is None or self._ended:
                return
            self._scopes[span.context.span_id] = scope
            if len(self._scopes) > MAX_OPEN:
                self._scopes.popitem(last=False)
        except Exception:  # noqa: BLE001 - a fault here must not reach the host's call
            self._recorder.refuse()

    def on_end(self, span: sdk.ReadableSpan) -> None:
        """Record the operation."""
        try:
            if span.kind in _CALLS:
                scope = self._scopes.pop(span.context.span_id, None) if self._scopes and span.context else None
                if not (self._ended or background.own_work.get() or (scope is not None and scope.trace.own)):
                    self._record(span, scope)
        except Exception:  # noqa: BLE001 - see on_start
            self._recorder.refuse()

    def _record(self, span: sdk.ReadableSpan, scope: Scope | None) -> None:
        series = self._names.series_of(span)
        if series is None:
            return
        duration_ns = (span.end_time or 0) - (span.start_time or 0)
        if duration_ns < 0:  # the wall clock was set back
            duration_ns = 0
        elif duration_ns >= _MAX_DURATION_NS:
            self._recorder.refuse()
            return
        outcome, error = _OK, None
        if span.status.status_code is _FAILED:
            # No error group: the stack does not contain the host's code yet. The exception is counted where it arrives.
            outcome, error = failure_of(span)
        end_ns = now_ns()  # as all other operations: an end in the past may be in a minute that is stored already
        self._recorder.add_timed(series, end_ns - duration_ns, end_ns, outcome, error=error, scope=live(scope))

    def shutdown(self) -> None:
        """Record no span that ends from now on."""
        self._ended = True
        self._scopes.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's interface
        """Return True: no span waits here, each is passed to the recorder when it ends."""
        return True
