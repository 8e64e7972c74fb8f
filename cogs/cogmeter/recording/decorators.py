"""The decorators of ``track()`` for functions, coroutines, generators and async generators: each call is recorded."""

from __future__ import annotations

import functools
import inspect
from contextlib import aclosing
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cogmeter.recording.operation import now_ns
from cogmeter.recording.tracing import inherited

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from cogmeter.recording.operation import Operation, Sink

P = ParamSpec("P")
R = TypeVar("R")


def decorated(function: Callable[..., Any], sink: Sink, series: int, tracker: Callable[[], Operation]) -> Any:
    """Return a wrapper that records each call; a generator is one operation from start to end."""
    if inspect.isasyncgenfunction(function):
        return _async_generator(function, tracker)
    if inspect.isgeneratorfunction(function):
        return _generator(function, tracker)
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, sink, series, tracker)
    return _plain(function, sink, series, tracker)


def wrapper_codes() -> frozenset[CodeType]:
    """Return the code objects of all wrappers, to recognise their frames; ``start`` and the closure name the call."""
    makers = (_plain, _coroutine, _generator, _async_generator)
    return frozenset(code for maker in makers for code in maker.__code__.co_consts if isinstance(code, CodeType))


def _plain(function: Callable[P, R], sink: Sink, series: int, tracker: Callable[[], Operation]) -> Callable[P, R]:
    buffer = sink.buffer
    rows, extend, now, finish, scope = buffer.rows, buffer.rows.extend, now_ns, sink.finish, inherited

    @functools.wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        if scope() is not None:
            with tracker():
                return function(*args, **kwargs)
        start = now()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            finish(series, now(), start, None, error)
            raise
        end = now()
        if len(rows) < buffer.limit:
            extend((series, end, end - start, 0, None))
        else:
            buffer.drop()
        return result

    return timed


def _coroutine(
    function: Callable[P, Any], sink: Sink, series: int, tracker: Callable[[], Operation]
) -> Callable[P, Any]:
    buffer = sink.buffer
    rows, extend, now, finish, scope = buffer.rows, buffer.rows.extend, now_ns, sink.finish, inherited

    @functools.wraps(function)
    async def timed(*args: P.args, **kwargs: P.kwargs) -> Any:
        if scope() is not None:
            with tracker():
                return await function(*args, **kwargs)
        start = now()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            finish(series, now(), start, None, error)
            raise
        end = now()
        if len(rows) < buffer.limit:
            extend((series, end, end - start, 0, None))
        else:
            buffer.drop()
        return result

    return timed


def _generator(
    function: Callable[P, Generator[Any, Any, Any]], tracker: Callable[[], Operation]
) -> Callable[P, Generator[Any, Any, Any]]:
    @functools.wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        with tracker():
            return (yield from function(*args, **kwargs))

    return timed


def _async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], tracker: Callable[[], Operation]
) -> Callable[P, AsyncGenerator[Any, Any]]:
    @functools.wraps(function)
    async def timed(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        with tracker():
            async with aclosing(function(*args, **kwargs)) as inner:
                step = inner.asend(None)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - the consumer throws it into the inner generator
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)

    return timed
