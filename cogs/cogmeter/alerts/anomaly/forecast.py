"""The forecast of a series: several windows and seasonal profiles, of which the best ones have a vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.anomaly.seasonality import SeasonalProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

# The plain windows: (days, least number of values).
_WINDOWS: Final = ((2 / 24, 20), (1.0, 100), (7.0, 200))
_ERROR_DAYS: Final = 2.0  # days over which the errors of forecasts are averaged for a comparison
_ERROR_VALUES: Final = 200  # the least number of values in these averages
_COMPETENT: Final = 1.3  # times the best error: a forecast with a larger error has no vote
_EARNED: Final = 0.8  # times the plain windows' error: a series is seasonal if a profile has a smaller error
_PROVEN_DAYS: Final = 1.0  # days of forecasts before a seasonal profile has a vote


class Forecast:
    """Robust means over 2 hours, a day and a week, and the usual values of the hour of the day and of the week."""

    __slots__ = ("_errors", "_levels", "_profiles")

    def __init__(self) -> None:
        self._levels = [0.0] * len(_WINDOWS)
        self._errors = [0.0] * len(_WINDOWS)  # mean absolute errors
        self._profiles = (SeasonalProfile(24, keep=4.0), SeasonalProfile(168, keep=3.0))

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
        for profile in self._profiles:
            profile.look(time_s)

    def deviation(self, value: float, grain: float) -> float:
        """Return the distance from the forecast in usual errors: the least among those with a vote."""
        errors, profiles = self._errors, self._proven()
        limit = _COMPETENT * min(*errors, *(profile.error for profile in profiles)) + 1e-12
        windows = zip(self._levels, errors, strict=True)
        deviations = [(value - level) / (error + grain) for level, error in windows if error <= limit]
        good = [profile for profile in profiles if profile.error <= limit]
        deviations += [(value - profile.expected) / (profile.deviation() + grain) for profile in good]
        return min(deviations, key=abs)

    @property
    def best(self) -> float:
        """The forecast with the smallest error."""
        forecasts = [*zip(self._errors, self._levels, strict=True)]
        forecasts += [(profile.error, profile.expected) for profile in self._proven()]
        return min(forecasts)[1]

    def in_new_hour(self) -> bool:
        """Return whether the series is seasonal, and this hour of the week was never seen."""
        if self._profiles[1].known:
            return False
        plain = _EARNED * min(self._errors[1:])
        return any(profile.error < plain for profile in self._proven())

    def _proven(self) -> list[SeasonalProfile]:
        """Return the seasonal profiles that are known well enough to have a vote."""
        return [profile for profile in self._profiles if profile.known and profile.proven >= _PROVEN_DAYS]

    def learn(self, value: float, days: float, weight: float, *, interval: float, first: float, known: float) -> float:
        """Learn a value with the weight ``weight``, ``days`` after the one before; return the memory of errors in days.

        ``interval`` is the usual one, ``known`` how long the series is known, both in days; ``first`` is one over the
        number of values, by which a new series is averaged.
        """
        memory = max(_ERROR_DAYS, _ERROR_VALUES * interval)
        rate = days / memory
        follow = weight * max(rate, first)
        least = first if first > 0.2 or known == 0.0 else days / known
        levels, errors = self._levels, self._errors
        for place, (span, values) in enumerate(_WINDOWS):
            residual = value - levels[place]
            errors[place] += follow * (abs(residual) - errors[place])
            levels[place] += weight * max(days / max(span, values * interval), least) * residual
        for profile in self._profiles:
            profile.learn(value, days, weight, rate)
        return memory

    def numbers(self) -> Iterator[float]:
        """Yield the whole state."""
        yield from self._levels
        yield from self._errors
        for profile in self._profiles:
            yield from profile.numbers()

    def take(self, numbers: Iterator[float]) -> None:
        """Restore the state that ``numbers`` yielded."""
        for column in (self._levels, self._errors):
            column[:] = [next(numbers) for _ in column]
        for profile in self._profiles:
            profile.take(numbers)
