"""Counts the live objects that are reachable from named owners, in pieces that end after some hundred references.

``gc.get_objects`` returns a million objects in one call of 30 ms. A walk along references can stop at any place, and it
knows from which owner it came. It runs no code of the host: no ``len()``, comparison, hash or attribute of its classes.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import re
from collections import Counter, defaultdict, deque
from itertools import chain, islice
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.watch.names import fitted, qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PIECE: Final = 400  # references between two yields, about 0.1 ms
WHOLE: Final = 20_000  # items of a container that are all visited; of a larger one, a sample
SAMPLE: Final = 4_000  # items of a larger container that are visited
OBJECTS: Final = 40  # other objects whose references are read at once; most have fewer than ten
LEAST: Final = 100  # objects, items or bytes of an owner that are counted
MOST_TASKS: Final = 4_000  # a call of ``all_tasks`` copies them all at once, a thousand in 0.3 ms
LARGE_TEXT: Final = 1_024  # bytes or characters from which a text counts

TASKS: Final = "asyncio tasks"
ITEMS: Final = "items"  # in all containers of an owner, at any depth
OWN_ITEMS: Final = "own items"  # in the container that the owner itself is
TEXT_BYTES: Final = "bytes"  # in large texts and byte strings

_ATOM, _OBJECT, _SIZED, _TEXT, _TASK, _DEFINITION = range(6)
_ID: Final = re.compile(r"\d{15,}")  # also within a name, such as guild_123456789012345678
_HAVE_GC: Final = 1 << 14  # the flag of types whose objects have references
_PAGE: Final = 14  # bits of an address within a page: 1,024 places of 16 bytes, at which objects begin


def shown_name(name: str) -> str:
    """Return a name without Discord ids, printable and at most 100 characters long."""
    return fitted(_ID.sub("(id)", name))


class _Kind(NamedTuple):
    """How objects of a type are visited. ``type`` keeps it alive: it is looked up by its id."""

    type: type
    name: str
    mode: int
    size: Callable[[Any], int] = lambda _: 0
    sample: Callable[[Any, int], Iterable[Any]] = lambda _, __: ()


class Visited:
    """A set of addresses that takes a sixteenth of the memory that they are in."""

    def __init__(self) -> None:
        self.pages: defaultdict[int, bytearray] = defaultdict(functools.partial(bytearray, 1_024))

    def add(self, value: object) -> None:
        """Add an object."""
        self.pages[id(value) >> _PAGE][(id(value) >> 4) & 1_023] = 1

    def __contains__(self, value: object) -> bool:
        return bool(self.pages[id(value) >> _PAGE][(id(value) >> 4) & 1_023])


class HeapWalk:
    """One walk: ``counts`` by (owner, name of a type or one of the constants above), added as each owner is finished.

    An object counts once, for the first owner that reaches it. Types and modules end the walk unless ``definitions``
    is true. The number of objects in containers with more than WHOLE items is estimated from a sample of the items.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.containers: dict[str, str] = {}  # type of the container that an owner itself is
        self.objects = 0  # visited
        self.definitions = False
        self.tasks: defaultdict[str, list[asyncio.Task[Any]]] = defaultdict(list)  # by coroutine, not walked yet
        self._visited = Visited()
        self._kinds: dict[int, _Kind] = {}  # by the id of a type
        self._modes: dict[int, int] = {}

    def skip(self, *values: object) -> None:
        """Treat these objects as visited: another owner has them."""
        for value in values:
            self._visited.add(value)

    def visited(self, value: object) -> bool:
        """Return whether another owner has this object."""
        return value in self._visited

    def walk(self, owner: str, values: Iterable[object]) -> Iterator[None]:
        """Count all that is reachable from these values and was not visited. Yield after each piece."""
        roots = list(values)
        found: Counter[str] = Counter()
        own_type = self._note_own_size(roots, found)
        samples: list[tuple[list[Any], float]] = [(roots, 1.0)]  # with the number of objects that each one represents
        while samples:
            references, factor = samples.pop()
            waiting = _Waiting(samples, factor)
            while references:
                for start in range(0, len(references), PIECE):
                    self._visit(references[start : start + PIECE], waiting)
                    yield
                references = waiting.next_references()
            for kind, count in waiting.counts.items():
                self.objects += count
                found[self._kinds[kind].name] += round(count * factor)
            found[ITEMS] += round(waiting.items * factor)
            found[TEXT_BYTES] += round(waiting.text_bytes * factor)
        counted = {name: count for name, count in found.items() if count >= LEAST or name in RESOURCES}
        if counted:
            label = shown_name(owner)
            self.counts.update({(label, name): count for name, count in counted.items()})
            if own_type:
                self.containers[label] = own_type
                self.counts[label, OWN_ITEMS] = found[OWN_ITEMS]

    def take_tasks(self) -> list[tuple[str, list[asyncio.Task[Any]]]]:
        """Return the tasks that were visited since the last call, by coroutine."""
        tasks, self.tasks = self.tasks, defaultdict(list)
        return list(tasks.items())

    def _note_own_size(self, roots: list[object], found: Counter[str]) -> str:
        """Count the items of the container that an owner itself is. Return its type; empty if it is none."""
        if len(roots) != 1 or roots[0] in self._visited:
            return ""
        kind = self._learn(type(roots[0]))
        if kind.mode != _SIZED or kind.type is tuple:
            return ""
        found[OWN_ITEMS] = kind.size(roots[0])
        return "cache" if kind.type is _CACHE else kind.name

    def _visit(self, references: list[Any], waiting: _Waiting) -> None:
        """Count the references that are new, and put them into ``waiting``."""
        modes, pages, counts = self._modes, self._visited.pages, waiting.counts
        for value in references:
            number = id(type(value))
            mode = modes.get(number)
            if not mode:
                if mode is None:
                    mode = self._learn(type(value)).mode
                if not mode:
                    continue
            if mode == _TEXT and len(value) < LARGE_TEXT:
                continue
            address = id(value)
            page, place = pages[address >> _PAGE], (address >> 4) & 1_023
            if page[place]:
                continue
            page[place] = 1
            if mode == _TEXT:
                waiting.text_bytes += len(value)
                continue
            counts[number] += 1
            if mode == _OBJECT:
                waiting.objects.append(value)
            else:
                self._enter(value, self._kinds[number], waiting)

    def _enter(self, value: Any, kind: _Kind, waiting: _Waiting) -> None:
        if kind.mode == _SIZED:
            waiting.add_container(value, kind)
        elif kind.mode == _TASK:
            self._note_task(value)
        elif self.definitions:
            waiting.objects.append(value)

    def _note_task(self, task: asyncio.Task[Any]) -> None:
        name = qualified(task.get_coro())
        self.counts[shown_name(name), TASKS] += 1
        self.tasks[name].append(task)

    def _learn(self, kind: type) -> _Kind:
        known = self._kinds.get(id(kind))
        if known is None:
            known = self._kinds[id(kind)] = _kind_of(kind)
            self._modes[id(kind)] = known.mode
        return known


