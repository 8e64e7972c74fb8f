"""What becomes of each attempt at a REST request: its name, outcome, waits, and its place in the trace.

An attempt takes from its begin until its body is read. What a rate limit holds back before it, or after it until the
caller gets the answer, is ``rate_limit_wait_ms`` in its metadata and no part of its duration; so is no back-off.
"""

from __future__ import annotations

import asyncio
import http
import time
from typing import TYPE_CHECKING, Any, Final

from cogmeter import background, tracing
from cogmeter.timing import error_text, now_ns
from cogmeter.watch.budget import SCOPES, Budget
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.recorder import Recorder
    from cogmeter.watch.surface import Ground

SERVICE: Final = "discord.rest"
LEAST_WAIT_NS: Final = 1_000_000  # less is no rate limit

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

    __slots__ = ("attempts", "began_ns", "held", "limited", "mark_ns", "operation", "owner", "scope", "turned")

    def __init__(self, owner: Attempts, operation: str) -> None:
        self.owner = owner
        self.operation = operation
        self.attempts = 0
        self.mark()
        self.began_ns = self.mark_ns
        self.limited = True  # whether what it waits for is a rate limit, not the back-off after a fault
        self.held: Attempt | None = None  # answered, and recorded when the caller has the answer
        self.scope = tracing.current()

    def mark(self) -> None:
        """From now on it waits for the next attempt, or for the caller to get the answer."""
        self.mark_ns = now_ns()
        self.turned = False  # whether the loop did something else since: what reads a long body is no waiting
        asyncio.get_running_loop().call_soon(self._turn)

    def waited_ns(self, until_ns: int) -> int:
        """How long it has been waiting since the mark."""
        return until_ns - self.mark_ns if self.turned else 0

    def _turn(self) -> None:
        self.turned = True


class Attempt:
    """One attempt under way."""

    __slots__ = ("began_ns", "began_wall_s", "ended_ns", "flight", "limit", "read", "status", "wait_ns")

    def __init__(self, flight: Flight) -> None:
        """It begins now."""
        self.flight = flight
        self.began_wall_s = time.time()
        self.began_ns = self.ended_ns = now_ns()
        self.wait_ns = flight.waited_ns(self.began_ns) if flight.limited else 0
        self.status = 0
        self.read = False  # whether the body of its answer has come
        self.limit: str | None = None  # the scope of a 429


class Attempts:
    """Follows attempts and records each. Nothing here awaits."""

    def __init__(self, ground: Ground) -> None:
        self.budget = Budget()
        self._ground = ground
        self._recorder: Recorder = ground.recorder

    def begin(self, flight: Flight) -> Attempt:
        """An attempt of this call begins."""
        flight.attempts += 1
        return Attempt(flight)

    def answered(self, attempt: Attempt, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is there."""
        attempt.ended_ns = now_ns()
        attempt.status = status
        if status == 429:
            attempt.limit = _limit(headers)
        date = headers.get("Date")
        if date is not None and self._ground.skew is not None:
            self._ground.skew.note(date, attempt.began_wall_s, time.time())
        self.budget.answered(attempt.flight.operation, status, attempt.limit, attempt.ended_ns / 1e9)
        attempt.flight.held = attempt
        attempt.flight.limited = status == 429

    def read(self, attempt: Attempt) -> None:
        """The body is read. What will be tried again is recorded now, the others when the caller has the answer."""
        attempt.read = True
        attempt.flight.mark()
        attempt.ended_ns = attempt.flight.mark_ns
        if attempt.status == 429 or attempt.status >= 500:
            self._record_held(attempt.flight, None)

    def failed(self, attempt: Attempt, error: BaseException) -> None:
        """There will be no answer."""
        flight = attempt.flight
        attempt.ended_ns = now_ns()
        flight.limited = False
        self._record(attempt, outcome_of_error(error), error_text(error))

    def landed(self, flight: Flight, error: BaseException | None) -> None:
        """The caller has its answer, or this error."""
        held = flight.held
        if held is None:
            return
        if held.read:
            held.wait_ns += flight.waited_ns(now_ns())
        self._record_held(flight, error)

    def whole(self, flight: Flight, error: BaseException | None, status: int, headers: Mapping[str, str]) -> None:
        """Record a call whose attempts cannot be seen as one operation; ``status`` is 0 where there was no answer."""
        attempt = Attempt(flight)
        attempt.wait_ns, attempt.began_ns = 0, flight.began_ns
        if error is not None and not status:
            self.failed(attempt, error)
        else:
            self.answered(attempt, status, headers)
            self.read(attempt)
            self._record_held(flight, None)

    def _record_held(self, flight: Flight, error: BaseException | None) -> None:
        attempt, flight.held = flight.held, None
        if attempt is None:
            return
        if error is not None and not attempt.read:  # it broke off between its head and the end of its body
            self._record(attempt, outcome_of_error(error), error_text(error))
            return
        outcome = outcome_of_status(attempt.status)
        self._record(attempt, outcome, None if outcome is Outcome.OK else _said(attempt))

    def _record(self, attempt: Attempt, outcome: Outcome, error: str | None) -> None:
        """Record it as ended now at the latest: later than true after a wait, because time must not run back."""
        flight = attempt.flight
        waited = attempt.wait_ns >= LEAST_WAIT_NS
        if waited:
            self.budget.waited(flight.operation, attempt.wait_ns // 1_000_000, attempt.ended_ns / 1e9)
        if background.own_work.get() or (flight.scope is not None and flight.scope.trace.own):
            return
        end_ns = now_ns()
        self._recorder.add_timed(
            self._recorder.series(SERVICE, flight.operation),
            end_ns - (attempt.ended_ns - attempt.began_ns),
            end_ns,
            outcome,
            error=error,
            metadata=_metadata(attempt, waited=waited),
            scope=flight.scope,
        )


def _limit(headers: Mapping[str, str]) -> str:
    """Whose limit a 429 is about. Without ``Via`` it is no answer of the API: the proxy has banned the address."""
    if not headers.get("Via"):
        return "proxy"
    if headers.get("X-RateLimit-Global"):
        return "global"
    scope = headers.get("X-RateLimit-Scope", "")
    return scope if scope in SCOPES else "user"


def _said(attempt: Attempt) -> str:
    try:
        phrase = f"HTTP {attempt.status} {http.HTTPStatus(attempt.status).phrase}"
    except ValueError:  # 520 to 524 are the proxy's own
        phrase = f"HTTP {attempt.status}"
    return phrase if attempt.limit is None else f"{phrase} (scope {attempt.limit})"


def _metadata(attempt: Attempt, *, waited: bool) -> Mapping[str, Any] | None:
    common = _STATUS.get(attempt.status)
    if common is not None and not waited:
        return common
    metadata: dict[str, Any] = {"status": attempt.status} if attempt.status else {}
    if waited:
        metadata["rate_limit_wait_ms"] = attempt.wait_ns // 1_000_000
    if attempt.limit is not None:
        metadata["scope"] = attempt.limit
    return metadata
