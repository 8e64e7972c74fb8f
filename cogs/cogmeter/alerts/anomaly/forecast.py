"""The forecast of a series: several windows and seasonal profiles, of which the best ones have a vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.anomaly.seasonality import SeasonalProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

# The plain windows: over so many days, and at least so many values.
_WINDOWS: Final = ((2 / 24, 20), (1.0, 100), (7.0, 200))
_ERROR_DAYS: Final = 2.0  # the errors of all forecasters are averaged over so long, to compare them, ...
_ERROR_VALUES: Final = 200  # ... and at least over so many values
_COMPETENT: Final = 1.3  # times the best error: a forecaster with more has no vote
_EARNED: Final = 0.8  # times the plain windows' error: a seasonal profile this good is one
_PROVEN_DAYS: Final = 1.0  # days of forecasts before a seasonal profile has a vote


class Forecast:
    """Robust means over 2 hours, a day and a week, and the usual values of the hour of the day and of the week."""

    __slots__ = ("_errors", "_levels", "_rhythms")

    def __init__(self) -> None:
        self._levels = [0.0] * len(_WINDOWS)
        self._errors = [0.0] * len(_WINDOWS)  # mean absolute errors
        self._rhythms = (SeasonalProfile(24, keep=4.0), SeasonalProfile(168, keep=3.0))

    @property
    def level(self) -> float:
        """The mean of the longest window."""
        return self._levels[-1]

    @property
    def spread(self) -> float:
        """The mean absolute error of the longest window."""
        return self._errors[-1]

    @property
    def day_spread(self) -> float:
        """The mean absolute error of the window of a day."""
        return self._errors[1]

    def begin(self, value: float) -> None:
        """Begin with the first value as forecast."""
        self._levels = [value] * len(_WINDOWS)

    def look(self, time_s: float) -> None:
        """Forecast the value at a time."""
        for rhythm in self._rhythms:
            rhythm.look(time_s)

    def deviation(self, value: float, grain: float) -> float:
        """Return the distance from the forecast in usual errors: the least among those with a vote."""
        errors, rhythms = self._errors, self._proven()
        limit = _COMPETENT * min(*errors, *(one.error for one in rhythms)) + 1e-12
        windows = zip(self._levels, errors, strict=True)
        found = [(value - level) / (error + grain) for level, error in windows if error <= limit]
        found += [(value - one.expected) / (one.deviation() + grain) for one in rhythms if one.error <= limit]
        return min(found, key=abs)

    @property
    def best(self) -> float:
        """The forecast with the smallest error."""
        answers = [*zip(self._errors, self._levels, strict=True)]
        answers += [(one.error, one.expected) for one in self._proven()]
        return min(answers)[1]

    def in_new_hour(self) -> bool:
        """Return whether the series is seasonal, and this hour of the week was never seen."""
        if self._rhythms[1].known:
            return False
        plain = _EARNED * min(self._errors[1:])
        return any(one.error < plain for one in self._proven())

    def _proven(self) -> list[SeasonalProfile]:
        """Return the seasonal profiles with a vote now."""
        return [one for one in self._rhythms if one.known and one.proven >= _PROVEN_DAYS]

    def learn(self, value: float, days: float, trust: float, *, interval: float, first: float, known: float) -> float:
        """Learn a value with the weight ``trust``, ``days`` after the one before; return the memory of errors in days.

        ``interval`` is the usual one, ``known`` how long the series is known, both in days; ``first`` is one over the
        number of values, by which a new series is averaged.
        """
        memory = max(_ERROR_DAYS, _ERROR_VALUES * interval)
        rate = days / memory
        follow = trust * max(rate, first)
        least = first if first > 0.2 or known == 0.0 else days / known
        levels, errors = self._levels, self._errors
        for place, (span, values) in enumerate(_WINDOWS):
            residual = value - levels[place]
            errors[place] += follow * (abs(residual) - errors[place])
            levels[place] += trust * max(days / max(span, values * interval), least) * residual
        for rhythm in self._rhythms:
            rhythm.learn(value, days, trust, rate)
        return memory

    def numbers(self) -> Iterator[float]:
        """Yield the whole state."""
        yield from self._levels
        yield from self._errors
        for rhythm in self._rhythms:
            yield from rhythm.numbers()

    def take(self, numbers: Iterator[float]) -> None:
        """Restore the state that ``numbers`` yielded."""
        for column in (self._levels, self._errors):
            column[:] = [next(numbers) for _ in column]
        for rhythm in self._rhythms:
            rhythm.take(numbers)
