"""What several routes are asked alike: names, pages, and the cursors that lead from page to page."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cogmeter.query.records import Period, Range
from cogmeter.redaction import shown
from cogmeter.schemas.ranges import asked, passed
from cogmeter.schemas.times import Since, Until, iso, iso_end
from cogmeter.times import MAX_US
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.request_parsing import QueryParams

if TYPE_CHECKING:
    from typing import Self

LONGEST: Final = 100  # characters of a name, as they are recorded
MOST_PAGE: Final = 200  # operations become JSON on the loop, about 20 µs each

Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Service = Annotated[Name, Field(description="Of this service alone")]
Operation = Annotated[Name, Field(description="Of this operation of the service alone")]
Services = Annotated[
    tuple[Name, ...], Field(min_length=1, max_length=100, description="Of these services alone, with commas between")
]
Limit = Annotated[int, Field(ge=1, le=MOST_PAGE, description="How many at most")]
Cursor = Annotated[
    str, Field(pattern="^[A-Za-z0-9_-]{1,200}$", description="The `next` of the page before; ask all else as for it")
]


class ServiceFilterParams(QueryParams):
    """Of all services, of one, or of one operation in it."""

    service: Service | None = None
    operation: Operation | None = None

    @model_validator(mode="after")
    def _of_a_service(self) -> Self:
        if self.operation is not None and self.service is None:
            raise PydanticCustomError("between", "operation needs its service", {"parameters": "operation"})
        return self


class RangeParams(QueryParams):
    """The base of questions over a stretch of time; times are UTC microseconds, ``until`` is exclusive."""

    since: Since | None = None
    until: Until | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise PydanticCustomError(
                "between",
                "since={since} is not before until={until}",
                {"since": iso(self.since), "until": iso_end(self.until), "parameters": "since, until"},
            )
        return self

    def asked(self, now_us: int, default: Period = Period.DAY) -> Range:
        """The stretch as it was asked; its end may lie ahead. Without ``until`` it ends now.

        Without ``since`` it is as long as the default period.

        Raises:
            Problem: 422; ``since`` lies ahead.
        """
        if self.since is not None and self.since >= now_us:
            raise Problem.of(422, f"since={iso(self.since)} has not come yet; it is {iso(now_us)}", parameter="since")
        return asked(self.since, self.until, now_us, default)

    def span(self, now_us: int, default: Period = Period.DAY) -> Range:
        """The part of it that has passed, which is what figures are over.

        Raises:
            Problem: 422; ``since`` lies ahead.
        """
        return passed(self.asked(now_us, default), now_us)


class NamedParams(ServiceFilterParams, RangeParams):
    """The same over a stretch of time."""


class PagedParams(QueryParams):
    """A question that is answered page by page."""

    limit: Limit = 50
    cursor: Cursor | None = None


def cursor_of(*numbers: int | None) -> str | None:
    """The cursor that holds these numbers; None, which is no further page, if one is missing."""
    if None in numbers:
        return None
    text = json.dumps(numbers, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def numbers_of(cursor: str | None, count: int) -> list[int] | None:
    """The numbers of a cursor; None without one.

    Raises:
        Problem: 422; no page has given it.
    """
    if cursor is None:
        return None
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or [type(one) for one in found] != [int] * count:
        raise _unknown(cursor)
    if not all(0 <= one <= MAX_US for one in found):  # no time is greater, and no id will ever be
        raise _unknown(cursor)
    return found


def _unknown(cursor: str) -> Problem:
    return Problem.of(
        422, f"cursor={shown(cursor, limit=60)} is none that a page has given as its `next`", parameter="cursor"
    )
