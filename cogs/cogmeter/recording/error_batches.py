"""Converts captured errors to the store's batches: types, frames, texts without secrets and ids, fingerprints."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.recording.frames import place_of
from cogmeter.recording.operation import MAX_ERROR
from cogmeter.redaction import redact, without_ids, without_queries
from cogmeter_storage.errors import MAX_EXAMPLES, MAX_PEOPLE, ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

MAX_TEXT: Final = 4 * MAX_ERROR  # characters of a captured text; it is cut again when its secrets are removed
MAX_FILE: Final = 300  # characters
MAX_FUNCTION: Final = 200
NO_PEOPLE: Final[Mapping[str, str]] = {}

_MASKS: Final = (
    (re.compile(r"(?<!\w)'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"), "(quoted)"),
    (re.compile(r"\w+://\S+|[\w.+-]+@[\w-]+\.[\w.-]+|\b0x[0-9a-fA-F]+"), "(address)"),
    (re.compile(r"\b(?=[\da-fA-F-]*\d)(?=[\d-]*[a-fA-F])[\da-fA-F][\da-fA-F-]{7,}\b"), "(id)"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "(number)"),
)


class Call(NamedTuple):
    """The place of a call whose code object is not known; its attributes are named as those of a code object."""

    co_filename: str
    co_qualname: str


Line = tuple["CodeType | Call", int]


class Where(NamedTuple):
    """The operation that an error belongs to."""

    service: str
    operation: str
    affected: Mapping[str, str] = NO_PEOPLE  # hashes of its "user" and "guild"
    since_ns: int | None = None  # its start, by time.perf_counter_ns


class Link(NamedTuple):
    """One captured exception of a chain, or a log record."""

    type: type[BaseException] | str
    message: str
    lines: tuple[Line, ...]


class Stack(NamedTuple):
    """One captured error."""

    at_us: int
    where: Where
    links: tuple[Link, ...]


class Key(NamedTuple):
    """The identity of a group before its fingerprint is known; two keys may have the same fingerprint."""

    kind: ErrorKind
    type: type[BaseException] | str
    code: int  # identifies the innermost own code; 0 if there is none
    text: str  # the masked message if there is no own code, or the template of a log record


class Group:
    """The errors of one key since the last ``take``."""

    __slots__ = ("counts", "first_us", "guilds", "last_us", "line", "message", "stacks", "users")

    def __init__(self, at_us: int, message: str) -> None:
        self.first_us = self.last_us = at_us
        self.message = message  # of the newest stack, which may be older than the group
        self.line: Line | None = None  # the innermost own one of the newest error
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.users: set[str] = set()
        self.guilds: set[str] = set()
        self.stacks: deque[Stack] = deque(maxlen=MAX_EXAMPLES)

    def add(self, at_us: int, line: Line | None, where: Where, links: tuple[Link, ...] | None) -> None:
        """Count an error, with its stack if it has been captured."""
        self.counts[where.service, where.operation, at_us // DAY_US] += 1
        self.last_us = max(self.last_us, at_us)  # the clock may be set back
        self.line = line or self.line
        if where.affected:
            _add_person(self.users, where.affected.get("user"))
            _add_person(self.guilds, where.affected.get("guild"))
        if links is not None:
            self.message = links[0].message
            self.stacks.append(Stack(at_us, where, links))


def batch_of(key: Key, group: Group, version: str | None) -> ErrorBatch:
    """Return the errors of a group as the store keeps them."""
    name, place = type_name(key.type), None if group.line is None else _frame(group.line)
    return ErrorBatch(
        fingerprint=fingerprint_of(key, group.line),
        kind=key.kind,
        type=name,
        message=_stored(group.message),
        place=place,
        first_us=group.first_us,
        last_us=group.last_us,
        counts=dict(group.counts),
        users=frozenset(group.users),
        guilds=frozenset(group.guilds),
        version=version,
        examples=tuple(_example(stack, version) for stack in group.stacks),
    )


def fingerprint_of(key: Key, line: Line | None) -> str:
    """Return the fingerprint of the errors of a key, whose innermost own line is this one."""
    return fingerprint(type_name(key.type), None if line is None else _frame(line), key.text)


def merge(batches: dict[tuple[str, ErrorKind], ErrorBatch], batch: ErrorBatch) -> None:
    """Add a batch to the one of the same group."""
    identity = batch.fingerprint, batch.kind
    known = batches.get(identity)
    if known is None:
        batches[identity] = batch
        return
    older, newer = (known, batch) if known.last_us <= batch.last_us else (batch, known)
    examples = sorted((*older.examples, *newer.examples), key=lambda example: example.at_us)
    batches[identity] = dataclasses.replace(
        newer,
        first_us=min(older.first_us, newer.first_us),
        counts=Counter(older.counts) + Counter(newer.counts),
        users=_people(older.users, newer.users),
        guilds=_people(older.guilds, newer.guilds),
        examples=tuple(examples[-MAX_EXAMPLES:]),
    )


@functools.lru_cache(maxsize=1_024)
def masked(message: str) -> str:
    """Return a message without the parts that differ from error to error: numbers, ids, quoted parts, addresses."""
    for pattern, mark in _MASKS:
        message = pattern.sub(mark, message)
    return message


def fingerprint(kind: str, place: Frame | None, text: str) -> str:
    """Return the identity of a group: its type with the innermost own function, or with the masked message."""
    parts = [kind, text] if place is None else [kind, place.file, place.function, text]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def type_name(kind: type[BaseException] | str) -> str:
    """Return ``module.QualName`` of an exception's class, without the module of builtins."""
    if isinstance(kind, str):
        return kind
    module, name = str(kind.__module__), str(kind.__qualname__)
    return _stored(name if module == "builtins" else f"{module}.{name}")


def _example(stack: Stack, version: str | None) -> ErrorExample:
    where = stack.where
    user = where.affected.get("user")
    chain = tuple(
        ErrorLink(type_name(link.type), _stored(link.message), tuple(map(_frame, link.lines))) for link in stack.links
    )
    return ErrorExample(
        stack.at_us, where.service, where.operation, user if isinstance(user, str) else None, version, chain
    )


def _frame(line: Line) -> Frame:
    code, number = line
    return _cached_frame(code.co_filename, code.co_qualname, number)


@functools.lru_cache(maxsize=8_192)
def _cached_frame(file: str, function: str, number: int) -> Frame:
    path, own = place_of(file)
    return Frame(_stored(path)[-MAX_FILE:], _stored(function)[:MAX_FUNCTION], number, own)


def _stored(text: str) -> str:
    """Return at most 500 characters of a text, without secrets, ids, queries of URLs, and what no database stores."""
    shortened = without_ids(without_queries(redact(text[:MAX_TEXT])))[:MAX_ERROR]
    return shortened.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _add_person(people: set[str], person: object) -> None:
    if isinstance(person, str) and len(people) < MAX_PEOPLE:
        people.add(person)


def _people(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    return first if len(first) >= MAX_PEOPLE else first | second
