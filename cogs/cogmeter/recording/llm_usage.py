"""Adds the model and the tokens of responses and streams of language models to the current operation.

A response that is read twice, by the HTTP watch and by ``usage``, is counted once.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.recording.annotation import targets
from cogmeter.recording.usage_reader import UsageReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from cogmeter.recording.tracing import AnnotationTarget
    from cogmeter.recording.usage_reader import LlmUsage

T = TypeVar("T")

MORE: Final = "more_usage"  # in metadata: the usage of further models of the same operation
MOST_MODELS: Final = 5  # of one operation
MOST_IDS: Final = 1_000  # responses that are remembered, so that none is counted twice
SUMMED: Final = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens", "cost_usd")


def usage(response: T) -> T:
    """Add the model and the tokens of a response to the current operation (see ``annotate``), and return the response.

    A stream is returned in a wrapper that passes on the same items, and counts when it ends, is closed or fails.
    Several responses in one operation are added up. What is not the response of a language model is returned as it is.
    Never raises.
    """
    try:
        if _is_stream(response):
            return _UsageStream(response, tuple(targets()))  # type: ignore[return-value]  # behaves like the stream
        reader = UsageReader()
        reader.feed(response)
        add_usage(targets(), reader.result())
    except Exception:  # noqa: BLE001, S110 - recording never raises; the response is the host's object
        pass
    return response


def add_usage(operations: Iterator[AnnotationTarget] | Sequence[AnnotationTarget], found: LlmUsage | None) -> bool:
    """Add usage to the first of these operations that has not ended; return False if nothing was added."""
    if found is None or not is_first(found):
        return False
    return any(target.add_metadata(_joined(target.known_metadata(), found.metadata())) for target in operations)


def is_first(found: LlmUsage) -> bool:
    """Return whether the usage of this response was not counted before; from now on it was."""
    return not found.id or _counted.first(found.id)


def _joined(before: Mapping[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata to store: sums for the same model, a further entry for another one."""
    if not any(name in before for name in ("tokens_in", "tokens_out")):
        return added
    if before.get("model") == added.get("model"):
        return {
            **added,
            **{name: before.get(name, 0) + added.get(name, 0) for name in SUMMED if name in before or name in added},
        }
    further = [dict(one) for one in before.get(MORE, ())]
    same = next((one for one in further if one.get("model") == added.get("model")), None)
    if same is not None:
        same.update(_joined(same, added))
    elif len(further) < MOST_MODELS:
        further.append(added)
    return {MORE: further}


class _CountedIds:
    """The ids of responses that were counted: one may be read by the HTTP watch and by ``usage``."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def first(self, number: str) -> bool:
        """Remember an id; return False if it was remembered already."""
        with self._lock:
            if number in self._ids:
                return False
            self._ids[number] = None
            if len(self._ids) > MOST_IDS:
                self._ids.popitem(last=False)
            return True


_counted: Final = _CountedIds()


def _is_stream(response: Any) -> bool:
    """Return whether this is an iterator of parts, or an object of a client that iterates over them."""
    if isinstance(response, Mapping | str | bytes | list | tuple | type):
        return False
    kind = type(response)
    if hasattr(kind, "__anext__") or hasattr(kind, "__next__"):
        return True
    # A pydantic model iterates over its fields; a stream is not one.
    return hasattr(kind, "__aiter__") or (hasattr(kind, "__iter__") and not hasattr(kind, "model_fields"))


class _UsageStream:
    """A stream that passes on the items of another one unchanged, and counts its usage once, when it ends."""

    def __init__(self, stream: Any, operations: tuple[AnnotationTarget, ...]) -> None:
        self._stream = stream
        self._operations = operations
        self._reader = UsageReader()
        self._iterator: Any = None
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._stream)
        try:
            item = next(self._iterator)
        except StopIteration:
            self._end()
            raise
        except BaseException:
            self._end(cut=True)
            raise
        self._feed(item)
        return item

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._iterator is None:
            self._iterator = aiter(self._stream)
        try:
            item = await anext(self._iterator)
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException:
            self._end(cut=True)
            raise
        self._feed(item)
        return item

    def __enter__(self) -> Any:
        self._enter(self._stream.__enter__())
        return self

    def __exit__(self, *error: object) -> Any:
        self._end(cut=True)
        return self._stream.__exit__(*error)

    async def __aenter__(self) -> Any:
        self._enter(await self._stream.__aenter__())
        return self

    async def __aexit__(self, *error: object) -> Any:
        self._end(cut=True)
        return await self._stream.__aexit__(*error)

    def close(self) -> Any:
        """Close the stream; its result is that of the stream, which may be awaited."""
        self._end(cut=True)
        return self._stream.close()

    async def aclose(self) -> None:
        """Close an async generator."""
        self._end(cut=True)
        await self._stream.aclose()

    def __del__(self) -> None:
        self._end(cut=True)

    def _enter(self, entered: Any) -> None:
        if entered is not self._stream and entered is not None:
            self._iterator = aiter(entered) if hasattr(type(entered), "__aiter__") else iter(entered)

    def _feed(self, item: Any) -> None:
        with contextlib.suppress(Exception):  # the item is the host's object
            self._reader.feed(item)

    def _end(self, *, cut: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(Exception):
            add_usage(self._operations, self._reader.result(cut=cut))
