"""The errors that rules read: logged ones by service, unhandled ones in the window, and groups that are new."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.measurement.history import HALF_HOUR_S, HOUR_S, THREE_DAYS_S, Ring
from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.error_batches import masked
from cogmeter.recording.frames import frame_text, short_name
from cogmeter_storage.base import StorageError
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.values import CountArray
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorBatch, ErrorChange, ErrorGroup

LOGGED_KEY: Final = "logged_errors"  # in the metadata of operations
BINS: Final = 30  # of the alert window
MOST_SERVICES: Final = 500  # with logged errors, that are remembered for the next start
MOST_GROUPS: Final = 200  # new groups that are followed at once
NEW_US: Final = DAY_US  # how long a group is new
LEARNING_US: Final = DAY_US  # at first, every error of a running bot would be new
QUIET_US: Final = HOUR_US // 2  # a new error that did not occur for so long is over
TEXT: Final = 100  # characters of a message that takes the place of a line

_NUMBER: Final = re.compile(r"\(error (\d+)\)\Z")
_logger = logging.getLogger("cogmeter.alerts")


@dataclass(frozen=True, slots=True)
class NewError:
    """A group of errors that began, or came back after it had been resolved, within the last day."""

    number: int  # of the group
    kind: ErrorKind
    service: str  # the one with the most errors
    name: str  # "ValueError in Ask.ask (error 12)"; it stays when the line moves
    text: str  # "ValueError in cogs/ask.py:42 in Ask.ask"
    reopened: bool
    count: int  # errors since ``since_us``
    since_us: int
    last_us: int
    reported: bool = False  # by the rule; when it is over then, it is no longer followed
    muted_until_us: int = 0


@dataclass(frozen=True, slots=True)
class RecentErrors:
    """The errors at one moment."""

    # Operations, and those with logged errors, by service: in the alert window, half an hour, an hour, three days.
    logged: Sequence[tuple[CountArray, CountArray]] = ()
    unhandled: int = 0  # in the alert window
    newest_unhandled: str = ""  # "ValueError in cogs/ask.py:42 in Ask.ask"
    new: Sequence[NewError] = ()  # that occurred within the last half hour and are not muted


class ErrorTotals:
    """Counts of errors, updated by the batches of operations and of errors."""

    def __init__(self, window_s: float, now_us: int) -> None:
        self._window_s = window_s
        self._days = Ring(THREE_DAYS_S, HOUR_US, THREE_DAYS_S // HOUR_S)
        self._rings = (
            Ring(int(window_s), int(window_s * 1e6) // BINS, BINS),
            Ring(HALF_HOUR_S, MINUTE_US, HALF_HOUR_S // 60),
            Ring(HOUR_S, MINUTE_US, HOUR_S // 60),
            self._days,
        )
        self._unhandled: deque[tuple[float, int]] = deque()  # (when, how many)
        self._newest_unhandled = ""
        self._learning_since_us = now_us
        self._new: dict[tuple[str, ErrorKind], NewError] = {}  # by the identity of the group

    def add_operations(self, operations: NDArray[np.int64], logged: NDArray[np.int64], now_us: int) -> None:
        """Count operations, and those with logged errors, by service."""
        self._move(now_us, len(operations))
        for ring in self._rings:
            ring.add(np.stack([operations, logged]))

    def add_errors(
        self, batches: Sequence[ErrorBatch], changes: Sequence[ErrorChange], now_us: int, now_s: float
    ) -> None:
        """Count stored errors, and follow the groups that began or came back with them."""
        for batch in batches:
            count = sum(batch.counts.values())
            if batch.kind is ErrorKind.UNHANDLED:
                self._add_unhandled(count, now_s)
                self._newest_unhandled = _text(batch)
            known = self._new.get((batch.fingerprint, batch.kind))
            if known is not None:
                self._new[batch.fingerprint, batch.kind] = dataclasses.replace(
                    known, count=known.count + count, last_us=max(known.last_us, batch.last_us), text=_text(batch)
                )
        counts = {(batch.fingerprint, batch.kind): sum(batch.counts.values()) for batch in batches}
        for group, reopened in changes:
            if reopened or now_us - self._learning_since_us >= LEARNING_US:
                identity = group.fingerprint, group.kind
                self._new[identity] = _new_error(group, counts.get(identity, group.count), reopened=reopened)
        while len(self._new) > MOST_GROUPS:
            del self._new[min(self._new, key=lambda identity: self._new[identity].last_us)]

    async def follow(self, store: Store, now_us: int) -> None:
        """Drop groups that are over or resolved, and read which ones are muted."""
        self._new = {
            identity: new
            for identity, new in self._new.items()
            if now_us - new.since_us < NEW_US and not (new.reported and now_us - new.last_us >= QUIET_US)
        }
        active = [new for new in self._new.values() if now_us - new.last_us < QUIET_US]
        if not active:
            return
        try:
            since_us = min(new.last_us for new in active)
            groups = await store.errors.groups(since_us, now_us + 1, limit=MOST_GROUPS)
        except StorageError as error:
            _logger.debug("The state of %d new errors could not be read", len(active), exc_info=error)
            return
        states = {group.id: group for group in groups}
        for identity, new in list(self._new.items()):
            state = states.get(new.number)
            if state is not None and state.resolved_us is not None:
                del self._new[identity]
            elif state is not None:
                self._new[identity] = dataclasses.replace(new, muted_until_us=state.muted_until_us or 0)

    def note_reported(self, names: Collection[str]) -> None:
        """Note the groups that the rule has reported, by name."""
        for identity, new in self._new.items():
            if new.name in names and not new.reported:
                self._new[identity] = dataclasses.replace(new, reported=True)

    def learn_again(self, now_us: int) -> None:
        """Start without known groups: the store is another one."""
        self._new, self._learning_since_us = {}, now_us

    def recent(self, services: int, now_us: int, now_s: float) -> RecentErrors:
        """Return the errors at this time, for this number of services."""
        self._move(now_us, services)
        while self._unhandled and now_s - self._unhandled[0][0] >= self._window_s:
            self._unhandled.popleft()
        return RecentErrors(
            logged=[(ring.sums[0, :services], ring.sums[1, :services]) for ring in self._rings],
            unhandled=sum(count for _, count in self._unhandled),
            newest_unhandled=self._newest_unhandled,
            new=[
                new
                for new in self._new.values()
                if now_us - new.last_us < QUIET_US and new.muted_until_us <= now_us and now_us - new.since_us < NEW_US
            ],
        )

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock."""
        for ring in self._rings:
            ring.shift(step_us)
        self._learning_since_us += step_us
        self._new = {
            identity: dataclasses.replace(new, since_us=new.since_us + step_us, last_us=new.last_us + step_us)
            for identity, new in self._new.items()
        }

    def state(self, services: Sequence[str]) -> dict[str, Any]:
        """Return what ``restore`` takes: the shares of three days, and the groups that are followed."""
        newest, bins = self._days.newest or 0, len(self._days.counts)
        numbers = range(newest - bins + 1, newest + 1)
        logged = np.flatnonzero(self._days.counts[:, 1].any(axis=0))[:MOST_SERVICES].tolist()
        counts = {
            services[place]: [
                (number, *values) for number in numbers if any(values := self._days.bin(number)[:, place].tolist())
            ]
            for place in logged
        }
        new = [[fingerprint, *dataclasses.astuple(new)] for (fingerprint, _), new in self._new.items()]
        return {"learning_since": self._learning_since_us, "logged": counts, "new": new}

    def restore(self, state: Mapping[str, Any], places: Mapping[str, int], now_us: int) -> None:
        """Restore what ``state`` returned; ``places`` are the numbers of the services.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, OverflowError: not such a state; discard this object.
        """
        self._move(now_us, max(places.values(), default=-1) + 1)
        for service, bins in state["logged"].items():
            for number, operations, logged in bins if service in places else ():
                counts = np.zeros((2, places[service] + 1), dtype=np.int64)
                counts[:, -1] = int(operations), int(logged)
                self._days.put(int(number), counts)
        for fingerprint, number, kind, service, name, text, reopened, *times, reported, muted_us in state["new"]:
            count, since_us, last_us = map(int, times)
            self._new[str(fingerprint), ErrorKind(kind)] = NewError(
                int(number),
                ErrorKind(kind),
                str(service),
                str(name),
                str(text),
                bool(reopened),
                count,
                since_us,
                last_us,
                bool(reported),
                int(muted_us),
            )
        self._learning_since_us = min(int(state["learning_since"]), now_us)

    def _move(self, now_us: int, services: int) -> None:
        for ring in self._rings:
            ring.grow(services)
            ring.move(now_us)

    def _add_unhandled(self, count: int, now_s: float) -> None:
        """Count unhandled errors; those of one bin are kept together."""
        if self._unhandled and now_s - self._unhandled[-1][0] < self._window_s / BINS:
            at_s, before = self._unhandled.pop()
            self._unhandled.append((at_s, before + count))
        else:
            self._unhandled.append((now_s, count))


