"""Reads parameters and bodies into their models, exactly as the models' JSON Schema says, or names what is wrong."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from cogmeter.redaction import shown
from cogmeter.web.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp import web
    from pydantic_core import ErrorDetails

BODY_BYTES: Final = 64 * 1024
MEMBERS: Final = 200  # of all objects and lists in a body together: no route takes more, and each has its own error
BODY_S: Final = 10.0  # for a body to arrive
SHOWN: Final = 60  # characters of a wrong value
OWN_WORDS: Final = frozenset({"between"})  # types of faults whose message is the whole sentence: those between fields

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")

M = TypeVar("M", bound=BaseModel)


class QueryParams(BaseModel):
    """The base of what a route is asked: one field for each query or path parameter, none beside them.

    Values are read strictly: an ``int`` takes digits, a ``bool`` takes true or false, a sequence takes values with
    commas between them, and times are those of ``answers.times``.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )


class Body(BaseModel):
    """The base of a JSON body; no value is converted, no unknown member taken."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as its model's schema says it."""

    name: str
    field: str
    schema: Mapping[str, Any]  # without the null of an optional one, which nobody can write into an address
    required: bool
    description: str


def parameters(model: type[BaseModel]) -> list[Parameter]:
    """The parameters of a model, in the order of its fields."""
    made = model.model_json_schema(mode="validation")
    defs = made.get("$defs", {})
    required = made.get("required", ())
    fields = {info.alias or name: name for name, info in model.model_fields.items()}
    found = []
    for name, schema in made.get("properties", {}).items():
        plain = _plain(schema, defs)
        description = str(plain.pop("description", ""))
        found.append(Parameter(name, fields[name], plain, name in required, description))
    return found


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with its references and its only alternative to null written out."""
    plain = {key: value for key, value in schema.items() if key != "title" and value is not None}
    if "$ref" in plain:
        plain = {**_plain(defs[plain.pop("$ref").rpartition("/")[2]], defs), **plain}
    choices = [_plain(one, defs) for one in plain.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) == 1:
        del plain["anyOf"]
        plain = {**choices[0], **plain}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], defs)
    return plain


def read_parameters(model: type[M], known: list[Parameter], path: Mapping[str, str], query: str) -> M:
    """The model filled from the path's names and from the query, which is as it was sent.

    Raises:
        Problem: 422; a parameter is unknown, stands there twice, is missing, or cannot be.
    """
    by_name = {one.name: one for one in known}
    values: dict[str, object] = {
        name: _scalar(by_name[name].schema.get("type"), text) for name, text in path.items() if name in by_name
    }
    given = set()
    for name, sent in _pairs(query):
        if name not in by_name or name in path:
            allowed = ", ".join(one for one in by_name if one not in path) or "none"
            raise Problem.of(422, f"{_shown(name)} is no parameter here; there are: {allowed}", parameter=name)
        if name in given:
            raise Problem.of(422, f"{name} is given more than once; give it once", parameter=name)
        given.add(name)
        values[name] = _value(by_name[name], sent)
    return validated(model, json.dumps(values).encode())


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """The names of a query, and their values as they were sent."""
    for part in query.split("&"):
        name, _, sent = part.partition("=")
        if part:
            yield _unquoted(name, "the query"), sent


def _unquoted(sent: str, where: str) -> str:
    try:
        return unquote_plus(sent, errors="strict")
    except UnicodeDecodeError:
        raise Problem.of(422, f"{where} is no UTF-8", parameter=where) from None


def _value(parameter: Parameter, sent: str) -> object:
    """The text of an address as the JSON value that its schema wants; left alone where it cannot be one."""
    kind = parameter.schema.get("type")
    if kind != "array":
        return _scalar(kind, _unquoted(sent, parameter.name))
    item = parameter.schema.get("items", {}).get("type")
    return [_scalar(item, part) for part in _parts(sent, parameter.name)]


def _parts(sent: str, name: str) -> list[str]:
    """The values with commas between them; a value's own comma is written as %2C.

    Many clients write every comma so: where there is no plain one, those stand between values, too.
    """
    if "," in sent:
        return [_unquoted(part, name) for part in sent.split(",")]
    whole = _unquoted(sent, name)
    parts = whole.split(",") if whole else []
    return parts if all(parts) else [whole]


def _scalar(kind: object, text: str) -> object:
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


async def read_body(model: type[M], request: web.Request) -> M:
    """The model filled from the request's JSON body; an absent body is an empty object where nothing is required.

    Raises:
        Problem: 400 for broken text or JSON, 408 when it does not arrive, 413 when it is too large, 415 when it is
            no JSON or compressed, 422 when it says what cannot be.
    """
    sent = request.body_exists
    required = any(info.is_required() for info in model.model_fields.values())
    if (sent or required) and request.content_type != "application/json":
        raise Problem.of(415, "Send the body as Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem.of(415, "Send the body without Content-Encoding")
    data = await read_bytes(request)
    try:
        value = from_json(data.decode() or ("" if required else "{}"))
    except UnicodeDecodeError:
        raise Problem.of(400, "The body is no UTF-8") from None
    except ValueError as error:
        raise Problem.of(400, f"The body is no JSON: {error}") from None
    if _members(value) > MEMBERS:
        raise Problem.of(422, f"The body may have {MEMBERS} members in all", parameter="body")
    return validated(model, json.dumps(_whole(value)).encode())


def _members(value: object) -> int:
    """Return how many members and elements a JSON value has at all levels; no more than one beyond MEMBERS counts."""
    found, waiting = 0, [value]
    while waiting and found <= MEMBERS:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found += len(one)
            waiting += islice(one.values() if isinstance(one, dict) else one, MEMBERS)
    return found


def _whole(value: object) -> object:
    """The JSON value with 2.0 as 2: JSON knows no difference, and JSON Schema takes either for an integer."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def read_bytes(request: web.Request) -> bytes:
    """The whole body.

    Raises:
        Problem: 408 when it does not arrive in time, 413 when it is too large.
    """
    if (request.content_length or 0) > BODY_BYTES:
        raise Problem.of(413, f"The body has {request.content_length} bytes, and may have {BODY_BYTES}")
    try:
        return await asyncio.wait_for(request.read(), BODY_S)  # past client_max_size it raises 413 by itself
    except TimeoutError:
        raise Problem.of(408, f"The body did not arrive within {BODY_S:g} s", headers={"Connection": "close"}) from None


def validated(model: type[M], data: bytes) -> M:
    """The model of this JSON.

    Raises:
        Problem: 422 naming what cannot be.
    """
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    told = [{"parameter": _place(fault), "detail": _told(fault)} for fault in faults]
    more: dict[str, Any] = {"errors": told} if len(told) > 1 else {}
    raise Problem.of(422, told[0]["detail"], parameter=told[0]["parameter"], **more)


def _place(fault: ErrorDetails) -> str:
    """Where the fault is; a fault between fields may name them by ``parameters`` in its context."""
    between = fault.get("ctx", {}).get("parameters")
    return str(between) if between else ".".join(str(part) for part in fault["loc"]) or "body"


def _told(fault: ErrorDetails) -> str:
    """One sentence: what it is, its value, and what is wrong with it."""
    message = fault["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if fault["type"] == "missing":
        return f"{_place(fault)} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{_shown(_place(fault))} is not known here"
    if fault["type"] in OWN_WORDS:
        return fault["msg"]
    if isinstance(fault["input"], (dict, list)):
        return f"{shown(_place(fault))} {message}"
    return f"{shown(_place(fault))}={_shown(fault['input'])} {message}"


def _shown(value: object) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value), limit=SHOWN)
