"""Markers on their way into the store: from ``cogmeter.mark()``, loads and reloads, starts, new versions.

Nothing here raises into the host or grows without bound. Any thread may add a marker.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.recording.buffer import lock
from cogmeter.redaction import redact
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import Marker

if TYPE_CHECKING:
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorGroup

# Kinds of markers.
MARK, START, VERSION, EXTENSION, THRESHOLD, ERROR = "mark", "start", "version", "extension", "threshold", "error"
MAX_NAME: Final = 100
CAPACITY: Final = 100
CUT: Final = "…"  # the end of a name that was cut
NAMELESS: Final = "(nameless)"
VERSION_KEY: Final = "version"  # the key of the last seen version in the store

_logger = logging.getLogger("cogmeter.marks")


class MarkerRecorder:
    """A queue of markers that wait to be stored; beyond ``capacity``, new ones are dropped and counted."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.started = False  # whether the start of this process is marked
        self._capacity = capacity
        self._queue: deque[tuple[Marker, str]] = deque()  # with the verb, if any; both ends are thread-safe

    def __len__(self) -> int:
        return len(self._queue)

    def mark(self, name: object) -> None:
        """Mark this moment on charts and in alerts: ``cogmeter.mark("deployed 1.4")``. At most 100 characters are kept.

        Any thread may call it, even before the extension is loaded, which then stores it. It never raises.
        """
        self.add(MARK, name)

    def add(self, kind: str, name: object, *, verb: str = "") -> None:
        """Add a marker of a kind. Successive ones with the same verb become one: "reloaded cogs.music, cogs.quotes"."""
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
        """Start empty in the child of a fork: the parent stores the waiting markers."""
        self._queue.clear()
        self.dropped, self.started = 0, False

    def take(self) -> list[Marker]:
        """Remove and return all waiting markers in order; successive ones with the same verb are joined."""
        markers: list[Marker] = []
        last_verb = ""
        while self._queue:
            marker, verb = self._queue.popleft()
            if verb and verb == last_verb:
                markers[-1] = _joined(markers[-1], marker.name)
            else:
                name = cleaned(f"{verb} {marker.name}") if verb else marker.name
                markers.append(dataclasses.replace(marker, name=name))
            last_verb = verb
        return markers

    def put_back(self, markers: list[Marker]) -> None:
        """Put markers that could not be stored back in front of newer ones."""
        self._queue.extendleft((marker, "") for marker in reversed(markers))


def cleaned(name: object) -> str:
    """Return a marker's name as one line of at most 100 printable characters, without secrets."""
    text = str(name)[: 4 * MAX_NAME]  # cut twice, so that a megabyte is not searched for secrets
    printable = "".join(char if char.isprintable() else " " for char in text)
    return _cut(redact(" ".join(printable.split()))) or NAMELESS


def came_back(group: ErrorGroup) -> str:
    """Return the name of the marker of a resolved group of errors that came back."""
    place = f" in {group.place.function}" if group.place is not None else ""
    return f"error came back: {group.type}{place}"


async def store_markers(store: Store, markers: MarkerRecorder) -> None:
    """Store the waiting markers. If the store fails, they are kept for the next time."""
    waiting = markers.take()
    try:
        while waiting:
            await store.add_marker(waiting[0])
            del waiting[0]
    except StorageError as error:
        _logger.debug("%d markers wait for the store: %s", len(waiting), error)
    except Exception:
        _logger.exception("Dropped the marker %r, which could not be stored", waiting.pop(0).name)
    finally:
        markers.put_back(waiting)


async def mark_start(store: Store, markers: MarkerRecorder, version: str | None) -> None:
    """Mark the start of the bot, or of the monitoring in a running bot, and the version if it has changed.

    Raises:
        StorageError: the store failed; the version is marked at the next start.
    """
    markers.add(START, "monitoring restarted" if markers.started else "bot started")
    markers.started = True
    if version is None or not version.strip():
        return
    name = cleaned(version)
    known = await store.get_value(VERSION_KEY)
    if known is None or known.decode("utf-8", "replace") != name:
        await store.add_marker(Marker(clock.now_us(), VERSION, cleaned(f"version {name}")))
        await store.set_value(VERSION_KEY, name.encode())


def _joined(marker: Marker, name: str) -> Marker:
    complete = marker.name.endswith((CUT, f" {name}"))  # full, or the same name twice
    return marker if complete else dataclasses.replace(marker, name=_cut(f"{marker.name}, {name}"))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}{CUT}"
