"""Functions that raise in every way that Python has, with the place at which their error is grouped."""

# ruff: noqa: B018, B904, F401, F821, N818, PLC3002, PLE0643, PLW0108, PTH123, SIM115, TRY201, TRY203 - each is a case

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import functools
import gc
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from discord import app_commands
from discord.ext import commands

HERE = "tests/cogmeter/recording/tracebacks.py"


class Case(NamedTuple):
    """A function that raises, and the expected group of its error."""

    raises: Any
    type: str
    function: str | None  # of the innermost own frame; None: there is none
    file: str = HERE
    links: int = 1


CASES: list[Case] = []


def case(kind: str, function: str | None = "", *, file: str = HERE, links: int = 1):
    """Add the decorated function to the table; by default its own frame is the innermost."""

    def add(raises):
        CASES.append(Case(raises, kind, raises.__qualname__ if function == "" else function, file, links))
        return raises

    return add


class QuotaError(Exception):
    class Nested(Exception):
        pass


class Slotted(Exception):
    __slots__ = ("code",)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Hidden(Exception):
    @property
    def __dict__(self):
        raise RuntimeError("no attributes")


def name_of(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def fail(text="no answer"):
    raise ValueError(text)


def run(source: str, file: str, **names):
    """Run source as the code of a file."""
    exec(compile(source, file, "exec"), {"__name__": "made", **names})


# Plain functions.


@case("ValueError")
def plain():
    raise ValueError("no answer")


@case("ValueError", "fail")
def called():
    fail()


@case("ValueError", "recursive")
def recursion():
    def down(n):
        recursive(n)

    down(900)


def recursive(n):
    if n == 0:
        raise ValueError("the end")
    recursive(n - 1)


@case("RecursionError")
def endless():
    endless()


@case("ValueError", "in_lambda.<locals>.<lambda>")
def in_lambda():
    (lambda: int("x"))()


@case("ValueError", "nested.<locals>.inner.<locals>.innermost")
def nested():
    def inner():
        def innermost():
            raise ValueError

        innermost()

    inner()


@case("ZeroDivisionError", "Cog.method")
def in_method():
    Cog().method()


@case("ZeroDivisionError", "Cog.of_class")
def in_class_method():
    Cog.of_class()


@case("ZeroDivisionError", "Cog.value")
def in_property():
    Cog().value


class Cog:
    def method(self):
        return 1 / 0

    @classmethod
    def of_class(cls):
        return 1 / 0

    @property
    def value(self):
        return 1 / 0


@case("AttributeError")
def no_attribute():
    None.play()


@case("NameError")
def no_name():
    unknown_name


@case("UnboundLocalError")
def unbound():
    value += 1
    return value


@case("AssertionError")
def assertion():
    value = 5
    if value != 6:
        raise AssertionError


@case("KeyError")
def key():
    {}[175928847299117063]


@case("IndexError")
def index():
    [][3]


@case("UnicodeDecodeError")
def undecodable():
    b"\xff".decode()


@case("FileNotFoundError")
def no_file():
    open("/nowhere/at/all")


@case("ModuleNotFoundError")
def no_module():
    import not_there_at_all


@case("StopIteration")
def exhausted():
    next(iter(()))


@case("NotImplementedError")
def raised_class():
    raise NotImplementedError


# Classes of exceptions.


@case(name_of(QuotaError))
def own_class():
    raise QuotaError(5)


@case(name_of(QuotaError.Nested))
def nested_class():
    raise QuotaError.Nested


@case(name_of(Slotted))
def slotted():
    raise Slotted("x")


@case(name_of(Mute))
def failing_text():
    raise Mute


@case(name_of(Hidden))
def hidden_attributes():
    raise Hidden("x")


@case("SyntaxError")
def syntax():
    compile("a b", "<string>", "exec")


@case("IndentationError")
def indentation():
    exec("if 1:\nx")


@case("re.error")
def bad_pattern():
    re.compile("(")


# Chains and groups.


@case("KeyError", links=2)
def raised_from():
    try:
        fail()
    except ValueError as error:
        raise KeyError(5) from error


@case("KeyError", links=2)
def in_context():
    try:
        fail()
    except ValueError:
        raise KeyError(5)


@case("KeyError", links=1)
def suppressed():
    try:
        fail()
    except ValueError:
        raise KeyError(5) from None


@case("ValueError", "fail", links=1)
def raised_again():
    try:
        fail()
    except ValueError as error:
        raise error


@case("KeyError", links=2)
def in_finally():
    try:
        fail()
    finally:
        raise KeyError(5)


@case("KeyError", "circle", links=2)
def circle():
    first, second = ValueError(1), KeyError(2)
    first.__cause__ = second
    raise second from first


@case("ExceptionGroup", links=3)
def group():
    raise ExceptionGroup("both", [ValueError(1), KeyError(2)])


@case("ExceptionGroup", links=4)
def nested_group():
    raise ExceptionGroup("both", [ExceptionGroup("inner", [ValueError(1)]), KeyError(2)])


@case("ExceptionGroup", links=2)
def rest_of_group():
    try:
        raise ExceptionGroup("both", [ValueError(1), KeyError(2)])
    except* KeyError:
        pass


@case("ExceptionGroup", "task_group.<locals>.main", links=2)
def task_group():
    async def main():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())

    asyncio.run(main())


