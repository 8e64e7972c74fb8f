"""Writes answers as JSON in short pieces, so that a long one does not block the bot's event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic_core import to_json

from cogmeter.recording.background import paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG: Final = 64  # entries of a list or mapping of models; longer ones are written entry by entry
VALUES: Final = 256  # of a list of numbers or times; longer ones are written in pieces of so many


async def json_body(answer: BaseModel) -> bytes:
    """Return the answer as JSON, its members by their aliases and in the model's order.

    Long lists and mappings of models are emptied: to free thousands of entries at once would block the loop as well.
    """
    fields = type(answer).model_fields
    if not any(_is_long(getattr(answer, name)) for name in fields):
        return _json(answer)
    members = []
    for name, info in fields.items():
        written = b"".join([piece async for piece in _member(answer, name)])
        members.append(to_json(info.serialization_alias or name) + b":" + written)
    return b"{" + b",".join(members) + b"}"


async def _member(answer: BaseModel, name: str) -> AsyncIterator[bytes]:
    value = getattr(answer, name)
    if not _is_long(value):
        yield _alone(answer, {name})
    elif isinstance(value, dict):
        before = b"{"
        async for key in paced(list(value)):
            yield before + to_json(key) + b":" + _json(value.pop(key))
            before = b","
        yield b"}"
    elif isinstance(value[0], BaseModel):
        before = b"["
        value.reverse()
        async for _ in paced(range(len(value))):
            yield before + _json(value.pop())
            before = b","
        yield b"]"
    else:
        before = b"["
        async for start in paced(range(0, len(value), VALUES)):
            some = set(range(start, min(start + VALUES, len(value))))
            yield before + _alone(answer, {name: some})[1:-1]
            before = b","
        yield b"]"


def _alone(answer: BaseModel, include: Any) -> bytes:
    """One member's value: the serialiser of the whole model knows its type, and writes {"alias":value}."""
    return answer.__pydantic_serializer__.to_json(answer, by_alias=True, include=include).partition(b":")[2][:-1]


def _is_long(value: Any) -> bool:
    if isinstance(value, dict):
        return len(value) > LONG and isinstance(next(iter(value.values())), BaseModel)
    if isinstance(value, list) and value:
        return len(value) > (LONG if isinstance(value[0], BaseModel) else VALUES)
    return False


def _json(model: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(model, by_alias=True)
