"""The errors of the host with their place, grouped and counted once, on their way to the store.

Capturing takes the code objects and lines of a traceback, and the message: no locals, no source, not the exception.
Paths, redaction and fingerprints follow in ``take``, on the flusher. Any thread may capture. Nothing here raises into
the host or grows without bound.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.buffer import lock
from cogmeter.recording.error_batches import (
    MAX_TEXT,
    NO_PEOPLE,
    Call,
    Group,
    Key,
    Line,
    Link,
    Where,
    batch_of,
    fingerprint_of,
    masked,
    merge,
)
from cogmeter.recording.error_marks import entries_of, fingerprint_of_failure, first_time, note_fingerprint
from cogmeter.recording.frames import place_of
from cogmeter.recording.message_texts import without_message
from cogmeter_storage.clock import clock
from cogmeter_storage.errors import MAX_FRAMES, ErrorBatch, ErrorKind
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextvars import Context
    from types import CodeType, FrameType, TracebackType

MAX_LINKS: Final = 10  # exceptions of one chain, with the members of groups
OUTERMOST: Final = 10  # of the MAX_FRAMES frames of a long stack
STACKS_PER_MINUTE: Final = 10  # of one group; further errors are only counted
MAX_GROUPS: Final = 500  # that wait to be stored
MAX_STACKS: Final = 1_000  # that wait to be stored
TAKEN: Final = 20  # groups that one ``take`` returns
TAKEN_LINES: Final = 2_000  # lines of their stacks: more would block the loop for milliseconds
MAX_SITES: Final = 1_000  # log calls that are remembered
MAX_KEYS: Final = 10  # templates of one log call
MAX_CALLS: Final = 30  # frames of logging and of handlers between a log call and ``logged``

Site = tuple["CodeType | Call", dict[tuple[str, str], Key]]  # the code of a log call; its keys by level and template


class ErrorRecorder:
    """The errors that wait to be stored."""

    def __init__(self) -> None:
        self.version: str | None = None  # of the host
        self.enabled = True  # False: nothing is captured
        self.dropped = 0  # errors that are not counted: too many groups wait, or capturing failed
        self.unwrap: Callable[[BaseException], BaseException] = _itself  # of discord.py's wrappers, while it is watched
        self._groups: dict[Key, Group] = {}
        self._returned: dict[tuple[str, ErrorKind], ErrorBatch] = {}
        self._stacks = 0  # in ``_groups``
        self._sites: dict[tuple[str, int, str], Site] = {}  # log calls, by file, line and function
        self._newest: dict[Key, tuple[int, int, str]] = {}  # the minute of the newest stack, how many, its message
        # With the line, because a key has the number of its code: no other code gets that number while this one exists.
        self._fingerprints: dict[Key, tuple[Line | None, str]] = {}

    def __len__(self) -> int:
        return len(self._groups) + len(self._returned)

    def failed(
        self,
        error: BaseException,
        service: str,
        operation: str,
        *,
        affected: Mapping[str, str] = NO_PEOPLE,
        since_ns: int | None = None,
    ) -> str | None:
        """Count an exception that ended an operation with the outcome ``error`` or ``upstream``.

        Return the fingerprint of its group, also if it was counted already; None if nothing is captured.

        Args:
            error: the exception that decided the outcome, unwrapped.
            service: the operation's service.
            operation: its name.
            affected: the hashes of its "user" and "guild".
            since_ns: its start, by time.perf_counter_ns.
        """
        self._count(ErrorKind.FAILED, error, Where(service, operation, affected, since_ns))
        try:
            return fingerprint_of_failure(self.unwrap(error)) if self.enabled else None
        except Exception:  # noqa: BLE001 - see ``_count``, which has counted the fault
            return None

    def logged(
        self,
        record: logging.LogRecord,
        service: str,
        operation: str,
        *,
        affected: Mapping[str, str] = NO_PEOPLE,
        since_ns: int | None = None,
    ) -> bool:
        """Count a log record, or the exception that it logs or that is being handled; False if counted already."""
        try:
            where = Where(service, operation, affected, since_ns)
            error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            if error is None:
                handled = sys.exc_info()[1]
                error = handled if isinstance(handled, Exception) else None  # a cancellation explains nothing
            if error is not None:
                return self._count(ErrorKind.LOGGED, error, where)
            self._log_record(record, where)
        except Exception:  # noqa: BLE001 - the record's contents are the host's objects
            self._drop()
        return True

    def unhandled(
        self,
        error: BaseException | None,
        message: str,
        service: str,
        operation: str,
        *,
        code: CodeType | None = None,
        context: Context | None = None,
    ) -> bool:
        """Count an exception that ended a task, callback or thread, or a report of one; False if counted already.

        ``code`` is the host's code that a report without an exception is about, ``context`` that in which it ran.
        """
        where = Where(service, operation)
        if error is not None:
            return self._count(ErrorKind.UNHANDLED, error, where, context)
        try:
            text = str(message)[:MAX_TEXT]
            line = None if code is None else (code, code.co_firstlineno)
            key = Key(ErrorKind.UNHANDLED, "unhandled", 0 if code is None else id(code), masked(text))
            self._add(key, line, where, lambda: (Link("unhandled", text, () if line is None else (line,)),))
        except Exception:  # noqa: BLE001 - see ``logged``
            self._drop()
        return True

    def take(self, most: int = TAKEN) -> list[ErrorBatch]:
        """Remove and return at most this many groups; those that were put back come first."""
        with lock:
            batches = dict(list(self._returned.items())[:most])
            for identity in batches:
                del self._returned[identity]
            taken = self._pop(most)
        for key, group in taken:
            try:
                batch = batch_of(key, group, self.version)
            except Exception:  # noqa: BLE001 - one group must not keep the others from the store
                self._drop(group.counts.total())
            else:
                merge(batches, batch)
        return list(batches.values())

    def _pop(self, most: int) -> list[tuple[Key, Group]]:
        taken: list[tuple[Key, Group]] = []
        lines = 0
        for key in list(self._groups)[:most]:
            if lines > TAKEN_LINES:
                break
            group = self._groups.pop(key)
            taken.append((key, group))
            self._stacks -= len(group.stacks)
            lines += sum(len(link.lines) for stack in group.stacks for link in stack.links)
        return taken

    def put_back(self, batches: Sequence[ErrorBatch]) -> None:
        """Keep groups that could not be stored for the next ``take``; beyond MAX_GROUPS they are dropped."""
        with lock:
            for batch in batches:
                known = (batch.fingerprint, batch.kind) in self._returned
                if known or len(self._returned) < MAX_GROUPS:
                    merge(self._returned, batch)
                else:
                    self._drop(sum(batch.counts.values()))

    def disable(self) -> None:
        """Capture nothing from now on."""
        self.enabled = False
        self._empty()

    def forked(self) -> None:
        """Start empty in the child of a fork: the parent stores what waits."""
        self._empty()
        self.dropped = 0

    def _empty(self) -> None:
        self._groups, self._returned, self._newest, self._fingerprints, self._stacks = {}, {}, {}, {}, 0

    def _drop(self, errors: int = 1) -> None:
        with lock:
            self.dropped += errors

    # Capture.

    def _count(self, kind: ErrorKind, error: BaseException, where: Where, context: Context | None = None) -> bool:
        """Count an exception unless it was counted; return whether it was not."""
        try:
            if not self.enabled:
                return True
            cause = self.unwrap(error)
            first = first_time(cause, where.since_ns)
            if cause is not error:
                first_time(error, where.since_ns)  # marks the wrapper
            if not first:
                return False
            entries = entries_of(cause)
            line = _innermost_own(entries)
            key = (
                Key(kind, type(cause), id(line[0]), "")
                if line
                else Key(kind, type(cause), 0, masked(_text(cause, context)))
            )
            for exception in (cause, error):
                note_fingerprint(exception, self._fingerprint(key, line))
            self._add(key, line, where, lambda: _links(cause, entries, context))
        except Exception:  # noqa: BLE001 - the exception's class is the host's code
            self._drop()
        return True

    def _fingerprint(self, key: Key, line: Line | None) -> str:
        """Return the fingerprint of a key's group; computing it takes as long as capturing a short stack."""
        known = self._fingerprints.get(key)
        if known is None:
            if len(self._fingerprints) >= MAX_GROUPS:
                self._fingerprints.clear()
            known = self._fingerprints[key] = line, fingerprint_of(key, line)
        return known[1]

    def _log_record(self, record: logging.LogRecord, where: Where) -> None:
        if not self.enabled:
            return
        code, keys = self._site(record)
        arguments, text = record.args, str(record.msg)
        # A literal identifies the call. A text that was built before the call may differ each time.
        literal = text[:MAX_TEXT] if arguments or text in getattr(code, "co_consts", ()) else ""
        name = "logging.CRITICAL" if record.levelno >= logging.CRITICAL else "logging.ERROR"
        key = keys.get((name, literal))
        if key is None:
            number = hash(code) if isinstance(code, Call) else id(code)
            key = keys[name, literal] = Key(ErrorKind.LOGGED, name, number, masked(literal))
        line = code, record.lineno
        self._add(
            key, line, where, lambda: (Link(name, without_message(_filled(text, arguments))[:MAX_TEXT], (line,)),)
        )

    def _site(self, record: logging.LogRecord) -> Site:
        """Return the code that logged this record with its keys; finding them takes as long as the rest."""
        place = record.pathname, record.lineno, record.funcName
        site = self._sites.get(place)
        if site is None or len(site[1]) > MAX_KEYS:
            if len(self._sites) >= MAX_SITES:
                self._sites.clear()
            site = self._sites[place] = _code_of_call(record), {}
        return site

    def _add(self, key: Key, line: Line | None, where: Where, capture: Callable[[], tuple[Link, ...]]) -> None:
        """Count an error; capture its stack unless there are enough of its group."""
        at_us = clock.now_us()
        minute = at_us // MINUTE_US
        last, count, message = self._newest.get(key, (0, 0, ""))
        count = count + 1 if last == minute else 1
        links = capture() if count <= STACKS_PER_MINUTE and self._stacks < MAX_STACKS else None
        with lock:
            group = self._groups.get(key)
            if group is None:
                if len(self._groups) >= MAX_GROUPS:
                    self.dropped += 1
                    return
                group = self._groups[key] = Group(at_us, message)
            before = len(group.stacks)
            group.add(at_us, line, where, links)
            if links is not None:
                self._stacks += len(group.stacks) - before
                if len(self._newest) >= MAX_GROUPS:
                    self._newest.clear()
                self._newest[key] = minute, count, group.message


