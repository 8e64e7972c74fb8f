"""Query and path parameters: parsed exactly as the JSON Schema of their model says, and the ones that routes share."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from cogmeter.query.records import Period, Range
from cogmeter.redaction import shown
from cogmeter.schemas.times import Since, Until, iso, iso_end, past_part, requested_range
from cogmeter.times import MAX_US
from cogmeter.web.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from pydantic_core import ErrorDetails

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.query import Query

SHOWN: Final = 60  # characters of an invalid value
BETWEEN: Final = "between"  # the type of errors between parameters: their message is the whole sentence
LONGEST: Final = 100  # characters of a name, as they are recorded
MOST_PER_PAGE: Final = 200  # operations become JSON on the event loop, about 20 µs each

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")

M = TypeVar("M", bound=BaseModel)


class QueryParams(BaseModel):
    """Base of the parameter models: one field for each query or path parameter; other parameters are refused.

    Values are parsed strictly: an ``int`` accepts digits, a ``bool`` accepts true or false, a sequence accepts values
    separated by commas. For times see ``schemas.times``.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )


# Parameters of several routes -------------------------------------------------------------------------------------

Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Service = Annotated[Name, Field(description="Only this service")]
Subject = Annotated[
    str, Field(min_length=1, max_length=LONGEST + 10, description="A service, or a command such as /ask by its label")
]
Operation = Annotated[Name, Field(description="Only this operation of the service")]
Services = Annotated[
    tuple[Name, ...], Field(min_length=1, max_length=100, description="Only these services, separated by commas")
]
Limit = Annotated[int, Field(ge=1, le=MOST_PER_PAGE, description="Maximum number of entries")]
Cursor = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,200}$",
        description="`next` of the previous page; the other parameters must be the same",
    ),
]


Process = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Only operations and gauges of this process; alerts, error groups, usage, costs, traces and markers"
        " stay those of all",
    ),
]


class ServiceFilterParams(QueryParams):
    """Parameters: all services, one service, or one operation of a service."""

    service: Service | None = None
    operation: Operation | None = None

    @model_validator(mode="after")
    def _of_a_service(self) -> Self:
        if self.operation is not None and self.service is None:
            raise PydanticCustomError(
                BETWEEN, "operation needs a service. Add the parameter service", {"parameters": "operation"}
            )
        return self


class RangeParams(QueryParams):
    """Parameters: a range of time in UTC microseconds (``until`` is exclusive), and one process of the fleet."""

    since: Since | None = None
    until: Until | None = None
    process: Process | None = None

    async def query_of(self, monitor: Monitor) -> Query:
        """Return the query of the chosen process, or of all.

        Raises:
            UnknownNameError: there is no such process.
            StorageError: the store cannot be read.
        """
        return await monitor.query.of_process(self.process)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        check_order(self.since, self.until, "since", "until")
        return self

    def whole_range(self, now_us: int, default: Period = Period.DAY) -> Range:
        """Return the requested range; its end may lie in the future. See ``requested_range`` for missing ends.

        Raises:
            Problem: 422; ``since`` is in the future.
        """
        check_past(self.since, now_us, "since")
        return requested_range(self.since, self.until, now_us, default)

    def span(self, now_us: int, default: Period = Period.DAY) -> Range:
        """Return the past part of the requested range.

        Raises:
            Problem: 422; ``since`` is in the future.
        """
        return past_part(self.whole_range(now_us, default), now_us)


def check_order(since_us: int | None, until_us: int | None, since: str, until: str) -> None:
    """Check that a start is before its end; ``since`` and ``until`` are the names of the parameters.

    Raises:
        PydanticCustomError: it is not.
    """
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise PydanticCustomError(
            BETWEEN,
            "{since_name}={since} is not before {until_name}={until}",
            {
                "since_name": since,
                "since": iso(since_us),
                "until_name": until,
                "until": iso_end(until_us),
                "parameters": f"{since}, {until}",
            },
        )


def check_past(since_us: int | None, now_us: int, name: str) -> None:
    """Check that a start is in the past.

    Raises:
        Problem: 422; it is in the future.
    """
    if since_us is not None and since_us >= now_us:
        raise Problem.of(422, f"{name}={iso(since_us)} is in the future. It is now {iso(now_us)}", parameter=name)


class ServiceRangeParams(ServiceFilterParams, RangeParams):
    """Parameters: the service or operation, and the range of time."""


class PagedParams(QueryParams):
    """Parameters: one page of a list."""

    limit: Limit = 50
    cursor: Cursor | None = None