# discord.py's wrappers.


def wrapped(make):
    try:
        fail()
    except ValueError as error:
        raise make(error) from error


@case("ValueError", "fail")
def slash_command():
    async def play(interaction: Any) -> None:
        pass

    command = app_commands.Command(name="play", description="x", callback=play)
    wrapped(lambda error: app_commands.CommandInvokeError(command, error))


@case("ValueError", "fail")
def prefix_command():
    wrapped(commands.CommandInvokeError)


@case("ValueError", "fail")
def converter():
    wrapped(lambda error: commands.ConversionError(commands.MemberConverter(), error))


@case("ValueError", "fail")
def hybrid_command():
    wrapped(lambda error: commands.HybridCommandError(app_commands.CheckFailure() if error is None else error))


@case("ValueError", "fail")
def extension():
    wrapped(lambda error: commands.ExtensionFailed("cogs.music", error))


# Coroutines, generators, threads.


async def answer():
    await asyncio.sleep(0)
    raise ValueError("no answer")


@case("ValueError", "answer")
def coroutine():
    asyncio.run(answer())


@case("ValueError", "answer")
def gathered():
    async def main():
        await asyncio.gather(answer(), asyncio.sleep(0))

    asyncio.run(main())


@case("ValueError", "answer")
def awaited_task():
    async def main():
        await asyncio.create_task(answer())

    asyncio.run(main())


@case("TimeoutError", "timed_out.<locals>.main", links=2)
def timed_out():
    async def main():
        async with asyncio.timeout(0):
            await asyncio.sleep(9)

    asyncio.run(main())


async def numbers():
    yield 1
    raise ValueError("no more")


@case("ValueError", "numbers")
def async_generator():
    async def main():
        async for _ in numbers():
            pass

    asyncio.run(main())


@case("ValueError", "numbers")
def async_comprehension():
    async def main():
        return [number async for number in numbers()]

    asyncio.run(main())


def letters():
    yield "a"
    raise ValueError("no more")


@case("ValueError", "letters")
def generator():
    list(letters())


@case("ValueError", "letters")
def thrown_into():
    steps = letters()
    next(steps)
    steps.throw(ValueError("stop"))


@case("RuntimeError", "leaking.<locals>.steps" if sys.version_info >= (3, 12) else "leaking", links=2)
def leaking():
    def steps():
        yield next(iter(()))

    list(steps())


@case("ValueError", "fail")
def thread():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fail).result()


@case("ValueError", "fail")
def to_thread():
    asyncio.run(asyncio.to_thread(fail))


@case("json.decoder.JSONDecodeError", None)
def no_own_frame():
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(json.loads, "{").exception()
    error.__cause__ = None
    return error


