"""The stretches of time among which ``t`` chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter_bot.cli.guide_format import heading
from cogmeter_bot.sources.ranges import span_of

if TYPE_CHECKING:
    from cogmeter.query.records import Range


@dataclass(frozen=True, slots=True)
class Choice:
    """What the options of the command say of it, and the words for it."""

    label: str
    since: str | None = None
    until: str | None = None
    period: str | None = None

    def span(self) -> Range:
        """The range, up to now at most."""
        return span_of(self.since, self.until, self.period, now_us=now_us())


def choices(since: str | None, until: str | None, period: str | None) -> tuple[list[Choice], int]:
    """All periods, behind the range that was asked for if it is none of them; and the place of the first to show.

    Raises:
        AskedError: the range cannot be read.
    """
    periods = [Choice(heading(one.label), period=one.key) for one in Period]
    if since is None and until is None:
        return periods, [one.period for one in periods].index(period or Period.DAY.key)
    asked = Choice("", since, until, period)
    return [Choice(asked.span().label, since, until, period), *periods], 0
