"""The usual value of each hour of the day, or of the week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_S: Final = 3600.0
_KNOWN: Final = 0.4  # visits (whole ones are 1) after which a place is known
_SHRINK: Final = 2.0  # visits of one place that the general deviation counts as


class SeasonalProfile:
    """A usual value and a usual deviation for each place of a cycle of whole hours, with straight lines in between.

    A visit's values are averaged, and learned when it ends: so a place forecasts from earlier visits alone, and the
    last values cannot pass for a season. A slow offset follows what the series does as a whole.
    """

    __slots__ = (
        "_current", "_deviations", "_keep", "_levels", "_place", "_places", "_residuals", "_time", "_values", "_visits",
        "_weight", "error", "expected", "known", "offset", "proven",
    )  # fmt: skip
    _NUMBERS: Final = ("_current", "_time", "_weight", "_values", "_residuals", "error", "offset", "proven")

    def __init__(self, places: int, keep: float) -> None:
        """``places`` hours; a place remembers about ``keep`` visits."""
        self._places, self._keep = places, keep
        self._levels = [0.0] * places
        self._deviations = [0.0] * places
        self._visits = [0.0] * places
        self._place = 0
        self._current = -1.0
        self._time = self._weight = self._values = self._residuals = 0.0  # of the visit: hours, weighted hours, sums
        self.error = 0.0  # mean absolute error of the forecasts
        self.offset = 0.0
        self.proven = 0.0  # days of forecasts
        self.expected, self.known = 0.0, False

    def look(self, time_s: float) -> None:
        """Forecast the value at a time: set ``expected`` and ``known``."""
        hour = (time_s / HOUR_S - 0.5) % self._places
        before = int(hour) % self._places
        part = hour - int(hour)
        after = before + 1 if before + 1 < self._places else 0
        place = before if part < 0.5 else after
        visits, levels = self._visits, self._levels
        if visits[before] > _KNOWN and visits[after] > _KNOWN:
            self.known, level = True, levels[before] * (1.0 - part) + levels[after] * part
        else:
            self.known, level = visits[place] > _KNOWN, levels[place]
        self._place = place
        self.expected = level + self.offset

    def deviation(self) -> float:
        """Return the usual deviation in this hour, drawn towards the general error while few visits are known."""
        visits = self._visits[self._place]
        return (self._deviations[self._place] * visits + self.error * _SHRINK) / (visits + _SHRINK)

    def learn(self, value: float, days: float, weight: float, rate: float) -> None:
        """Learn the value at the forecast time, ``days`` after the one before.

        ``weight`` is how far it is to be trusted, ``rate`` the share by which the error follows. The offset follows
        within about a day.
        """
        residual = abs(value - self.expected)
        if self.known:
            self.proven += days
            self.error += weight * max(rate, days / (self.proven + 1e-9)) * (residual - self.error)
            self.offset += weight * min(days, 1.0) * (value - self.expected)
        if self._place != self._current:
            self._end_visit()
            self._current = self._place
        hours = days * 24.0 + 1e-9
        self._time += hours
        self._weight += hours * weight
        self._values += hours * weight * (value - self.offset)
        if self.known:
            self._residuals += hours * weight * residual

    def numbers(self) -> Iterator[float]:
        """Yield the whole state."""
        yield from self._levels
        yield from self._deviations
        yield from self._visits
        for name in self._NUMBERS:
            yield getattr(self, name)

    def take(self, numbers: Iterator[float]) -> None:
        """Restore the state that ``numbers`` yielded."""
        for column in (self._levels, self._deviations, self._visits):
            column[:] = [next(numbers) for _ in range(self._places)]
        for name in self._NUMBERS:
            setattr(self, name, next(numbers))

    def _end_visit(self) -> None:
        if self._weight > 0.0:
            place = int(self._current)
            share = min(self._time, 1.0)
            self._visits[place] = visits = min(self._visits[place] + share, self._keep)
            weight = share * min(self._weight / self._time, 1.0) / visits if visits > share else 1.0
            self._levels[place] += weight * (self._values / self._weight - self._levels[place])
            self._deviations[place] += weight * (self._residuals / self._weight - self._deviations[place])
        self._time = self._weight = self._values = self._residuals = 0.0
