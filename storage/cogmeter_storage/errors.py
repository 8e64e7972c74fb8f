"""The stored records of errors (groups, counts, examples with their stacks) and the ErrorStore protocol.

Names contain their unit. ``*_us`` is microseconds since 1970-01-01 UTC; a day is the number of UTC days since then.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cogmeter_storage.model import BatchId

MAX_FRAMES: Final = 30  # of one exception
MAX_EXAMPLES: Final = 5  # of one group
MAX_PEOPLE: Final = 1_000  # distinct users, and guilds, of one group: more are not counted
MAX_PLACES: Final = 20  # services and operations in the record of one group


def headline(kind: str, message: str) -> str:
    """Return an error on one line: its type, and its message if it has one."""
    return f"{kind}: {message}" if message else kind


class ErrorKind(enum.StrEnum):
    """The way in which an error was noticed; the values are stored and shown."""

    FAILED = "failed"  # it ended an operation
    LOGGED = "logged"  # it was logged at level ERROR or higher
    UNHANDLED = "unhandled"  # it ended a task, callback or thread whose result nobody awaits


class Frame(NamedTuple):
    """One line of a stack."""

    file: str  # relative to the working directory, or "package/module.py" of an installed package; "/" as separator
    function: str  # the qualified name
    line: int
    own: bool  # code of the host: not site-packages, not the standard library, not frozen


@dataclass(frozen=True, slots=True)
class ErrorLink:
    """One exception of a chain."""

    type: str  # "module.QualName"; builtins without module
    message: str  # redacted, without ids, at most 500 characters
    frames: tuple[Frame, ...]  # outermost first; of more than MAX_FRAMES the outermost 10 and the innermost 20


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """One error with its stack."""

    at_us: int
    service: str
    operation: str
    user: str | None  # a keyed hash
    version: str | None  # of the host
    chain: tuple[ErrorLink, ...]  # the error, its cause, the cause of that; of an exception group also its members


@dataclass(frozen=True, slots=True)
class ErrorBatch:
    """The errors of one group between two flushes."""

    fingerprint: str  # 16 hexadecimal digits; with the kind, it identifies the group
    kind: ErrorKind
    type: str  # type, message and place of the newest
    message: str
    place: Frame | None  # the innermost own frame; of a log record without an exception: its call
    first_us: int
    last_us: int
    counts: Mapping[tuple[str, str, int], int]  # (service, operation, day) -> errors; exact
    users: frozenset[str]  # keyed hashes, as in the metadata of operations
    guilds: frozenset[str]
    version: str | None  # of the host
    examples: tuple[ErrorExample, ...]  # newest last, at most MAX_EXAMPLES


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """The errors of one fingerprint and kind, and what people decided about them."""

    id: int  # never reused
    fingerprint: str
    kind: ErrorKind
    type: str  # type, message and place of the newest
    message: str
    place: Frame | None
    count: int  # in the requested range of days and services
    total: int  # since first_us
    first_us: int
    last_us: int
    first_version: str | None
    last_version: str | None
    users: int  # distinct since first_us; MAX_PEOPLE means at least so many
    guilds: int
    resolved_us: int | None  # None: open
    resolved_by: str  # the display name of the last person who resolved it, also after it was reopened
    reopened_us: int | None  # the last time it came back after it had been resolved
    muted_until_us: int | None
    places: tuple[tuple[str, str, int], ...]  # (service, operation, count) of ``count``, the most frequent first
    days: tuple[tuple[int, int], ...]  # (day, count) of ``count``, in order; days without errors are left out

    def is_muted(self, now_us: int) -> bool:
        """Return whether no alert is sent for it now."""
        return self.muted_until_us is not None and self.muted_until_us > now_us


class ErrorChange(NamedTuple):
    """A group that began, or that came back after it had been resolved."""

    group: ErrorGroup
    reopened: bool


class UnknownErrorGroupError(LookupError):
    """There is no error group of this number: it never existed, or a clean-up removed it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"There is no error {number}. List the errors to see their numbers.")
        self.number = number


class ErrorStore(Protocol):
    """The stored errors: ``store.errors``. Every method may raise StorageError, as in Store.

    A group is removed when its last error is older than the retention, and so are the counts and examples of days
    before it. ``total``, users and guilds cover all errors since the first.
    """

    async def add(self, batches: Sequence[ErrorBatch], *, batch: BatchId | None = None) -> list[ErrorChange]:
        """Store all batches in one transaction; return the groups that are new or reopened, in order.

        Batches of one group are added up. An error after the resolution of its group reopens it: ``resolved_us``
        becomes None, and ``reopened_us`` the time of the error. Of each group the newest five examples stay. A
        cancelled call has stored everything or nothing. With the id ``batch`` they are stored once, as in Store.append;
        the changes are not known any more if they had been stored before.

        Raises ValueError for a batch without errors, with a count below 1, or with ``first_us`` after ``last_us``;
        nothing is stored then.
        """
        ...

    async def groups(
        self,
        since_us: int,
        until_us: int,
        *,
        services: Collection[str] | None = None,
        operation: str | None = None,
        kinds: Collection[ErrorKind] | None = None,
        resolved: bool | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[ErrorGroup]:
        """Return the groups with errors in [since_us, until_us), widened to whole days; last seen first.

        ``services``, ``operation`` and ``kinds`` (None: all) and ``resolved`` (None: both) filter. ``count``,
        ``places`` and ``days`` cover the range, the services and the operation.
        """
        ...

    async def group(self, number: int) -> tuple[ErrorGroup, list[ErrorExample]] | None:
        """Return one group with all of its stored days, and its examples, newest first; None if it does not exist."""
        ...

    async def resolve(self, number: int, *, actor: str, now_us: int) -> ErrorGroup:
        """Resolve a group, with an audit entry in the same transaction; return it as in ``group``.

        A resolved group stays as it is, without another audit entry.

        Raises UnknownErrorGroupError when it does not exist.
        """
        ...

    async def mute(self, number: int, *, until_us: int | None, actor: str, now_us: int) -> ErrorGroup:
        """Mute a group until then (None: end its mute), with an audit entry in the same transaction; return it.

        A muted group is counted, but no alert is sent for it. A mute that is set or has ended already has no
        further audit entry.

        Raises UnknownErrorGroupError when it does not exist.
        """
        ...
