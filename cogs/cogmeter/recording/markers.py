"""Markers on their way into the store: what ``cogmeter.mark()`` was told, what was loaded, which version started.

Nothing here raises into the host or grows without bound, and any thread may mark.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.recording.locking import lock
from cogmeter.redaction import redact
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import Marker

if TYPE_CHECKING:
    from cogmeter_storage.base import Store

MARK, START, VERSION, EXTENSION, THRESHOLD = "mark", "start", "version", "extension", "threshold"  # kinds of markers
MAX_NAME: Final = 100
CAPACITY: Final = 100
CUT: Final = "…"  # in place of what is too long
NAMELESS: Final = "(nameless)"
VERSION_KEY: Final = "version"  # under which the store remembers the version that was last seen

_logger = logging.getLogger("cogmeter.marks")


class MarkerRecorder:
    """The queue of markers: at most ``capacity`` wait to be stored; beyond it, new ones are dropped and counted."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.started = False  # whether this process has its start marked
        self._capacity = capacity
        self._queue: deque[tuple[Marker, str]] = deque()  # with the verb, if any; its ends are safe between threads

    def __len__(self) -> int:
        return len(self._queue)

    def mark(self, name: object) -> None:
        """Mark this moment on charts and in alerts: ``cogmeter.mark("deployed 1.4")``. At most 100 characters are kept.

        Any thread may call it, also before the extension is loaded, which then stores it. It never raises.
        """
        self.add(MARK, name)

    def add(self, kind: str, name: object, *, verb: str = "") -> None:
        """Mark this moment as one of another kind. What one verb was done to, one after the other, is one marker."""
        try:
            marker = Marker(clock.now_us(), kind, cleaned(name)) if len(self) < self._capacity else None
        except Exception as error:
            marker = None
            _logger.debug("A marker has no text", exc_info=error)
        with lock:
            if marker is not None and len(self) < self._capacity:
                self._queue.append((marker, verb))
            else:
                self.dropped += 1

    def forked(self) -> None:
        """Begin anew in the child of a fork: what waits here is the parent's, which stores it."""
        self._queue.clear()
        self.dropped, self.started = 0, False

    def take(self) -> list[Marker]:
        """Take out all that wait, in order; those of one verb joined: "reloaded cogs.music, cogs.quotes"."""
        taken: list[Marker] = []
        last_verb = ""
        while self._queue:
            marker, verb = self._queue.popleft()
            if verb and verb == last_verb:
                taken[-1] = _joined(taken[-1], marker.name)
            else:
                name = cleaned(f"{verb} {marker.name}") if verb else marker.name
                taken.append(dataclasses.replace(marker, name=name))
            last_verb = verb
        return taken

    def put_back(self, markers: list[Marker]) -> None:
        """Give back markers that could not be stored, ahead of what came since."""
        self._queue.extendleft((marker, "") for marker in reversed(markers))


def cleaned(name: object) -> str:
    """A marker's name as it is kept: one line of at most 100 printable characters, without secrets."""
    text = str(name)[: 4 * MAX_NAME]  # cut twice, so that a megabyte is not searched for secrets
    printable = "".join(char if char.isprintable() else " " for char in text)
    return _cut(redact(" ".join(printable.split()))) or NAMELESS


async def store_marks(store: Store, marks: MarkerRecorder) -> None:
    """Store what waits. They are a help, no figure: a store that takes none now is asked again the next time."""
    waiting = marks.take()
    try:
        while waiting:
            await store.add_marker(waiting[0])
            del waiting[0]
    except StorageError as error:
        _logger.debug("%d markers wait for the store: %s", len(waiting), error)
    except Exception:
        _logger.exception("Dropped the marker %r, which could not be stored", waiting.pop(0).name)
    finally:
        marks.put_back(waiting)


async def mark_start(store: Store, marks: MarkerRecorder, version: str | None) -> None:
    """Mark that the bot, or in a running bot the monitoring, has started; and its version, if it is another.

    Raises:
        StorageError: the store does not take the version now; it is marked at the next start.
    """
    marks.add(START, "monitoring started anew" if marks.started else "bot started")
    marks.started = True
    if version is None or not version.strip():
        return
    name = cleaned(version)
    known = await store.get_value(VERSION_KEY)
    if known is None or known.decode("utf-8", "replace") != name:
        await store.add_marker(Marker(clock.now_us(), VERSION, cleaned(f"version {name}")))
        await store.set_value(VERSION_KEY, name.encode())


def _joined(marker: Marker, name: str) -> Marker:
    known = marker.name.endswith((CUT, f" {name}"))  # nothing fits any more, or the same thing twice
    return marker if known else dataclasses.replace(marker, name=_cut(f"{marker.name}, {name}"))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}{CUT}"
