"""The marks on exceptions that were counted: each failure is counted once, wherever its exception is seen again.

The first call that sees an exception leaves a mark on it, with the traceback that it had. A later call with the same
exception is the same failure: it was logged, raised on, or ended another operation. It is another failure only if the
exception was raised again: above the marked traceback, a ``raise`` statement with this exception ran that

- is the statement that the marked failure began with (a module-level exception that each call raises), or
- neither is in a frame that the failure had passed before, nor was called from one (which a helper that raises the
  exception again is, and a retry).

An exception that was never raised is another failure in each operation that begins after the mark. An exception that
was raised ``from`` a counted one, which includes discord.py's wrappers, and a group whose members are all counted are
the same failure.
"""

from __future__ import annotations

from dis import opmap
from typing import TYPE_CHECKING, Final

from cogmeter.recording.operation import now_ns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

MAX_DEPTH: Final = 10_000  # entries of a traceback that are read
MAX_MARKS: Final = 100  # exceptions of one chain, with the members of groups, that are marked

_MARK: Final = "cogmeter_counted"
_RAISE: Final = opmap["RAISE_VARARGS"]
_RELAYS: Final = frozenset({"concurrent.futures._base"})  # modules that raise the exception of another thread
# The class's own ``__dict__`` may be a property of the host.
_attributes: Final = BaseException.__dict__["__dict__"].__get__


class _Mark:
    """The note on an exception that it was counted. It refers to the traceback that the exception itself keeps."""

    __slots__ = ("at_ns", "end", "fingerprint", "trace")

    def __init__(self, trace: TracebackType | None, end: TracebackType | None, fingerprint: str | None = None) -> None:
        self.trace = trace
        self.end = end  # the first entry that belongs to an earlier failure of the same exception
        self.fingerprint = fingerprint  # of the group that counted the failure; None until it is known
        self.at_ns = now_ns()

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        return int, ()  # a traceback cannot be pickled, and the host may pickle or copy its exceptions


def first_time(error: BaseException, since_ns: int | None) -> bool:
    """Mark an exception, its causes and members as counted; return whether this failure was not counted before."""
    return not _mark_all(error, since_ns, set())


def note_fingerprint(error: BaseException, fingerprint: str) -> None:
    """Note on the marks of a failure that was not counted before which group counts it."""
    for mark in _marks(error):
        mark.fingerprint = mark.fingerprint or fingerprint


def fingerprint_of_failure(error: BaseException) -> str | None:
    """Return the fingerprint of the group that counted this failure, with this exception or one that it came from."""
    own = _attributes(error).get(_MARK)
    if isinstance(own, _Mark) and own.fingerprint is not None:  # most often
        return own.fingerprint
    return next((mark.fingerprint for mark in _marks(error) if mark.fingerprint is not None), None)


def _marks(error: BaseException) -> Iterator[_Mark]:
    """Yield the marks of an exception, its causes and members."""
    seen, waiting = set[int](), [error]
    while waiting and len(seen) < MAX_MARKS:
        exception = waiting.pop()
        if id(exception) in seen:
            continue
        seen.add(id(exception))
        mark = _attributes(exception).get(_MARK)
        if isinstance(mark, _Mark):
            yield mark
        if isinstance(exception, BaseExceptionGroup):
            waiting.extend(reversed(exception.exceptions))
        if exception.__cause__ is not None:
            waiting.append(exception.__cause__)


def _mark_all(error: BaseException, since_ns: int | None, seen: set[int]) -> bool:
    """Mark an exception, its causes and members that are not in ``seen``; return whether the failure was counted."""
    counted = False
    exception: BaseException | None = error
    while exception is not None and id(exception) not in seen and len(seen) < MAX_MARKS:
        seen.add(id(exception))
        counted = _mark(exception, since_ns) or counted
        if isinstance(exception, BaseExceptionGroup):
            members = [_mark_all(member, since_ns, seen) for member in exception.exceptions]
            counted = counted or all(members)
        exception = exception.__cause__
    return counted


def entries_of(error: BaseException) -> list[TracebackType]:
    """Return the entries of its traceback, the outermost first, without those of an earlier failure."""
    mark = _attributes(error).get(_MARK)
    return _entries(error.__traceback__, mark.end if isinstance(mark, _Mark) else None)


def _mark(error: BaseException, since_ns: int | None) -> bool:
    """Mark an exception as counted; return whether it was counted before."""
    attributes = _attributes(error)
    mark, trace = attributes.get(_MARK), error.__traceback__
    if not isinstance(mark, _Mark):
        attributes[_MARK] = _Mark(trace, None)
        return False
    if trace is None:
        same = since_ns is None or since_ns <= mark.at_ns
        attributes[_MARK] = _Mark(None, None, mark.fingerprint if same else None)
        return same
    # An exception that was logged before it is raised is the same failure.
    again = None if mark.trace is None or trace is mark.trace else _raised_again(mark, mark.trace, trace)
    attributes[_MARK] = _Mark(trace, mark.end, mark.fingerprint) if again is None else _Mark(trace, again.tb_next)
    return again is None


def _raised_again(mark: _Mark, marked: TracebackType, trace: TracebackType) -> TracebackType | None:
    """Return the entry of a traceback with which another failure began; None if it is the marked one."""
    entries = _entries(trace, marked)
    raises = [index for index, entry in enumerate(entries) if _raises(entry)]
    if not raises:
        return None
    earlier = _entries(marked, mark.end)
    origin = earlier[-1]
    if entries[-1] is origin:  # a future raises with the traceback that its exception had at first
        return None
    passed = {id(entry.tb_frame): index for index, entry in enumerate((*entries, *earlier))}  # the innermost of each
    for index in raises:
        entry = entries[index]
        if entry.tb_lasti == origin.tb_lasti and entry.tb_frame.f_code is origin.tb_frame.f_code:
            return entry
        if all(passed[id(outer.tb_frame)] <= index for outer in entries[: index + 1]):
            return entry
    return None


def _raises(entry: TracebackType) -> bool:
    """Return whether a ``raise`` statement with an exception made this entry of a traceback."""
    code, last = entry.tb_frame.f_code.co_code, entry.tb_lasti
    statement = 0 <= last < len(code) - 1 and code[last] == _RAISE and code[last + 1] > 0
    return statement and entry.tb_frame.f_globals.get("__name__") not in _RELAYS


def _entries(trace: TracebackType | None, end: TracebackType | None = None) -> list[TracebackType]:
    """Return the entries of a traceback before ``end``, the outermost first."""
    entries: list[TracebackType] = []
    while trace is not None and trace is not end and len(entries) < MAX_DEPTH:
        entries.append(trace)
        trace = trace.tb_next
    return entries
