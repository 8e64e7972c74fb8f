"""What becomes of each attempt at a REST request: its name, outcome, waits, and its place in the trace.

An attempt takes from its begin until its body is read; one that discord.py tries again, until its head is there. What a
rate limit holds back before it, or after it until the caller gets the answer, is ``rate_limit_wait_ms`` in its metadata
and no part of its duration; so is no back-off.
"""

from __future__ import annotations

import asyncio
import http
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording import background, tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.service_names import REST
from cogmeter.watch.rest.budget import SCOPES, Budget
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.recording.recorder import Recorder
    from cogmeter.watch.surface import WatchContext

LEAST_WAIT_NS: Final = 5_000_000  # less is the machine's, and no rate limit

_STATUS: Final = {status: {"status": status} for status in (200, 201, 204)}  # metadata that most attempts share


def outcome_of_status(status: int) -> Outcome:
    """The outcome of an answered attempt.

    429 and 5xx are Discord's. 403 and 404 are refusals that people cause, who take a permission away, close their
    direct messages, or delete what the bot wants to edit: they leave the error rate alone, and the budget of invalid
    requests shows when there are too many. What is left (400, 401, 405, 413, ...) is a fault of the bot. Whether an
    unknown interaction (404) came from being late is for the acknowledgement to say.
    """
    if status < 400:
        return Outcome.OK
    if status == 429 or status >= 500:
        return Outcome.UPSTREAM
    return Outcome.USER if status in {403, 404} else Outcome.ERROR


def outcome_of_error(error: BaseException) -> Outcome:
    """The outcome of an attempt without an answer. aiohttp's connection errors are OSErrors; so are timeouts."""
    if isinstance(error, asyncio.CancelledError):
        return Outcome.CANCELLED
    library = type(error).__module__.partition(".")[0]
    return Outcome.UPSTREAM if isinstance(error, OSError) or library == "aiohttp" else Outcome.ERROR


class Flight:
    """One call of discord.py's ``request`` and the attempts that it makes."""

    __slots__ = ("alone", "attempts", "began_ns", "held", "limited", "mark_ns", "operation", "owner", "scope", "turned")

    def __init__(self, owner: RequestAttempts, operation: str, *, alone: bool = False) -> None:
        """``alone``: nothing is known of the call but this attempt."""
        self.owner = owner
        self.operation = operation
        self.alone = alone
        self.attempts = 0
        self.began_ns = self.mark_ns = now_ns()  # the mark: since when it waits
        self.turned = False  # whether the loop did anything else since the begin: building a long body is no waiting
        asyncio.get_running_loop().call_soon(self._turn)
        self.limited = True  # whether what it waits for is a rate limit, not the back-off after a fault
        self.held: RequestAttempt | None = None  # answered, and recorded when the caller has the answer
        self.scope = tracing.inherited()

    def waited_ns(self, until_ns: int) -> int:
        """How long it has been waiting for a rate limit."""
        return until_ns - self.mark_ns if self.limited and self.turned else 0

    def _turn(self) -> None:
        self.turned = True


class RequestAttempt:
    """One attempt under way."""

    __slots__ = ("began_ns", "began_wall_s", "ended_ns", "flight", "limit", "status", "wait_ns")

    def __init__(self, flight: Flight) -> None:
        """It begins now."""
        self.flight = flight
        self.began_wall_s = time.time()
        self.began_ns = self.ended_ns = now_ns()
        self.wait_ns = flight.waited_ns(self.began_ns)
        self.status = 0
        self.limit: str | None = None  # the scope of a 429


class RequestAttempts:
    """Follows attempts and records each. Nothing here awaits."""

    def __init__(self, ground: WatchContext) -> None:
        self.budget = Budget()
        self._ground = ground
        self._recorder: Recorder = ground.recorder

    def begin(self, flight: Flight) -> RequestAttempt:
        """An attempt of this call begins."""
        flight.attempts += 1
        return RequestAttempt(flight)

    def answered(self, attempt: RequestAttempt, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is there."""
        flight = attempt.flight
        attempt.ended_ns = now_ns()
        attempt.status = status
        if status == 429:
            attempt.limit = _limit(headers)
        date = headers.get("Date")
        if date is not None:
            self._ground.skew.note(date, attempt.began_wall_s, time.time())
        self.budget.answered(flight.operation, status, attempt.limit, attempt.ended_ns / 1e9)
        flight.limited = status < 500
        if status == 429 or status >= 500 or flight.alone:
            flight.mark_ns = attempt.ended_ns
            self._record_answer(attempt)
        else:
            flight.held = attempt

    def left(self, attempt: RequestAttempt, error: BaseException | None) -> None:
        """discord.py has read the body, or failed to, and looked at the status."""
        flight = attempt.flight
        if flight.held is not attempt:
            return
        attempt.ended_ns = flight.mark_ns = now_ns()
        if error is not None and attempt.status < 400:
            flight.held = None
            self._record(attempt, outcome_of_error(error), error_text(error))

    def failed(self, attempt: RequestAttempt, error: BaseException) -> None:
        """There will be no answer."""
        flight = attempt.flight
        attempt.ended_ns = now_ns()
        flight.limited = False
        self._record(attempt, outcome_of_error(error), error_text(error))

    def landed(self, flight: Flight) -> None:
        """The caller has its answer."""
        held, flight.held = flight.held, None
        if held is not None:
            held.wait_ns += flight.waited_ns(now_ns())
            self._record_answer(held)

    def whole(self, flight: Flight, error: BaseException | None) -> None:
        """Record a call whose attempts could not be seen as one operation."""
        attempt = RequestAttempt(flight)
        attempt.wait_ns, attempt.began_ns, flight.alone = 0, flight.began_ns, True
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
        self._record(attempt, outcome, None if outcome is Outcome.OK else _said(attempt))

    def _record(self, attempt: RequestAttempt, outcome: Outcome, error: str | None) -> None:
        """Record it as ended now at the latest: later than true after a wait, because time must not run back."""
        flight = attempt.flight
        waited = attempt.wait_ns >= LEAST_WAIT_NS
        if waited:
            self.budget.waited(flight.operation, attempt.wait_ns // 1_000_000, attempt.ended_ns / 1e9)
        if background.own_work.get() or (flight.scope is not None and flight.scope.trace.own):
            return
        end_ns = now_ns()
        self._recorder.add_timed(
            self._recorder.series(REST, flight.operation),
            end_ns - (attempt.ended_ns - attempt.began_ns),
            end_ns,
            outcome,
            error=error,
            metadata=_metadata(attempt, waited=waited),
            scope=tracing.live(flight.scope),
        )


def _limit(headers: Mapping[str, str]) -> str:
    """Whose limit a 429 is about. Without ``Via`` it is no answer of the API: the proxy has banned the address."""
    if not headers.get("Via"):
        return "proxy"
    if headers.get("X-RateLimit-Global"):
        return "global"
    scope = headers.get("X-RateLimit-Scope", "")
    return scope if scope in SCOPES else "user"


def _said(attempt: RequestAttempt) -> str:
    try:
        phrase = f"HTTP {attempt.status} {http.HTTPStatus(attempt.status).phrase}"
    except ValueError:  # 520 to 524 are the proxy's own
        phrase = f"HTTP {attempt.status}"
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
