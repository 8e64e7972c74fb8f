"""One REST call on its way through the server: what came, what goes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from loopback.payloads import JSON
from loopback.problems import Problems
from loopback.recording import UploadedFile

if TYPE_CHECKING:
    from loopback.rest import Rest


class Refused(Exception):  # noqa: N818 - an answer, not a failure of this server
    """An answer of Discord that is an error."""

    def __init__(self, status: int, code: int, message: str, *, violates: bool = False) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.body: JSON = {"message": message, "code": code}
        self.violations = [("", str(code), message)] if violates else []


class Invalid(Refused):
    """400 with the form errors of code 50035."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(400, 50035, "Invalid Form Body")
        self.body = problems.answer()
        self.violations = problems.found


@dataclass(frozen=True)
class Call:
    """A call as its handler sees it."""

    rest: Rest
    route: str
    parameters: dict[str, str]
    query: dict[str, str]
    body: Any = None
    files: tuple[UploadedFile, ...] = field(default=(), repr=False)

    def __getitem__(self, name: str) -> str:
        return self.parameters[name]


class Reply(NamedTuple):
    """Status and JSON body (None for an empty one)."""

    status: int
    body: Any = None


Handler = Callable[[Call], Awaitable[Reply]]


class Route(NamedTuple):
    """A line of a route table."""

    method: str
    template: str
    handler: Handler
    needs_bot_token: bool = True
