"""The owners of a bot's objects: attributes of cogs, globals of modules, discord.py's caches, tasks."""

from __future__ import annotations

import asyncio
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.frames import HOST, owner_of
from cogmeter.watch.client import bot_of
from cogmeter.watch.memory.heap import MOST_TASKS
from cogmeter.watch.surface import own_module

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    import discord

    from cogmeter.watch.memory.heap import HeapWalk

MOST_NAMES: Final = 2_000  # attributes of one object
LOOP: Final = "event loop"
TASK_PREFIX: Final = "task "  # and the name of a coroutine
_STEP: Final = 100  # modules between two yields
_CACHES: Final = {
    "_messages": "discord.py's message cache",
    "_users": "discord.py's user cache",
    "_guilds": "discord.py's guild and member cache",
    "_view_store": "discord.py's views",
}
_STATE: Final = "discord.py's connection state"
_PRIMITIVE: Final = (str, int, float, complex, bytes, bool, type(None))


def walk_all(bot: discord.Client, heap: HeapWalk, *, known_tasks: int) -> Generator[None, None, None]:
    """Walk from every owner: the host's own first, so that objects that libraries share with it count for the host."""
    modules = [module for module in list(sys.modules.values()) if type(module) is ModuleType]
    state, loop = bot._connection, asyncio.get_running_loop()  # noqa: SLF001 - see gateway.py
    host_bot = bot_of(bot)
    all_cogs = [] if host_bot is None else list(host_bot.cogs.values())
    cogs = [cog for cog in all_cogs if not own_module(type(cog))]
    heap.skip(bot, vars(bot), state, vars(state), loop, asyncio.current_task(), heap, vars(heap))
    for cog in all_cogs:
        heap.skip(cog, vars(cog))
    for number, module in enumerate(modules):
        heap.skip(module, vars(module))
        if not number % _STEP:
            yield
    for cog in cogs:
        yield from _walk_attributes(heap, _class_name(type(cog)), cog)
    host: list[ModuleType] = []
    libraries: list[ModuleType] = []
    for number, module in enumerate(modules):
        (host if _is_host(module) else libraries).append(module)
        if not number % _STEP:
            yield
    for module in reversed(host):  # a module that is imported by others comes after them, and is the better name
        yield from _walk_module(heap, module)
    yield from _walk_attributes(heap, "bot", bot)
    for name, value in _attributes(state):
        yield from heap.walk(_CACHES.get(name, _STATE), [value])
    if known_tasks <= MOST_TASKS:
        yield from heap.walk(LOOP, asyncio.all_tasks())
    yield from _walk_rest(heap, loop, libraries)


def _walk_rest(heap: HeapWalk, loop: asyncio.AbstractEventLoop, libraries: list[ModuleType]) -> Iterator[None]:
    yield from heap.walk(LOOP, [vars(loop) if hasattr(loop, "__dict__") else loop])
    yield from _walk_tasks(heap)
    heap.definitions = True
    for module in libraries:
        yield from heap.walk(module.__name__, list(vars(module).values()))
        yield from _walk_tasks(heap)


def _walk_tasks(heap: HeapWalk) -> Iterator[None]:
    """Walk what the local variables of tasks have, with further tasks that these have, by coroutine."""
    while tasks := heap.take_tasks():
        for name, of_coroutine in tasks:
            for task in of_coroutine:
                yield from heap.walk(f"{TASK_PREFIX}{name}", [task.get_coro()])


def _walk_module(heap: HeapWalk, module: ModuleType) -> Iterator[None]:
    """Walk the globals of a module of the host, and the attributes of its classes."""
    name = module.__name__
    for attribute, value in _attributes(module):
        kind = type(value)
        if issubclass(kind, type):
            if _module_of(value) == name:
                yield from _walk_class(heap, f"{_prefix(name)}{attribute}", value)
        elif issubclass(kind, ModuleType) or (kind is FunctionType and value.__module__ != name):
            continue
        elif _is_host_object(value):
            yield from _walk_attributes(heap, f"{_prefix(name)}{attribute}", value)
        else:
            yield from heap.walk(f"{_prefix(name)}{attribute}", [value])


def _walk_class(heap: HeapWalk, label: str, kind: type) -> Iterator[None]:
    for attribute, value in _attributes(kind):
        yield from heap.walk(f"{label}.{attribute}", [value])


def _walk_attributes(heap: HeapWalk, label: str, owner: object, *, depth: int = 2) -> Iterator[None]:
    """Walk each attribute of an object; of an attribute that is an object of the host's classes, its attributes."""
    for name, value in _attributes(owner):
        attribute = f"{label}.{name.partition('__')[2] if name.startswith('_') and '__' in name else name}"
        if heap.visited(value):
            continue
        if depth > 1 and _is_host_object(value):
            yield from _walk_attributes(heap, attribute, value, depth=depth - 1)
        else:
            yield from heap.walk(attribute, [value])
    yield from heap.walk(label, [owner])  # slots, and what is left


def _attributes(owner: Any) -> list[tuple[str, Any]]:
    """Return the attributes in an object's own dictionary that can have objects, without those of the language."""
    return [
        (name, value)
        for name, value in list(_dictionary_of(owner).items())[:MOST_NAMES]
        if type(name) is str
        and not (name.startswith("__") and name.endswith("__"))
        and not any(type(value) is primitive for primitive in _PRIMITIVE)
    ]


def _is_host_object(value: object) -> bool:
    """Return whether a value is an object, with a dictionary, of a class in a module of the host."""
    kind = type(value)
    module = sys.modules.get(_module_of(kind))
    dictionary = type.__getattribute__(kind, "__dictoffset__")
    return type(module) is ModuleType and _is_host(module) and bool(dictionary)


def _dictionary_of(owner: Any) -> Mapping[str, Any]:
    """Return an object's attributes; a class may define ``__getattribute__``, which is not called."""
    is_type = issubclass(type(owner), type)
    read: Callable[[Any, str], Mapping[str, Any]] = type.__getattribute__ if is_type else object.__getattribute__
    return read(owner, "__dict__")


def _module_of(kind: type) -> str:
    return str(type.__getattribute__(kind, "__module__"))


def _is_host(module: ModuleType) -> bool:
    file = vars(module).get("__file__")
    return module.__name__ == "__main__" or (isinstance(file, str) and owner_of(file) == HOST)


def _class_name(kind: type) -> str:
    return f"{_prefix(kind.__module__)}{kind.__qualname__}"


def _prefix(module: str) -> str:
    return "" if module == "__main__" else f"{module}."
