"""Computes axis limits and round tick values, for the charts of Discord and of the terminal.

The module is pure: the terminal does not import matplotlib. ``painter.set_scale`` applies them to an axis.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from cogmeter.render import formatting
from cogmeter.times import us_of, utc
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

_SMALLEST_TOP = 1e-9  # of an axis' unit: a smaller value is drawn as 0, and a denormal number has no logarithm
LOG_FROM_SPREAD = 50.0  # times the smallest value: a linear axis would hide the small values
_TIME_STEPS_US = (
    *(minutes * MINUTE_US for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR_US for hours in (1, 2, 3, 4, 6, 12)),
    *(days * DAY_US for days in (1, 2, 5, 7, 14, 30, 90, 365)),
)
_SHIFT_US = 3 * HOUR_US  # more than summer time moves a clock
_UNITS_US = (("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 60e6), ("h", 3600e6), ("d", 86400e6))
_UNITS_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))
_DECADES_US = (
    *(1.0, 10.0, 100.0, 1e3, 10e3, 100e3, 1e6, 10e6),
    *(60e6, 600e6, 3600e6, 36e9, 4 * 86400e6, 40 * 86400e6, 400 * 86400e6),
)
_HALVES_US = (
    *(step * 10.0**power for power in range(7) for step in (1, 3)),
    *(10e6, 30e6, 120e6, 600e6, 1800e6),
    *(hours * 3600e6 for hours in (2, 6, 24, 72, 240)),
)
_FINE_US = (
    *(step * 10.0**power for power in range(7) for step in (1, 2, 5)),
    *(10e6, 20e6, 30e6, 60e6, 120e6, 300e6, 600e6, 1200e6, 1800e6),
    *(hours * 3600e6 for hours in (1, 2, 5, 10, 24, 48, 120, 240, 480)),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line: its value, its label, and whether the label is highlighted."""

    value: float
    label: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """A vertical axis: its lowest and highest value, and its grid."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the position of a value, 0 at the bottom and 1 at the top, limited to the axis."""
        if self.logarithmic:
            inside = min(max(value, self.low), self.high)
            return min(math.log(inside / self.low) / math.log(self.high / self.low), 1.0)
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def with_headroom(self, share: float) -> Scale:
        """Return the axis with a share of its height added at the top, without values and ticks."""
        if self.logarithmic:
            high = self.low * (self.high / self.low) ** (1 / (1 - share))
        else:
            high = self.low + (self.high - self.low) / (1 - share)
        return dataclasses.replace(self, high=high)


def time_ticks(since_us: int, until_us: int, most: float = 7.2, zone: tzinfo = UTC) -> list[Tick]:
    """Return round times of a zone: hours with a date at midnight, or dates alone over several days.

    A range of days can start up to an hour early, so slightly more than seven steps count as seven.
    """
    span = until_us - since_us
    step = next((step for step in _TIME_STEPS_US if span / step <= most), 365 * DAY_US)
    times = _round_times(since_us, until_us, step, zone)
    if step >= DAY_US:
        return [Tick(at_us, formatting.day(at_us, zone)) for at_us in times]
    midnights = {at_us for at_us in times if formatting.clock_time(at_us, zone=zone) == "00:00"}
    # One label has the date, for pictures that are viewed later.
    dated = min(midnights or times, default=0)
    return [
        Tick(at_us, formatting.day(at_us, zone), strong=True)
        if at_us in midnights
        else Tick(at_us, formatting.clock_time(at_us, with_date=at_us == dated, zone=zone), strong=at_us == dated)
        for at_us in times
    ]


