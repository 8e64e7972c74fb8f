"""Errors of the web as problem documents (RFC 9457)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/problem+json"

# What each status means here; the page at /api lists them, and ``type`` leads there.
MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("Broken request", "The request cannot be read: broken UTF-8, JSON or HTTP."),
    401: ("Not signed in", "A token is set, and the request carries neither it nor a session."),
    403: ("Refused", "Another host name than this machine's, or a change that does not come from our own pages."),
    404: ("Not found", "There is no such path, service, operation or alert; near names are in `near`."),
    405: ("Method not allowed", "The path does not know the method; `Allow` names those that it knows."),
    408: ("Too slow", "The body did not arrive in time."),
    409: ("Conflict", "It cannot be done in the present state; the detail says why."),
    413: ("Too large", "The body is larger than 64 kB."),
    414: ("Too long", "The address or a header is longer than 32 kB."),
    415: ("Unsupported media type", "Bodies are application/json, not compressed."),
    422: ("Invalid", "A parameter or a part of the body cannot be; `parameter` names it."),
    429: ("Too many tries", "Too many wrong tokens from this address; wait as long as `Retry-After` says."),
    500: ("Unforeseen", "Something went wrong in cogmeter; the bot's log says what."),
    503: ("Not available", "The database does not answer, or as many as may are connected."),
}


class Problem(Exception):  # noqa: N818 - the standard's word
    """Ends a request with a problem document; ``extra`` are further members of it, such as ``parameter``."""

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
        """With the status's own title."""
        return cls(status, MEANINGS[status][0], detail, headers=headers, **extra)

    def document(self, instance: str) -> dict[str, Any]:
        """The members, the standard's first."""
        return {
            "type": f"/api#problem-{self.status}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.extra,
        }

    def response(self, instance: str) -> web.Response:
        """The answer."""
        body = json.dumps(self.document(instance)).encode()
        return web.Response(status=self.status, body=body, content_type=MEDIA_TYPE, headers=dict(self.headers))


class Fault(BaseModel):
    """One fault of many."""

    parameter: str
    detail: str


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457); some problems have more members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where the kind of problem is explained")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked")
    parameter: str | None = Field(default=None, description="The parameter, or the place in the body, that is to blame")
    errors: list[Fault] | None = Field(default=None, description="Every fault, where there are several")
    near: list[str] | None = Field(default=None, description="Stored names that are like the one asked for")