def series_with_logged_errors(atoms: list[Any]) -> Iterator[int]:
    """Yield the series number of each of the buffer's atoms whose operation logged errors."""
    for place, extra in enumerate(atoms[4::FIELDS]):
        if extra and isinstance(extra[1], Mapping) and extra[1].get(LOGGED_KEY):
            yield atoms[place * FIELDS]


def group_number(name: str) -> int | None:
    """Return the number of the group from the name of a new error."""
    match = _NUMBER.search(name)
    return None if match is None else int(match[1])


def _new_error(group: ErrorGroup, count: int, *, reopened: bool) -> NewError:
    kind = _type(group)
    where = f" in {short_name(group.place.function)}" if group.place is not None else ""
    return NewError(
        number=group.id,
        kind=group.kind,
        service=group.places[0][0] if group.places else "",
        name=f"{kind}{where} (error {group.id})",
        text=_text(group),
        reopened=reopened,
        count=count,
        since_us=group.last_us if reopened else group.first_us,
        last_us=group.last_us,
        muted_until_us=group.muted_until_us or 0,
    )


def _text(error: ErrorGroup | ErrorBatch) -> str:
    """Return an error as "ValueError in cogs/ask.py:42 in Ask.ask", without a place with its masked message."""
    if error.place is not None:
        return f"{_type(error)} in {frame_text(error.place)}"
    message = masked(error.message)[:TEXT]
    return ": ".join(filter(None, (_type(error), message)))


def _type(error: ErrorGroup | ErrorBatch) -> str:
    """Return the name of the type without its module; a report without an exception has none of its own."""
    return "Error" if error.type == "unhandled" else error.type.rpartition(".")[2]