def _round_times(since_us: int, until_us: int, step_us: int, zone: tzinfo) -> list[int]:
    """Return the times of a range at which the clock of a zone shows a multiple of the step.

    The hour that summer time skips has none. Of the hour at its end, which comes twice, steps of up to an hour have
    both times; longer ones have the first.
    """
    if zone is UTC:
        return [*range(-(-since_us // step_us) * step_us, until_us + 1, step_us)]
    since, until = (_wall_us(at_us, zone) for at_us in (since_us, until_us))
    walls = range((since - _SHIFT_US) // step_us * step_us, until + _SHIFT_US, step_us)
    folds = (0, 1) if step_us <= HOUR_US else (0,)
    pairs = {(us_of(utc(wall).replace(tzinfo=zone, fold=fold)), wall) for wall in walls for fold in folds}
    return sorted(at_us for at_us, wall in pairs if since_us <= at_us <= until_us and _wall_us(at_us, zone) == wall)


def _wall_us(at_us: int, zone: tzinfo) -> int:
    """Return what the clock of a zone shows, as if it were UTC."""
    return us_of(utc(at_us).astimezone(zone).replace(tzinfo=UTC))


def duration_scale(values_us: Sequence[float], threshold_us: float | None = None) -> Scale:
    """Return the axis of durations: from zero, or logarithmic if they spread over more than 50 times."""
    positive = [max(value, 1.0) for value in values_us if value > 0]  # durations are whole microseconds
    top = max(positive, default=0.0)
    if positive and top / min(positive) > LOG_FROM_SPREAD:
        return _log_scale(min(positive), _with_threshold(top, threshold_us, 10.0) * 1.25)
    return _in_units(_with_threshold(top, threshold_us, 4.0), _UNITS_US, _UNITS_US[1])


def rate_scale(values: Sequence[float], threshold: float | None = None) -> Scale:
    """Return the axis of operations per minute, from zero."""
    return count_scale(values, threshold, most=3)


def count_scale(values: Sequence[float], threshold: float | None = None, *, most: int = 5) -> Scale:
    """Return the axis of counts, from zero, with at most ``most`` steps."""
    top = _with_threshold(max(values, default=0.0), threshold, 4.0)
    high, step = _linear(top, most)
    ticks = [Tick(number * step, _amount(number * step)) for number in range(round(high / step) + 1)]
    return Scale(0.0, max(high, top * 1.06), tuple(ticks))


def share_scale(values: Sequence[float], threshold: float | None = None) -> Scale:
    """Return the axis of shares of 0 to 1, in percent, from zero."""
    top = min(_with_threshold(max(values, default=0.0), threshold, 20.0), 1.0)
    return _in_units(top, (), ("%", 0.01))


def percent_scale(values: Sequence[float], threshold: float | None = None) -> Scale:
    """Return the axis of percentages, which may be above 100: of a core, for example."""
    return _in_units(_with_threshold(max(values, default=0.0), threshold, 4.0), (), ("%", 1.0))


def byte_rate_scale(values: Sequence[float], threshold: float | None = None) -> Scale:
    """Return the axis of bytes per second, from zero."""
    scale = byte_scale(values, threshold)
    ticks = tuple(dataclasses.replace(tick, label=f"{tick.label}/s") for tick in scale.ticks)
    return dataclasses.replace(scale, ticks=ticks)


def money_scale(micro_usd: Sequence[float]) -> Scale:
    """Return the axis of money, from zero, in US dollars; values are in micro-dollars."""
    top = max(micro_usd, default=0.0) or 1e6
    high, step = _linear(top)
    digits = 0 if step >= 1e6 else 2 if step >= 1e4 else 4 if step >= 1e2 else 6
    steps = range(round(high / step) + 1)
    ticks = [Tick(number * step, f"${number * step / 1e6:,.{digits}f}") for number in steps]
    return Scale(0.0, max(high, top * 1.06), tuple(ticks))


def byte_scale(values: Sequence[float], threshold: float | None = None) -> Scale:
    """Return the axis of bytes, from zero."""
    return _in_units(_with_threshold(max(values, default=0.0), threshold, 4.0), _UNITS_BYTES, _UNITS_BYTES[0])


def _in_units(top: float, units: Sequence[tuple[str, float]], least: tuple[str, float]) -> Scale:
    """Return a linear axis from zero, in the largest unit of which ``top`` is at least one and a half."""
    unit, size = next((pair for pair in reversed(units) if pair[1] * 1.5 <= top), least)
    high, step = _linear(top / size)
    steps = range(round(high / step) + 1)
    space = "" if unit == "%" else " "
    ticks = [Tick(number * step * size, f"{_plain(number * step)}{space}{unit}") for number in steps]
    return Scale(0.0, max(high * size, top * 1.06), tuple(ticks))


def _with_threshold(top: float, threshold: float | None, factor: float) -> float:
    """Return the top of an axis with the threshold in view, unless that would flatten the values."""
    return max(top, threshold) if threshold is not None and threshold <= top * factor else top


def _linear(top: float, most: int = 5) -> tuple[float, float]:
    """Return the highest round value at or below the top (or 1), and the step that reaches it in ``most`` steps."""
    top = top if top >= _SMALLEST_TOP else 1.0
    raw = top / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if raw <= factor * power * 1.0001)
    return math.floor(top / step + 1e-9) * step, step


def _log_scale(low: float, high: float) -> Scale:
    floor = max((value for value in _FINE_US if value <= low), default=low)
    for steps in (_FINE_US, _HALVES_US, _DECADES_US, _DECADES_US[::2], _DECADES_US[::3]):
        inside = [value for value in steps if floor <= value <= high]
        if len(inside) <= 6:
            break
    return Scale(floor, high, tuple(Tick(value, formatting.duration(value)) for value in inside), logarithmic=True)


def _plain(number: float) -> str:
    return f"{number:.10g}"


def _amount(number: float) -> str:
    return _plain(number) if number < 1000 else formatting.count(number)
