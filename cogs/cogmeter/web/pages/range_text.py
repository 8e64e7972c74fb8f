"""A range of time as text, and as an attribute that a script shows in the reader's time zone."""

from __future__ import annotations

from datetime import UTC, time
from typing import TYPE_CHECKING

from markupsafe import Markup

from cogmeter.schemas.times import iso
from cogmeter.times import utc

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from cogmeter.query.records import Range


def range_data(span: Range) -> Markup:
    """Return the attribute by which times.js shows an element's range of time in the reader's time zone."""
    return Markup('data-range="{} {}"').format(iso(span.since_us), iso(span.until_us))


def range_text(span: Range, now_us: int, zone: tzinfo = UTC) -> str:
    """Return a range in a time zone: ``17 Aug 10:30 to 11:45``; with the year unless it is this one."""
    since, until, now = (utc(at_us).astimezone(zone) for at_us in (span.since_us, span.until_us, now_us))
    if until.time() == time.min:  # shown as the last minute of the day before
        until = utc(span.until_us - 1).astimezone(zone)
    end = f"{until:%H:%M}" if since.date() == until.date() else _day_time(until, now.year)
    return f"{_day_time(since, now.year)} to {end}"


def _day_time(moment: datetime, this_year: int) -> str:
    year = f" {moment.year}" if moment.year != this_year else ""
    return f"{moment.day} {moment:%b}{year} {moment:%H:%M}"
