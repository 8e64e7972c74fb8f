"""Records each attempt of a REST request: its name, outcome, waits, and its place in the trace.

An attempt lasts until its body is read; an attempt that discord.py retries lasts until the response's headers arrive.
Waits for rate limits before an attempt, or after it until the caller gets the response, are ``rate_limit_wait_ms`` in
its metadata. Neither they nor the waits before retries are part of the duration.
"""

from __future__ import annotations

import asyncio
import http
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording import background, tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.service_names import RATE_LIMITS, REST
from cogmeter.watch.rest.budget import SCOPES, Budget
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.recording.recorder import Recorder
    from cogmeter.watch.surface import WatchContext

LEAST_WAIT_NS: Final = 5_000_000  # shorter waits are caused by the machine, not by a rate limit

_STATUS: Final = {status: {"status": status} for status in (200, 201, 204)}  # metadata that most attempts share


def outcome_of_status(status: int) -> Outcome:
    """Return the outcome of an attempt with a response.

    429 and 5xx are failures of Discord. 403 and 404 are caused by users, who remove permissions, close their direct
    messages, or delete messages: they do not count in the error rate, and the budget of invalid requests shows when
    there are too many. All others (400, 401, 405, 413, ...) are errors of the bot. The acknowledgement shows whether an
    unknown interaction (404) was answered too late.
    """
    if status < 400:
        return Outcome.OK
    if status == 429 or status >= 500:
        return Outcome.UPSTREAM
    return Outcome.USER if status in {403, 404} else Outcome.ERROR


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of an attempt without a response. aiohttp's connection errors and timeouts are OSErrors."""
    if isinstance(error, asyncio.CancelledError):
        return Outcome.CANCELLED
    library = type(error).__module__.partition(".")[0]
    return Outcome.UPSTREAM if isinstance(error, OSError) or library == "aiohttp" else Outcome.ERROR


class ApiCall:
    """A call of discord.py's ``request`` and its attempts."""

    __slots__ = (
        "alone",
        "answered",
        "attempts",
        "began_ns",
        "limited",
        "mark_ns",
        "operation",
        "owner",
        "scope",
        "turned",
    )

    def __init__(self, owner: RequestAttempts, operation: str, *, alone: bool = False) -> None:
        """Begin a call; ``alone``: only this attempt of it is known."""
        self.owner = owner
        self.operation = operation
        self.alone = alone
        self.attempts = 0
        self.began_ns = self.mark_ns = now_ns()  # the mark: since when it has been waiting
        self.turned = False  # the loop has run something else since: building a long body does not count as waiting
        asyncio.get_running_loop().call_soon(self._turn)
        self.limited = True  # it waits for a rate limit, not for a retry after an error
        self.answered: RequestAttempt | None = None  # recorded when the caller gets the response
        self.scope = tracing.inherited()

    def waited_ns(self, until_ns: int) -> int:
        """Return how long the call has been waiting for a rate limit."""
        return until_ns - self.mark_ns if self.limited and self.turned else 0

    def _turn(self) -> None:
        self.turned = True


class RequestAttempt:
    """An attempt in progress."""

    __slots__ = ("api_call", "began_ns", "began_wall_s", "ended_ns", "limit", "status", "wait_ns")

    def __init__(self, api_call: ApiCall) -> None:
        """Begin the attempt now."""
        self.api_call = api_call
        self.began_wall_s = time.time()
        self.began_ns = self.ended_ns = now_ns()
        self.wait_ns = api_call.waited_ns(self.began_ns)
        self.status = 0
        self.limit: str | None = None  # the scope of a 429


