"""Values and growth of resources as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.render import formatting
from cogmeter.render.charts.curve import UNITS
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from cogmeter.query.resources import ResourceLine


def value_text(line: ResourceLine, value: float | None) -> str:
    """Return a value of a resource with its unit; a dash for None."""
    return unit_text(line.resource.unit, value)


def growth_text(line: ResourceLine) -> str:
    """Return the growth of a resource per day."""
    return growth_of(line.resource.unit, line.growth_per_day)


def rate_text(rate_s: float | None) -> str:
    """Return over which time the rates of the network are means, if it is longer than the time between two samples."""
    return "" if rate_s is None else f"network rates are means over {formatting.duration(rate_s * 1e6)}"


def newest_title(until_us: int, now_us: int) -> str:
    """Return what the newest value of a range is: that of now, or the last one of a range that has ended."""
    return "now" if until_us >= now_us - MINUTE_US else "last"


def unit_text(unit: str, value: float | None) -> str:
    """Return a value in a unit of ``curve.UNITS``; a dash for None."""
    return formatting.NOTHING if value is None else UNITS[unit].format(value)


def growth_of(unit: str, growth: float | None) -> str:
    """Return a growth per day in a unit: ``+12 MB/day``, ``-3/day``, ``+3.1 points/day``; a dash if it is not known.

    A growth of a share is in points: "%" would read as a part of the value.
    """
    if growth is None:
        return formatting.NOTHING
    text = unit_text(unit, abs(growth))
    sign = "" if text == unit_text(unit, 0.0) else "+" if growth > 0 else "-"
    shown = f"{text.removesuffix('%')} points" if text.endswith("%") else text
    return f"{sign}{shown}/day"
