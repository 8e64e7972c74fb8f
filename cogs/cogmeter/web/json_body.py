"""Writes answers as JSON in short pieces, so that a long one does not block the bot's event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic_core import to_json

from cogmeter.background import paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG: Final = 64  # entries of a list or mapping of models; longer ones are written entry by entry


async def json_body(answer: BaseModel) -> bytes:
    """Return the answer as JSON, its members by their aliases and in the model's order."""
    fields = type(answer).model_fields
    if not any(_is_long(getattr(answer, name)) for name in fields):
        return _json(answer)
    members = []
    for name, info in fields.items():
        value = getattr(answer, name)
        if _is_long(value):
            written = b"".join([piece async for piece in _entries(value)])
        else:
            # The serialiser of the whole model knows the field's type; what it writes is {"alias":value}.
            alone = answer.__pydantic_serializer__.to_json(answer, by_alias=True, include={name})
            written = alone.partition(b":")[2][:-1]
        members.append(to_json(info.serialization_alias or name) + b":" + written)
    return b"{" + b",".join(members) + b"}"


async def _entries(values: dict[str, BaseModel] | list[BaseModel]) -> AsyncIterator[bytes]:
    before = b""
    if isinstance(values, dict):
        yield b"{"
        async for name, entry in paced(values.items()):
            yield before + to_json(name) + b":" + _json(entry)
            before = b","
        yield b"}"
        return
    yield b"["
    async for entry in paced(values):
        yield before + _json(entry)
        before = b","
    yield b"]"


def _is_long(value: Any) -> bool:
    if not isinstance(value, dict | list) or len(value) <= LONG:
        return False
    first = next(iter(value.values() if isinstance(value, dict) else value))
    return isinstance(first, BaseModel)


def _json(model: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(model, by_alias=True)
