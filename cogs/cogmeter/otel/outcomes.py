"""The outcome and the error text of a span that failed."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import error_text
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

# The names of errors that mean: the other system was not reached, refused for its load, or did not answer in time.
# Names of exceptions, of gRPC's codes, and SQLSTATE's classes 08 (connection) and 57P (shutdown).
_UPSTREAM: Final = re.compile(
    r"time_?d?_?out|connect|unavailable|deadline.?exceeded|resource.?exhausted|broken_?pipe|gaierror|^(?:08|57P)\w{2,3}$"
    r"|^(?:429|5\d\d)$",
    re.IGNORECASE,
)
_CODES: Final = ("error.type", "db.response.status_code", "rpc.response.status_code", "http.response.status_code")
_OLD_CODES: Final = ("http.status_code",)
_GRPC_CODE: Final = "rpc.grpc.status_code"
_GRPC_UPSTREAM: Final = (4, 8, 14)  # deadline exceeded, resource exhausted, unavailable
_STATEMENTS: Final = ("db.query.text", "db.statement")
_CANCELLED: Final = "CancelledError"


def failure_of(span: ReadableSpan) -> tuple[Outcome, str]:
    """Return the outcome and the error text of a span whose status is an error."""
    attributes = span.attributes or {}
    kind, message = _exception_of(span)
    codes = [str(attributes[key]) for key in (*_CODES, *_OLD_CODES) if key in attributes]
    kind = kind.rpartition(".")[2]
    text = _without_statement(message or span.status.description or "", attributes)
    if kind and not text.startswith(kind):
        text = f"{kind}: {text}" if text else kind
    text = error_text(text or " ".join(codes[:1]) or "failed")
    if kind == _CANCELLED:
        return Outcome.CANCELLED, text
    reached = not any(_UPSTREAM.search(code.rpartition(".")[2]) for code in (kind, *codes) if code)
    return Outcome.ERROR if reached and attributes.get(_GRPC_CODE) not in _GRPC_UPSTREAM else Outcome.UPSTREAM, text


def _exception_of(span: ReadableSpan) -> tuple[str, str]:
    """Return type and message of the exception that ended the span; empty without one."""
    for event in reversed(span.events):
        if event.name == "exception":
            attributes = event.attributes or {}
            return str(attributes.get("exception.type", "")), str(attributes.get("exception.message", ""))
    # Some instrumentations, such as SQLAlchemy's, end the span while they handle the exception, and set its text only.
    error = sys.exc_info()[1]
    if error is not None and span.status.description == str(error):
        return type(error).__qualname__, str(error)
    return "", ""


def _without_statement(message: str, attributes: Mapping[str, Any]) -> str:
    """Return the first line of a driver's message: statements, parameters and values follow on the next ones."""
    lines = message.splitlines()
    line = lines[0] if lines else ""
    for key in _STATEMENTS:
        statement = attributes.get(key)
        if isinstance(statement, str) and len(statement) > 3 and statement in line:
            line = line.replace(statement, "(statement)")
    return line
