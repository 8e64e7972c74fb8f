"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/problem+json"

# Title and explanation of each status. The page at /api lists them, and ``type`` links there.
MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("Broken request", "The request contains broken UTF-8, JSON or HTTP."),
    401: ("Not signed in", "A token is configured, and the request carries neither the token nor a session."),
    403: ("Refused", "The host name is not this machine's, or the change does not come from the dashboard's pages."),
    404: ("Not found", "The path, service, operation or alert does not exist. `near` lists similar names."),
    405: ("Method not allowed", "The path does not support the method. `Allow` lists the supported ones."),
    408: ("Too slow", "The body did not arrive in time."),
    409: ("Conflict", "The request is not possible in the present state. The detail names the reason."),
    413: ("Too large", "The body is larger than 64 kB."),
    414: ("Too long", "The URL or a header is longer than 32 kB."),
    415: ("Unsupported media type", "The body must be application/json, uncompressed."),
    422: ("Invalid", "A parameter or a member of the body is not valid. `parameter` names it."),
    429: ("Too many requests", "Too many wrong tokens, or too many requests. Wait as long as `Retry-After` says."),
    500: ("Internal error", "An error in cogmeter. The bot's log has the details."),
    503: ("Not available", "The database cannot be read, or too many clients are connected."),
}


class Problem(Exception):  # noqa: N818 - the standard's word
    """An error that is sent as a problem document; ``extra`` are further members, such as ``parameter``."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    @classmethod
    def of(cls, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> Problem:
        """Build a problem with the status's own title."""
        return cls(status, MEANINGS[status][0], detail, headers=headers, **extra)

    def document(self, instance: str) -> dict[str, Any]:
        """Return the members of the document, those of the standard first."""
        return {
            "type": f"/api#problem-{self.status}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.extra,
        }

    def response(self, instance: str) -> web.Response:
        """Return the document as a response."""
        body = json.dumps(self.document(instance)).encode()
        return web.Response(status=self.status, body=body, content_type=MEDIA_TYPE, headers=dict(self.headers))


class Fault(BaseModel):
    """One of several invalid parameters."""

    parameter: str
    detail: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457). Some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Link to the explanation of the problem")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request")
    parameter: str | None = Field(default=None, description="The invalid parameter or member of the body")
    errors: list[Fault] | None = Field(default=None, description="All errors, when there are several")
    near: list[str] | None = Field(default=None, description="Recorded names that are similar to the requested one")
