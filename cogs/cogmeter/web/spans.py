"""The stretch of time that a route is asked for: ``since`` and ``until``, either, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cogmeter.answers.ranges import asked, passed
from cogmeter.answers.times import Since, Until, iso, iso_end
from cogmeter.records import Period, Range
from cogmeter.web.problems import Problem
from cogmeter.web.reading import Ask

if TYPE_CHECKING:
    from typing import Self


class SpanAsk(Ask):
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
