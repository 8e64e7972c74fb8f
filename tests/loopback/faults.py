"""Answers that go wrong on demand: rate limits, server errors, slowness, broken connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["user", "shared", "global"]


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of (or, with `delay_s` alone, before) its answer."""

    kind: Literal["rate_limited", "server_error", "slow", "connection_reset", "answer_lost"]
    status: int = 0
    delay_s: float = 0.0
    retry_after_s: float = 0.0
    scope: Scope = "user"


def rate_limited(retry_after_s: float = 0.1, scope: Scope = "user") -> Fault:
    """A 429 as Discord words it; scope `global` sets the global flag in body and headers."""
    return Fault("rate_limited", status=429, retry_after_s=retry_after_s, scope=scope)


def server_error(status: int = 500) -> Fault:
    """A 5xx of the proxy in front of Discord: text, not JSON."""
    return Fault("server_error", status=status)


def slow(delay_s: float) -> Fault:
    """The true answer, late."""
    return Fault("slow", delay_s=delay_s)


def connection_reset() -> Fault:
    """A TCP reset instead of an answer."""
    return Fault("connection_reset")


def answer_lost() -> Fault:
    """The request is done, and a TCP reset comes instead of the answer that says so."""
    return Fault("answer_lost")


@dataclass
class _Planned:
    fault: Fault
    route: str
    left: int


class Faults:
    """Planned faults, used up in the order in which they were planned."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def plan(self, fault: Fault, route: str = "*", *, times: int = 1) -> None:
        """Lets the next `times` requests to `route` fail.

        `route` is a method and a template, `POST /channels/{channel_id}/messages`, or `*` for any.
        """
        self._planned.append(_Planned(fault, route, times))

    def take(self, route: str) -> Fault | None:
        """The fault for this request, used up by asking."""
        for planned in self._planned:
            if planned.route in {"*", route}:
                planned.left -= 1
                if planned.left == 0:
                    self._planned.remove(planned)
                return planned.fault
        return None

    @property
    def waiting(self) -> int:
        """How many requests are still to fail."""
        return sum(planned.left for planned in self._planned)

    def clear(self) -> None:
        """Forgets what was planned."""
        self._planned.clear()
