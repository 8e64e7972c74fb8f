"""The OpenAPI 3.1 document, built from the route records: ``/openapi.json``, and a page at ``/api``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic.json_schema import models_json_schema

from cogmeter import __version__
from cogmeter.web.api.params import parameters
from cogmeter.web.api.problems import MEANINGS, MEDIA_TYPE, ProblemDocument
from cogmeter.web.api.routing import CONTEXT, ApiDocument, Route
from cogmeter.web.server.assets import render
from cogmeter.web.server.security import is_public

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.params import Parameter

REFS: Final = "#/components/schemas/{model}"
DESCRIPTION: Final = (
    "Performance of this bot. Times are ISO 8601 in UTC, durations are milliseconds, rates are shares from 0 to 1. "
    "Every error is a problem document (RFC 9457)."
)
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"session": []}]


def document(routes: Iterable[Route], *, cookie: str | None) -> dict[str, Any]:
    """Return the document of these routes; ``cookie`` is the session's, if a token is configured."""
    documented = [route for route in routes if route.documented]
    with_token = cookie is not None
    refs, components = _schemas(documented)
    paths: dict[str, dict[str, Any]] = {}
    for route in documented:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, with_token=with_token)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "cogmeter", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components},
    }
    if cookie is not None:
        described["components"]["securitySchemes"] = _security_schemes(cookie)
        described["security"] = SECURITY
    return described


def rendered(described: dict[str, Any]) -> ApiDocument:
    """Return the document as JSON and as a page. Slow: call it in a thread."""
    return ApiDocument(json.dumps(described).encode(), render("api.html", document=described, meanings=MEANINGS))


async def read_openapi(_monitor: Monitor, request: web.Request) -> web.Response:
    """Return the document, built when the server started."""
    return web.Response(body=request.app[CONTEXT].document.json, content_type="application/json")


async def read_api_page(_monitor: Monitor, request: web.Request) -> web.Response:
    """Return the document as a page that needs no script."""
    return web.Response(text=request.app[CONTEXT].document.page, content_type="text/html", charset="utf-8")


def _security_schemes(cookie: str) -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "PERFORMANCE_HTTP_TOKEN"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "Set by the login page. Changes also need the header X-CSRF-Token of the page",
        },
    }


def _schemas(routes: list[Route]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return the reference of each model, and the components."""
    models: list[tuple[type[BaseModel], Any]] = [(ProblemDocument, "serialization")]
    for route in routes:
        if route.body is not None:
            models.append((route.body, "validation"))
        models += [(model, "serialization") for model in _response_models(route).values()]
    refs, schemas = models_json_schema(list(dict.fromkeys(models)), ref_template=REFS)
    return refs, schemas.get("$defs", {})


def _response_models(route: Route) -> dict[int, type[BaseModel]]:
    own = {} if route.response is None else {route.status: route.response}
    return {**own, **route.other_responses}


def _operation(route: Route, refs: Mapping[Any, Any], *, with_token: bool) -> dict[str, Any]:
    public = is_public(route.path)
    described: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [route.tag or route.handler.__module__.rpartition(".")[2]],
        "responses": _responses(route, refs, with_token=with_token and not public),
    }
    if route.query is not None:
        in_path = set(re.findall(r"{(\w+)}", route.path))
        query = parameters(route.query)
        described["parameters"] = [_parameter(parameter, in_path=parameter.name in in_path) for parameter in query]
    if route.body is not None:
        required = any(info.is_required() for info in route.body.model_fields.values())
        schema = refs[(route.body, "validation")]
        described["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    if with_token and public:
        described["security"] = []
    return described


def _parameter(parameter: Parameter, *, in_path: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "schema": dict(parameter.schema),
    }
    if parameter.description:
        described["description"] = parameter.description
    if parameter.schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    return described


def _responses(route: Route, refs: Mapping[Any, Any], *, with_token: bool) -> dict[str, Any]:
    content: dict[int, dict[str, Any]] = {}
    for status, model in _response_models(route).items():
        content[status] = {"application/json": {"schema": refs[(model, "serialization")]}}
    for media_type in route.media:
        content.setdefault(route.status, {})[media_type] = {}
    for status in sorted({*problem_statuses(route, with_token=with_token), *route.problems}):
        schema = refs[(ProblemDocument, "serialization")]
        content.setdefault(status, {})[MEDIA_TYPE] = {"schema": schema}
    return {
        str(status): {"description": _description(route, status), **({"content": media} if media else {})}
        for status, media in sorted({route.status: {}, **content}.items())
    }


def problem_statuses(route: Route, *, with_token: bool) -> set[int]:
    """Return the statuses of the problems that every route of this kind may return."""
    statuses = {403, 414, 422, 500, 503}
    if with_token:
        statuses |= {401, 429}
    if route.body is not None:
        statuses |= {400, 408, 413, 415}
    return statuses


def _description(route: Route, status: int) -> str:
    if status == route.status:
        return "; ".join(route.media.values()) or "Successful response"
    return MEANINGS[status][1] if status in MEANINGS else "Successful response without a change"


ROUTES: Final = (
    Route(
        "GET",
        "/openapi.json",
        read_openapi,
        "Get this API as an OpenAPI 3.1 document",
        media={"application/json": "An OpenAPI 3.1 document"},
    ),
    Route("GET", "/api", read_api_page, "Show this API as a page", media={"text/html": "A page"}, documented=False),
)
