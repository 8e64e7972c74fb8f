"""The result of the attempts to answer one interaction, without side effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import discord

from cogmeter.recording.operation import error_text
from cogmeter.watch.outcomes import UNKNOWN_INTERACTION, outcome_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

NEAR_MISS_NS: Final = 2_000_000_000
ALREADY_ACKNOWLEDGED: Final = 40060


class ResponseAttempt(NamedTuple):
    """An attempt at a first response that has ended. Times are of time.perf_counter_ns."""

    sent_ns: int
    ended_ns: int
    over_http: bool  # the whole time is HTTP


class Acknowledged(NamedTuple):
    """The result of an acknowledgement; the duration starts at the arrival."""

    duration_ns: int
    outcome: Outcome
    error: str | None
    metadata: Mapping[str, Any] | None


@dataclass(slots=True)
class ResponseLog:
    """The attempts at a first response to one interaction that arrived at ``arrived_ns``."""

    arrived_ns: int
    limit_ns: int  # Discord's limit of an interaction's age
    in_progress: int = 0  # attempts in progress
    _taken: ResponseAttempt | None = None  # the first that Discord accepted
    _unknown: ResponseAttempt | None = None  # the first that failed because Discord did not know the interaction
    _double: ResponseAttempt | None = None  # the first that failed because the interaction was answered already
    _last: tuple[Outcome, str] | None = None  # another error; the host may retry

    def ended(self, attempt: ResponseAttempt, error: BaseException | None) -> None:
        """Note the end of an attempt."""
        code = error.code if isinstance(error, discord.HTTPException) else 0
        if error is None:
            self._taken = self._taken or attempt
        elif code == UNKNOWN_INTERACTION:
            self._unknown = self._unknown or attempt
        elif code == ALREADY_ACKNOWLEDGED:
            self._double = self._double or attempt
        else:
            self._last = (outcome_of(error), error_text(error))

    def settled(self) -> Acknowledged | None:
        """Return the result once it is certain, else None. Another process may have sent an earlier response."""
        decisive = self._taken or self._double or self._unknown
        if self.in_progress or decisive is None:
            return None
        duration_ns = decisive.ended_ns - self.arrived_ns
        outcome, error = self._sorted(decisive) if decisive is self._unknown else (Outcome.OK, None)
        metadata: dict[str, Any] = {}
        if decisive.over_http:
            metadata["http_ms"] = round((decisive.ended_ns - decisive.sent_ns) / 1e6, 1)
        if duration_ns > NEAR_MISS_NS and outcome is Outcome.OK:
            metadata["near_miss"] = True
        if self._double is not None:
            metadata["double"] = True
        return Acknowledged(duration_ns, outcome, error, metadata)

    def missed(self, at_ns: int) -> Acknowledged:
        """Return the result without a response in time: Discord's failure if the attempts failed by Discord."""
        outcome, last = self._last or (Outcome.ERROR, None)
        return Acknowledged(
            duration_ns=at_ns - self.arrived_ns,
            outcome=outcome if outcome is Outcome.UPSTREAM else Outcome.ERROR,
            error=f"never acknowledged within {self.limit_ns / 1e9:g} s",
            metadata=None if last is None else {"last_error": last},
        )

    def _sorted(self, unknown: ResponseAttempt) -> tuple[Outcome, str]:
        """Return who caused that Discord did not know the interaction."""
        age_ns = unknown.sent_ns - self.arrived_ns
        if age_ns >= self.limit_ns:
            return Outcome.ERROR, f"{UNKNOWN_INTERACTION}: we were late ({age_ns / 1e9:.1f} s)"
        return Outcome.UPSTREAM, f"{UNKNOWN_INTERACTION}: Discord did not know it after {age_ns / 1e9:.1f} s"