@case("ValueError", "Dying.__del__")
def finalizer():
    caught = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda report: caught.append(report.exc_value)
    try:
        Dying()
        gc.collect()
    finally:
        sys.unraisablehook = hook
    return caught[0]


class Dying:
    def __del__(self):
        raise ValueError("too late")


# C frames.


@case("TypeError")
def sorted_by_c():
    sorted([1, "a"])


@case("ValueError", "sorted_by_key.<locals>.<lambda>")
def sorted_by_key():
    sorted(["x"], key=lambda text: int(text))


@case("ValueError")
def mapped():
    list(map(int, ["x"]))


@case("ValueError", "fail")
def mapped_own():
    list(map(fail, ["x"]))


@case("json.decoder.JSONDecodeError")
def json_text():
    json.loads("{")


@case("TypeError")
def json_value():
    json.dumps({"a": object()})


@case("ValueError", "fail")
def json_hook():
    json.loads("{}", object_hook=lambda _: fail())


@case("ValueError", "fail")
def partial():
    functools.partial(fail, "x")()


@case("ValueError", "cached")
def in_cache():
    cached(1)


@functools.cache
def cached(number):
    raise ValueError(number)


# Decorators and context managers.


def noisy(function):
    @functools.wraps(function)
    def wrapper(*args):
        if args:
            raise ValueError("refused")
        return function()

    return wrapper


@noisy
def decorated():
    raise KeyError("x")


@case("KeyError", "decorated")
def in_decorated():
    decorated()


@case("ValueError", "noisy.<locals>.wrapper")
def in_decorator():
    decorated(5)


@contextlib.contextmanager
def manager():
    yield
    raise ValueError("on exit")


@case("ValueError", "manager")
def context_manager():
    with manager():
        pass


@case("ValueError", "fail")
def exit_stack():
    with contextlib.ExitStack() as stack:
        stack.callback(fail)


# Generated code.


@dataclasses.dataclass
class Song:
    title: str

    def __post_init__(self):
        raise ValueError(self.title)


@case("TypeError")
def dataclass_arguments():
    Song()


@case("ValueError", "Song.__post_init__")
def dataclass_check():
    Song("x")


@case("ValueError")
def enumeration():
    enum.Enum("Color", "red blue")("green")


@case("ZeroDivisionError")
def evaluated():
    eval("1/0")


@case("ZeroDivisionError", "run")
def executed():
    run("def f():\n    return 1/0\nf()", "<eval of a command>")


@case("ValueError", "fail")
def executed_own():
    run("f()", "<string>", f=fail)


@case("ZeroDivisionError", "cell", file="<notebook>")
def notebook():
    run("def cell():\n    return 1/0\ncell()", "<ipython-input-5-0a1b2c3d4e5f>")


@case("ZeroDivisionError", "cell", file="<notebook>")
def kernel():
    run("def cell():\n    return 1/0\ncell()", "/tmp/ipykernel_4711/1234567890.py")


@case("ZeroDivisionError", "play", file="cogs/music.py")
def windows():
    run("def play():\n    return 1/0\nplay()", r"C:\Users\me\bot\cogs\music.py")


@case("ZeroDivisionError", "run")
def windows_package():
    run("def play():\n    return 1/0\nplay()", r"C:\Users\me\venv\Lib\site-packages\wavelink\player.py")


@case("ZeroDivisionError", "run")
def windows_python():
    run("def play():\n    return 1/0\nplay()", r"C:\Python311\Lib\json\decoder.py")


@case("ZeroDivisionError", "run")
def compiled_package():
    run("def fetch():\n    return 1/0\nfetch()", "asyncpg/protocol/protocol.pyx")


@case("ZeroDivisionError", "run")
def frozen_module():
    run("def fetch():\n    return 1/0\nfetch()", "<frozen importlib._bootstrap>")


@case("ZeroDivisionError", "play", file="cogs/music.py")
def frozen_program():
    run("def play():\n    return 1/0\nplay()", r"cogs\music.py")


@case("ZeroDivisionError", "play", file="bot/music.py")
def elsewhere():
    run("def play():\n    return 1/0\nplay()", "/srv/of/another/bot/music.py")
