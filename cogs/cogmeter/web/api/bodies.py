"""JSON bodies: read from requests, and written to responses in short slices that do not block the event loop."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import from_json, to_json

from cogmeter.recording.background import paced
from cogmeter.web.api.params import validated
from cogmeter.web.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

BODY_BYTES: Final = 64 * 1024
MEMBERS: Final = 200  # members of all objects and lists in a body; each invalid one has its own error
BODY_S: Final = 10.0  # time limit for a body to arrive
LONG: Final = 64  # entries of a list or mapping of models; longer ones are written entry by entry
VALUES: Final = 256  # of a list of numbers or times; longer ones are written in slices of this size

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """Base of the body models; values are not converted, unknown members are refused. Names stay, as in ``Schema``."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )


class Nothing(Body):
    """An empty body, or none."""


async def read_body(model: type[M], request: web.Request) -> M:
    """Build the model from the request's JSON body; a missing body counts as an empty object if nothing is required.

    Raises:
        Problem: 400 for broken text or JSON, 408 for a body that does not arrive, 413 for a large one, 415 for another
            media type or compression, 422 for invalid values.
    """
    required = any(info.is_required() for info in model.model_fields.values())
    if (request.body_exists or required) and request.content_type != "application/json":
        raise Problem.of(415, "Send the body as Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem.of(415, "Send the body without Content-Encoding")
    data = await read_bytes(request)
    try:
        value = from_json(data.decode() or ("" if required else "{}"))
    except UnicodeDecodeError:
        raise Problem.of(400, "The body is not valid UTF-8") from None
    except ValueError as error:
        raise Problem.of(400, f"The body is not valid JSON: {error}") from None
    if _count_members(value) > MEMBERS:
        raise Problem.of(422, f"The body has too many members. At most {MEMBERS} are allowed", parameter="body")
    return validated(model, json.dumps(_with_integers(value)).encode())


def _count_members(value: object) -> int:
    """Count the members and elements of a JSON value at all levels, up to one more than MEMBERS."""
    count, waiting = 0, [value]
    while waiting and count <= MEMBERS:
        part = waiting.pop()
        if isinstance(part, dict | list):
            count += len(part)
            waiting += islice(part.values() if isinstance(part, dict) else part, MEMBERS)
    return count


def _with_integers(value: object) -> object:
    """Return the JSON value with 2.0 as 2, because JSON Schema accepts both as an integer."""
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def read_bytes(request: web.Request) -> bytes:
    """Return the whole body.

    Raises:
        Problem: 408 when it does not arrive in time, 413 when it is too large.
    """
    if (request.content_length or 0) > BODY_BYTES:
        raise Problem.of(413, f"The body has {request.content_length} bytes. At most {BODY_BYTES} are allowed")
    try:
        return await asyncio.wait_for(request.read(), BODY_S)  # beyond client_max_size it raises 413 itself
    except TimeoutError:
        raise Problem.of(408, f"The body did not arrive within {BODY_S:g} s", headers={"Connection": "close"}) from None


async def json_body(model: BaseModel) -> bytes:
    """Return the model as JSON, its members by their aliases and in the model's order.

    Long lists and mappings of models are emptied: freeing thousands of entries at once would block the loop as well.
    """
    fields = type(model).model_fields
    if not any(_is_long(getattr(model, name)) for name in fields):
        return _json(model)
    members = []
    for name, info in fields.items():
        value = b"".join([piece async for piece in _member(model, name)])
        members.append(to_json(info.serialization_alias or name) + b":" + value)
    return b"{" + b",".join(members) + b"}"


async def _member(model: BaseModel, name: str) -> AsyncIterator[bytes]:
    value = getattr(model, name)
    if not _is_long(value):
        yield _single(model, {name})
    elif isinstance(value, dict):
        separator = b"{"
        async for key in paced(list(value)):
            yield separator + to_json(key) + b":" + _json(value.pop(key))
            separator = b","
        yield b"}"
    elif isinstance(value[0], BaseModel):
        separator = b"["
        value.reverse()
        async for _ in paced(range(len(value))):
            yield separator + _json(value.pop())
            separator = b","
        yield b"]"
    else:
        separator = b"["
        async for start in paced(range(0, len(value), VALUES)):
            indexes = set(range(start, min(start + VALUES, len(value))))
            yield separator + _single(model, {name: indexes})[1:-1]
            separator = b","
        yield b"]"


def _single(model: BaseModel, include: Any) -> bytes:
    """Return one member's value: only the serialiser of the whole model knows its type. It writes {"alias":value}."""
    return model.__pydantic_serializer__.to_json(model, by_alias=True, include=include).partition(b":")[2][:-1]


def _is_long(value: Any) -> bool:
    if isinstance(value, dict):
        return len(value) > LONG and isinstance(next(iter(value.values())), BaseModel)
    if isinstance(value, list) and value:
        return len(value) > (LONG if isinstance(value[0], BaseModel) else VALUES)
    return False


def _json(model: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(model, by_alias=True)