class _Waiting:
    """Objects whose references are not visited yet, and the counts of one owner or sample.

    It has no tuples or other containers for each object: the garbage collector would count them, and run.
    """

    def __init__(self, samples: list[tuple[list[Any], float]], factor: float) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)  # by the id of a type
        self.items = 0
        self.text_bytes = 0
        self.objects: list[Any] = []
        self._containers: list[Any] = []
        self._sizes: list[int] = []  # of the containers
        self._samples = samples
        self._factor = factor

    def add_container(self, value: Any, kind: _Kind) -> None:
        """Add a container, or a sample of a large one to ``samples``."""
        size = kind.size(value)
        if kind.type is not tuple:
            self.items += size
        if size <= WHOLE:
            self._containers.append(value)
            self._sizes.append(size)
            return
        try:
            items = list(kind.sample(value, size))
        except RuntimeError:  # a finalizer that ran now has changed it
            return
        self._samples.append((items, self._factor * size / SAMPLE))

    def next_references(self) -> list[Any]:
        """Remove some objects. Return their references, about PIECE, or those of one container."""
        if self.objects:
            batch = self.objects[-OBJECTS:]
            del self.objects[-OBJECTS:]
            return gc.get_referents(*batch)
        batch, total = [], 0
        while self._containers and (not batch or total + self._sizes[-1] <= PIECE):
            batch.append(self._containers.pop())
            total += self._sizes.pop() + 1
        return gc.get_referents(*batch) if batch else []


