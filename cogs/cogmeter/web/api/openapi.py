"""Makes the OpenAPI 3.1 document from the same route records that are served."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from cogmeter import __version__
from cogmeter.web.api.problems import MEANINGS, MEDIA_TYPE, ProblemDocument
from cogmeter.web.api.request_parsing import parameters
from cogmeter.web.server.context import Description
from cogmeter.web.server.html import render
from cogmeter.web.server.security import is_public

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from cogmeter.web.api.routing import Route

REFS: Final = "#/components/schemas/{model}"
ABOUT: Final = (
    "How this bot performs. Times are ISO 8601 in UTC, durations milliseconds, rates shares from 0 to 1. "
    "Every error is a problem document (RFC 9457)."
)
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"session": []}]


def document(routes: Iterable[Route], *, cookie: str | None) -> dict[str, Any]:
    """The document of these routes; ``cookie`` is the session's, where a token is asked for."""
    told = [route for route in routes if route.documented]
    with_token = cookie is not None
    schemas, components = _schemas(told)
    paths: dict[str, dict[str, Any]] = {}
    for route in told:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, with_token=with_token)
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "cogmeter", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {"schemas": components},
    }
    if cookie is not None:
        made["components"]["securitySchemes"] = _schemes(cookie)
        made["security"] = SECURITY
    return made


def written(described: dict[str, Any]) -> Description:
    """Return the document as JSON and as a page to read. Slow: call it in a thread."""
    return Description(json.dumps(described).encode(), render("api.html", document=described, meanings=MEANINGS))


def _schemes(cookie: str) -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "PERFORMANCE_HTTP_TOKEN"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "Set by the login page; a change then needs the page's X-CSRF-Token as well",
        },
    }


def _schemas(routes: list[Route]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The place of each model in the components, and the components."""
    wanted: list[tuple[type[BaseModel], Any]] = [(ProblemDocument, "serialization")]
    for route in routes:
        if route.body is not None:
            wanted.append((route.body, "validation"))
        wanted += [(model, "serialization") for model in _answers(route).values()]
    places, made = models_json_schema(list(dict.fromkeys(wanted)), ref_template=REFS)
    return places, made.get("$defs", {})


def _answers(route: Route) -> dict[int, type[BaseModel]]:
    own = {} if route.answer is None else {route.status: route.answer}
    return {**own, **route.others}


def _operation(route: Route, places: Mapping[Any, Any], *, with_token: bool) -> dict[str, Any]:
    public = is_public(route.path)
    made: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "responses": _responses(route, places, with_token=with_token and not public),
    }
    if route.query is not None:
        made["parameters"] = _parameters(route)
    if route.body is not None:
        required = any(info.is_required() for info in route.body.model_fields.values())
        schema = places[(route.body, "validation")]
        made["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    if with_token and public:
        made["security"] = []
    return made


def _parameters(route: Route) -> list[dict[str, Any]]:
    assert route.query is not None
    in_path = set(re.findall(r"{(\w+)}", route.path))
    return [_parameter(one, in_path=one.name in in_path) for one in parameters(route.query)]


def _parameter(one: Any, *, in_path: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": one.name,
        "in": "path" if in_path else "query",
        "required": in_path or one.required,
        "schema": dict(one.schema),
    }
    if one.description:
        made["description"] = one.description
    if one.schema.get("type") == "array":
        made |= {"style": "form", "explode": False}
    return made


def _responses(route: Route, places: Mapping[Any, Any], *, with_token: bool) -> dict[str, Any]:
    content: dict[int, dict[str, Any]] = {}
    for status, model in _answers(route).items():
        content[status] = {"application/json": {"schema": places[(model, "serialization")]}}
    for media_type in route.media:
        content.setdefault(route.status, {})[media_type] = {}
    for status in sorted({*problem_statuses(route, with_token=with_token), *route.problems}):
        schema = places[(ProblemDocument, "serialization")]
        content.setdefault(status, {})[MEDIA_TYPE] = {"schema": schema}
    return {
        str(status): {"description": _description(route, status), **({"content": media} if media else {})}
        for status, media in sorted({route.status: {}, **content}.items())
    }


def problem_statuses(route: Route, *, with_token: bool) -> set[int]:
    """The statuses of problems that any such route may answer, whatever it does itself."""
    found = {403, 414, 422, 500, 503}
    if with_token:
        found |= {401, 429}
    if route.body is not None:
        found |= {400, 408, 413, 415}
    return found


def _description(route: Route, status: int) -> str:
    if status == route.status:
        return "; ".join(route.media.values()) or "The answer"
    return MEANINGS[status][1] if status in MEANINGS else "Another answer"