class RequestAttempts:
    """Follows and records attempts. No method awaits."""

    def __init__(self, context: WatchContext) -> None:
        self.budget = Budget()
        self._context = context
        self._recorder: Recorder = context.recorder

    def begin(self, api_call: ApiCall) -> RequestAttempt:
        """Begin an attempt of this call."""
        api_call.attempts += 1
        return RequestAttempt(api_call)

    def answered(self, attempt: RequestAttempt, status: int, headers: Mapping[str, str]) -> None:
        """Note the status and headers of the response."""
        api_call = attempt.api_call
        attempt.ended_ns = now_ns()
        attempt.status = status
        if status == 429:
            attempt.limit = _limit(headers)
        date = headers.get("Date")
        if date is not None:
            self._context.skew.note(date, attempt.began_wall_s, time.time())
        self.budget.answered(api_call.operation, status, attempt.limit, attempt.ended_ns / 1e9)
        api_call.limited = status < 500
        if status == 429 or status >= 500 or api_call.alone:
            api_call.mark_ns = attempt.ended_ns
            self._record_answer(attempt)
        else:
            api_call.answered = attempt

    def left(self, attempt: RequestAttempt, error: BaseException | None) -> None:
        """Note that discord.py has read the body, or failed to."""
        api_call = attempt.api_call
        if api_call.answered is not attempt:
            return
        attempt.ended_ns = api_call.mark_ns = now_ns()
        if error is not None and attempt.status < 400:
            api_call.answered = None
            self._record(attempt, outcome_of_error(error), error_text(error))

    def failed(self, attempt: RequestAttempt, error: BaseException) -> None:
        """Record an attempt without a response."""
        api_call = attempt.api_call
        attempt.ended_ns = now_ns()
        api_call.limited = False
        self._record(attempt, outcome_of_error(error), error_text(error))

    def finished(self, api_call: ApiCall) -> None:
        """Record the last attempt of a call whose caller has the response."""
        attempt, api_call.answered = api_call.answered, None
        if attempt is not None:
            attempt.wait_ns += api_call.waited_ns(now_ns())
            self._record_answer(attempt)

    def record_whole(self, api_call: ApiCall, error: BaseException | None) -> None:
        """Record a call whose attempts were not hooked as one operation."""
        attempt = RequestAttempt(api_call)
        attempt.wait_ns, attempt.began_ns, api_call.alone = 0, api_call.began_ns, True
        answer = getattr(error, "response", None)
        if answer is not None:
            self.answered(attempt, answer.status, answer.headers)
        elif error is not None:
            self.failed(attempt, error)
        else:
            attempt.ended_ns = now_ns()
            self._record(attempt, Outcome.OK, None)

    def _record_answer(self, attempt: RequestAttempt) -> None:
        outcome = outcome_of_status(attempt.status)
        self._record(attempt, outcome, None if outcome is Outcome.OK else _error_text(attempt))

    def _record(self, attempt: RequestAttempt, outcome: Outcome, error: str | None) -> None:
        """Record the attempt as if it ended now, after any wait: end times must not decrease."""
        api_call = attempt.api_call
        waited = attempt.wait_ns >= LEAST_WAIT_NS
        if waited:
            self.budget.waited(api_call.operation, attempt.wait_ns // 1_000_000, attempt.ended_ns / 1e9)
        if background.is_own(api_call.scope):
            return
        end_ns, scope = now_ns(), tracing.live(api_call.scope)
        start_ns = end_ns - (attempt.ended_ns - attempt.began_ns)
        if waited and scope is not None:
            scope.trace.add(scope.span, (RATE_LIMITS, api_call.operation), (start_ns - attempt.wait_ns, start_ns))
        self._recorder.add_timed(
            self._recorder.series(REST, api_call.operation),
            start_ns,
            end_ns,
            outcome,
            error=error,
            metadata=_metadata(attempt, waited=waited),
            scope=scope,
        )


def _limit(headers: Mapping[str, str]) -> str:
    """Return the scope of a 429. Without ``Via`` the proxy answered, because it has banned the address."""
    if not headers.get("Via"):
        return "proxy"
    if headers.get("X-RateLimit-Global"):
        return "global"
    scope = headers.get("X-RateLimit-Scope", "")
    return scope if scope in SCOPES else "user"


def status_text(status: int) -> str:
    """Return a status with its phrase: ``HTTP 404 Not Found``."""
    try:
        return f"HTTP {status} {http.HTTPStatus(status).phrase}"
    except ValueError:  # 520 to 524 are the proxy's own
        return f"HTTP {status}"


def _error_text(attempt: RequestAttempt) -> str:
    phrase = status_text(attempt.status)
    return phrase if attempt.limit is None else f"{phrase} (scope {attempt.limit})"


def _metadata(attempt: RequestAttempt, *, waited: bool) -> Mapping[str, Any] | None:
    common = _STATUS.get(attempt.status)
    if common is not None and not waited:
        return common
    metadata: dict[str, Any] = {"status": attempt.status} if attempt.status else {}
    if waited:
        metadata["rate_limit_wait_ms"] = attempt.wait_ns // 1_000_000
    if attempt.limit is not None:
        metadata["scope"] = attempt.limit
    return metadata