def cursor_of(*numbers: int | None) -> str | None:
    """Encode numbers as a cursor; return None, which means no further page, if one of them is None."""
    if None in numbers:
        return None
    text = json.dumps(numbers, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def numbers_of(cursor: str | None, count: int) -> list[int] | None:
    """Decode the numbers of a cursor; return None without a cursor.

    Raises:
        Problem: 422; the API did not create this cursor.
    """
    if cursor is None:
        return None
    try:
        numbers: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        numbers = None
    well_formed = isinstance(numbers, list) and [type(number) for number in numbers] == [int] * count
    if well_formed and all(0 <= number <= MAX_US for number in numbers):  # MAX_US exceeds every time and id
        return list(numbers)
    detail = f"cursor={shown(cursor, limit=SHOWN)} is not valid. Use `next` of a page"
    raise Problem.of(422, detail, parameter="cursor")


# Parsing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter and its JSON Schema."""

    name: str
    field: str
    schema: Mapping[str, Any]  # without the null of an optional one, which a URL cannot express
    required: bool
    description: str


def parameters(model: type[BaseModel]) -> list[Parameter]:
    """Return the parameters of a model, in the order of its fields."""
    model_schema = model.model_json_schema(mode="validation")
    defs = model_schema.get("$defs", {})
    required = model_schema.get("required", ())
    fields = {info.alias or name: name for name, info in model.model_fields.items()}
    listed = []
    for name, schema in model_schema.get("properties", {}).items():
        resolved = _resolved(schema, defs)
        description = str(resolved.pop("description", ""))
        listed.append(Parameter(name, fields[name], resolved, name in required, description))
    return listed


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its references resolved, and with its only alternative to null in place of ``anyOf``."""
    resolved = {key: value for key, value in schema.items() if key != "title" and value is not None}
    if "$ref" in resolved:
        resolved = {**_resolved(defs[resolved.pop("$ref").rpartition("/")[2]], defs), **resolved}
    choices = [_resolved(choice, defs) for choice in resolved.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        del resolved["anyOf"]
        resolved = {**choices[0], **resolved}
    if "items" in resolved:
        resolved["items"] = _resolved(resolved["items"], defs)
    return resolved


def read_parameters(model: type[M], known: list[Parameter], path: Mapping[str, str], query: str) -> M:
    """Build the model from the path's parameters and the raw query.

    Raises:
        Problem: 422; a parameter is unknown, repeated, missing or not valid.
    """
    by_name = {parameter.name: parameter for parameter in known}
    values: dict[str, object] = {
        name: _scalar(by_name[name].schema.get("type"), text) for name, text in path.items() if name in by_name
    }
    seen = set()
    for name, raw_value in _pairs(query):
        if name not in by_name or name in path:
            allowed = ", ".join(parameter for parameter in by_name if parameter not in path) or "none"
            raise Problem.of(422, f"{_shown(name)} is not a known parameter. Allowed: {allowed}", parameter=name)
        if name in seen:
            raise Problem.of(422, f"{name} is repeated. Use it once", parameter=name)
        seen.add(name)
        values[name] = _value(by_name[name], raw_value)
    return validated(model, json.dumps(values).encode())


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """Return the names in a query with their raw values."""
    for part in query.split("&"):
        name, _, raw_value = part.partition("=")
        if part:
            yield _unquoted(name, "the query"), raw_value


def _unquoted(text: str, where: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise Problem.of(422, f"{where} is not valid UTF-8", parameter=where) from None


def _value(parameter: Parameter, raw_value: str) -> object:
    """Return the JSON value that the parameter's schema expects; the text itself where it is not valid."""
    kind = parameter.schema.get("type")
    if kind != "array":
        return _scalar(kind, _unquoted(raw_value, parameter.name))
    item = parameter.schema.get("items", {}).get("type")
    return [_scalar(item, part) for part in _parts(raw_value, parameter.name)]


def _parts(raw_value: str, name: str) -> list[str]:
    """Split a value at its commas; a comma inside a value is written as %2C.

    Many clients write every comma as %2C. Without a plain comma, those separate values too.
    """
    if "," in raw_value:
        return [_unquoted(part, name) for part in raw_value.split(",")]
    whole = _unquoted(raw_value, name)
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


def validated(model: type[M], data: bytes) -> M:
    """Build the model from JSON.

    Raises:
        Problem: 422; it names every invalid value.
    """
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
    errors = [{"parameter": _place(error_details), "detail": _message(error_details)} for error_details in details]
    more: dict[str, Any] = {"errors": errors} if len(errors) > 1 else {}
    raise Problem.of(422, errors[0]["detail"], parameter=errors[0]["parameter"], **more)


def _place(error: ErrorDetails) -> str:
    """Return where the error is; an error between fields may name them in ``parameters`` of its context."""
    between = error.get("ctx", {}).get("parameters")
    return str(between) if between else ".".join(str(part) for part in error["loc"]) or "body"


def _message(error: ErrorDetails) -> str:
    """Return one sentence: the parameter, its value, and what is wrong."""
    message = error["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] == "missing":
        return f"{_place(error)} is missing"
    if error["type"] == "extra_forbidden":
        return f"{_shown(_place(error))} is not a known member"
    if error["type"] == BETWEEN:
        return error["msg"]
    if isinstance(error["input"], (dict, list)):
        return f"{shown(_place(error))} {message}"
    return f"{shown(_place(error))}={_shown(error['input'])} {message}"


def _shown(value: object) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value), limit=SHOWN)
