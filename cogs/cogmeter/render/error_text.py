"""Errors as text: the type, the place, a frame, and a chain with its stacks, for Discord, pages and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cogmeter.recording.frames import FrameLike, frame_text
from cogmeter.recording.markers import VERSION
from cogmeter.recording.service_names import UNHANDLED, label
from cogmeter.render import formatting
from cogmeter_storage.errors import headline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNKNOWN_PLACE: Final = "place unknown"
NO_MESSAGE: Final = "(no message)"
MAX_PEOPLE: Final = 1_000  # the store counts no more of one group
NAMED: Final = 3  # operations
UNPLACED_NEXT: Final = "they are listed by their text with the statistics of the service"
INNER_TITLE: Final = "Raised inside another operation, and counted there"
KIND_TITLES: Final = {
    "failed": "ended an operation",
    "logged": "logged as an error",
    "unhandled": "ended a task, callback or thread",
}


class LinkLike(Protocol):
    """A stored exception of a chain, or one of the API."""

    @property
    def type(self) -> str: ...  # noqa: D102 - as in ErrorLink
    @property
    def message(self) -> str: ...  # noqa: D102 - as in ErrorLink
    @property
    def frames(self) -> Sequence[FrameLike]: ...  # noqa: D102 - as in ErrorLink


def place_text(place: FrameLike | None) -> str:
    """Return the place of an error as text, see ``frame_text``."""
    return UNKNOWN_PLACE if place is None else frame_text(place)


def happened_text(kind: str, places: Sequence[tuple[str, str]]) -> str:
    """Return what an error did, as a sentence: what it ended, and which code caught it.

    ``places`` are the services and operations that it belongs to, the most frequent first. Of an unhandled error these
    are the operations that started the task or callback; without one, its own name.
    """
    if kind == "failed":
        return "It ended the operation."
    if kind == "logged":
        return "The code caught it and logged it."
    started = [label(*place) for place in places if place[0] != UNHANDLED]
    names = ", ".join(formatting.clean(name) for name in (started or [place[1] for place in places])[:NAMED])
    if not names:
        return "Nothing caught it: it ended a task, callback or thread."
    if started:
        return f"Nothing caught it: it ended a task, callback or thread that {names} had started."
    return f"Nothing caught it: it ended {names}, which no operation had started."


def type_text(name: str) -> str:
    """Return the name of an exception type without its module."""
    return name.rpartition(".")[2]


def link_text(link: LinkLike) -> str:
    """Return an exception on one line: its type and message."""
    return headline(link.type, formatting.clean(link.message))


def relation_text(chain: Sequence[LinkLike], place: int) -> str:
    """Return how an exception of a chain belongs to the first one: ``Cause``; empty for the first one."""
    if not place:
        return ""
    in_group = any(link.type.endswith("ExceptionGroup") for link in chain[:place])
    return "Member or cause" if in_group else "Cause"


def chain_lines(chain: Sequence[LinkLike]) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a chain, outermost frames first, with True for exceptions and for frames of the host."""
    for place, link in enumerate(chain):
        relation = relation_text(chain, place)
        yield (f"{relation}: " if relation else "") + link_text(link), True
        for frame in link.frames:
            yield f"  {'>' if frame.own else ' '} {frame_text(frame)}", frame.own


def people_text(users: int, guilds: int) -> str:
    """Return the number of people affected: ``3 users, 2 servers``; empty if nobody is known."""
    counts = [(users, "user"), (guilds, "server")]
    return ", ".join(
        f"{'at least ' if number >= MAX_PEOPLE else ''}{formatting.counted(number, noun)}"
        for number, noun in counts
        if number
    )


def unplaced_text(operations: int) -> str:
    """Return how many operations failed without an error whose place is known, without full stop."""
    return f"{formatting.counted(operations, 'operation')} failed without an error whose place is known"


def counted_days(since_us: int, until_us: int) -> str:
    """Return which days the counts of a range cover: ``Counted by whole days in UTC: 29 Nov to 30 Nov``."""
    first, last = (formatting.day(at_us) for at_us in (since_us, until_us - 1))
    return f"Counted by whole days in UTC: {first}" + ("" if first == last else f" to {last}")


def state_word(*, is_new: bool, reopened: bool, resolved: bool, muted: bool) -> str:
    """Return the state of a group: ``resolved``, ``muted``, ``reopened``, ``new`` or ``open``."""
    states = {"resolved": resolved, "muted": muted, "reopened": reopened, "new": is_new}
    return next((word for word, applies in states.items() if applies), "open")


def deploy_text(kind: str, name: str) -> str:
    """Return the marker since which groups are new as text: ``version 1.4``, or ``the last start``."""
    return name if kind == VERSION else "the last start"
