"""What is said in a message of its own beside an alert's living one: edits notify nobody, and old messages take few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.render import formatting
from cogmeter.render.embeds.alert import length_us
from cogmeter.render.escape import plain
from cogmeter.render.palette import look_of
from cogmeter.render.rule_text import measured
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.base import Notice

# Discord limits how often a message older than this may be edited (error 30046).
OLD_US: Final = HOUR_US
_URGES: Final = frozenset({"escalated", "reminded"})


def followup(notice: Notice, *, edited: bool, posted_us: int, threaded: bool) -> str:
    """The words of a follow-up; empty where the living message says enough.

    ``edited`` tells whether that message shows the change, ``threaded`` whether the words go to the alert's thread,
    which takes every change. The words of one change are always the same, so that they can be found again.
    """
    kind = notice.change.kind
    if kind == "fired" or (kind in _URGES and notice.alert.state is not AlertState.FIRING):
        return ""  # the message itself says so; somebody has dealt with it meanwhile
    old = kind == "resolved" and notice.change.at_us - posted_us > OLD_US
    if not (loud(notice) or old or threaded or not edited):
        return ""
    # What should be noticed looks as bad as it is, even when somebody has dealt with the alert before.
    state = AlertState.FIRING if loud(notice) else notice.change.state
    return f"{look_of(notice.change.severity, state).icon} {_WORDS.get(kind, _message)(notice)}"


def loud(notice: Notice) -> bool:
    """Whether people should be notified of this change, not only find it when they look."""
    kind = notice.change.kind
    return kind in _URGES or (kind == "worsened" and notice.change.severity == "critical")


def _message(notice: Notice) -> str:
    return plain(notice.change.message, 500)


def _lasting(notice: Notice) -> str:
    return formatting.duration(max(notice.change.at_us - notice.alert.started_us, 0))


def _escalated(notice: Notice) -> str:
    return f"Nobody has acknowledged this for {_lasting(notice)}: {_message(notice)}"


def _reminded(notice: Notice) -> str:
    now = measured(notice.alert.rule, notice.change.current)
    return f"Still firing after {_lasting(notice)}, now {now}: {_message(notice)}"


def _resolved(notice: Notice) -> str:
    return f"Resolved after {formatting.duration(length_us(notice.alert, notice.change.at_us))}"


def _acknowledged(notice: Notice) -> str:
    return f"Acknowledged{_by(notice)}"


def _muted(notice: Notice) -> str:
    until_us = notice.alert.muted_until_us
    return f"Muted{_by(notice)}" + ("" if until_us is None else f" until <t:{until_us // 1_000_000}:f>")


def _unmuted(notice: Notice) -> str:
    return f"No longer muted{_by(notice)}: {_message(notice)}"


def _by(notice: Notice) -> str:
    return f" by {plain(notice.change.actor, 60)}" if notice.change.actor else ""


def _joined(notice: Notice) -> str:
    number = len(notice.members)
    return f"{formatting.exact(number)} {'alert' if number == 1 else 'alerts'} together by now: {_message(notice)}"


_WORDS: Final[dict[str, Callable[[Notice], str]]] = {
    "escalated": _escalated,
    "reminded": _reminded,
    "resolved": _resolved,
    "acknowledged": _acknowledged,
    "muted": _muted,
    "unmuted": _unmuted,
    "worsened": lambda notice: f"Now {plain(notice.change.severity, 30)}: {_message(notice)}",
    "eased": lambda notice: f"Eased to {plain(notice.change.severity, 30)}: {_message(notice)}",
    "flapping": lambda notice: f"Flapping, so it is told once: {_message(notice)}",
    "joined": _joined,
}