def _itself(error: BaseException) -> BaseException:
    return error


def _innermost_own(entries: list[TracebackType]) -> Line | None:
    for entry in reversed(entries):
        code = entry.tb_frame.f_code
        if place_of(code.co_filename)[1]:
            return code, entry.tb_lineno
    return None


def _links(error: BaseException, entries: list[TracebackType], context: Context | None) -> tuple[Link, ...]:
    """Return the error, its causes, and the members of exception groups."""
    links = [Link(type(error), _text(error, context), _lines(entries))]
    seen, waiting = {id(error)}, deque(_related(error))
    while waiting and len(links) < MAX_LINKS:
        related = waiting.popleft()
        if id(related) not in seen:
            seen.add(id(related))
            links.append(Link(type(related), _text(related, context), _lines(entries_of(related))))
            waiting.extend(_related(related))
    return tuple(links)


def _related(error: BaseException) -> Iterator[BaseException]:
    """Yield the cause of an exception, or the one that was being handled, and the members of a group."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield cause
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions[:MAX_LINKS]


def _lines(entries: list[TracebackType]) -> tuple[Line, ...]:
    if len(entries) > MAX_FRAMES:
        entries = entries[:OUTERMOST] + entries[OUTERMOST - MAX_FRAMES :]
    return tuple([(entry.tb_frame.f_code, entry.tb_lineno) for entry in entries])


def _text(error: BaseException, context: Context | None = None) -> str:
    try:
        return without_message(str(error), context)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - an exception's __str__ is the host's code
        return "(no text: its __str__ failed)"


def _filled(template: str, arguments: Any) -> str:
    """Return a log record's text with its numbers and exceptions; other values may be texts of messages."""
    if not arguments:
        return template
    try:
        if isinstance(arguments, dict):
            return template % {name: _shown(value) for name, value in arguments.items()}
        return template % tuple(map(_shown, arguments))
    except Exception:  # noqa: BLE001 - not enough values, or a text in the place of a number
        return template


def _shown(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    return f"{type(value).__name__}: {_text(value)}" if isinstance(value, BaseException) else "…"


def _code_of_call(record: logging.LogRecord) -> CodeType | Call:
    """Return the code that logged this record; only its file and name are known if a handler runs in another thread."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - as logging does it
    name, path, depth = record.funcName, record.pathname, 0
    while frame is not None and depth < MAX_CALLS:
        code = frame.f_code
        if code.co_name == name and code.co_filename == path:
            return code
        frame, depth = frame.f_back, depth + 1
    return Call(path, str(name))