def _list_sample(value: Any, size: int) -> Iterable[Any]:
    return list.__getitem__(value, slice(None, None, max(size // SAMPLE, 1)))[:SAMPLE]


def _dict_sample(value: Any, size: int) -> Iterable[Any]:
    del size
    half = SAMPLE // 2  # of the oldest and of the newest
    keys, values = dict.keys(value), dict.values(value)
    return chain(*(islice(items, half) for items in (keys, reversed(keys), values, reversed(values))))


def _set_sample(value: Any, size: int) -> Iterable[Any]:
    del size
    if issubclass(type(value), set):  # not isinstance(), which reads the object's own __class__
        return islice(set.__iter__(value), SAMPLE)
    return islice(frozenset.__iter__(value), SAMPLE)


def _deque_sample(value: Any, size: int) -> Iterable[Any]:
    del size
    return chain(islice(deque.__iter__(value), SAMPLE // 2), islice(deque.__reversed__(value), SAMPLE // 2))


def _no_sample(value: Any, size: int) -> Iterable[Any]:
    del value, size
    return ()


_CACHE: Final[Any] = type(functools.lru_cache(lambda: None))
_SIZED_TYPES: Final[tuple[tuple[Any, Callable[[Any], int], Callable[[Any, int], Iterable[Any]]], ...]] = (
    (list, list.__len__, _list_sample),
    (dict, dict.__len__, _dict_sample),
    (tuple, tuple.__len__, lambda value, size: tuple.__getitem__(value, slice(None, None, size // SAMPLE))[:SAMPLE]),
    (set, set.__len__, _set_sample),
    (frozenset, frozenset.__len__, _set_sample),
    (deque, deque.__len__, _deque_sample),
    (_CACHE, lambda cache: cache.cache_info().currsize, _no_sample),
)


def _kind_of(kind: type) -> _Kind:
    bases = type.__dict__["__mro__"].__get__(kind)
    name = _type_name(kind)
    if any(kind is text for text in (str, bytes, bytearray)):  # a comparison would run code of a metaclass
        return _Kind(kind, name, _TEXT)
    if not type.__dict__["__flags__"].__get__(kind) & _HAVE_GC:
        return _Kind(kind, name, _ATOM)
    if kind is asyncio.Task:
        return _Kind(kind, name, _TASK)
    if any(base is type or base is ModuleType for base in bases):
        return _Kind(kind, name, _DEFINITION)
    for sized, size, sample in _SIZED_TYPES:
        if any(base is sized for base in bases):
            return _Kind(kind, name, _SIZED, size, sample)
    return _Kind(kind, name, _OBJECT)


_NAMES: Final = {  # what a person counts
    "asyncio.selector_events._SelectorSocketTransport": "open connections",
    "asyncio.proactor_events._ProactorSocketTransport": "open connections",
    "uvloop.loop.TCPTransport": "open connections",
    "aiohttp.client.ClientSession": "aiohttp sessions",
    "discord.message.Message": "messages",
    "discord.member.Member": "members",
    "discord.user.User": "users",
    "discord.guild.Guild": "guilds",
    "threading.Thread": "threads",
    "socket.socket": "sockets",
    "_io.FileIO": "open files",
}
RESOURCES: Final = frozenset({TASKS, "open connections", "aiohttp sessions", "threads", "sockets", "open files"})


def _type_name(kind: type) -> str:
    """Return "module.QualName"; without the module for built-in types."""
    try:
        module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    except Exception:  # noqa: BLE001 - a metaclass of the host may fail in any way
        return "(nameless)"
    full = name if module in {"builtins", "collections"} else f"{module}.{name}"
    return _NAMES.get(full) or shown_name(str(full))
