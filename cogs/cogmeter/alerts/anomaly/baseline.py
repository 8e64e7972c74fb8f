"""The baseline of a series: scores each new value from 0 (usual) to 1 (never seen), and learns from it."""

from __future__ import annotations

import math
import struct
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.anomaly.forecast import Forecast
from cogmeter.alerts.anomaly.rarity import RarityScorer

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERT_FROM: Final = 0.95  # the lowest score that raises an alert

_DAY_S: Final = 86_400.0
_VERSION: Final = 1
_LARGEST: Final = 1e100  # limit of a value, so that products of differences stay finite

_CHANGE_VALUES: Final = 500  # values over which the usual change to the next value is averaged
_SHORT, _LONG = 0.15, 0.045  # weight of a new value in the short-term and the long-term mean deviation
_ACTIVITY: Final = 0.1  # weight of a new value in the activity
_MOVING: Final = 0.3  # weight of a new value in the mean of the last few values
_CLIP: Final = 8.0  # limit of one value's deviation in the mean deviations

_MIN_VALUES: Final = 30  # values before the first score above 0
_SURE_VALUES: Final = 200  # values before a score counts fully
_COLD_DAYS: Final = 2.0  # days before the range of a drifting series is known
_NEW_HOUR: Final = 0.85  # weight of levels in an hour of the week that was never seen, if the series is seasonal
_THIRD: Final = 0.3  # weight of the third indicator
_STILL: Final = 0.8  # weight of the indicator of stillness as a second one
_SPARSE: Final = 0.85  # share of zeros from which the other values are too few for a comparison
_ALONE: Final = 0.6  # weight of a single value other than 0 in such a series
_HALF: Final = 2.4  # decades of rarity for a score of 0.5

_DOUBTED: Final = 3.0  # surprise from which a value is learned with less weight
_LEAST_WEIGHT: Final = 0.05  # the least weight of a surprising value
_USUAL_AFTER_DAYS: Final = 2.5  # days after which a lasting change is learned fully
_EPISODE: Final = 2.0  # surprise from which consecutive values are one event
_CALM: Final = 1.5  # surprise below which the event ends
_LEAST_COUNT: Final = 0.002  # the least weight of one value of an event
_MEMORY_DAYS: Final = 14.0  # days for which rare values are remembered
_MEMORY_VALUES: Final = 2000  # the least number of values that are remembered
_FORGETTING: Final = 2.0  # early oddities lose weight sooner, because little was known


class Baseline:
    """The learned behaviour of one series; it scores the values in the order of their times.

    How a score is computed, each step from what was known before the value:

    1. *What was expected?* There are five forecasts: robust means over 2 hours, a day and a week, and the usual values
       of the hour of the day and of the hour of the week. A forecast has a vote if its error over the last days is at
       most 1.3 times the smallest one. Seasonal forecasts count when they are good; then plain windows do not.
       The deviation is the smallest among the voters', in units of their usual error: all of them have to agree that a
       value is odd, as do the models of Netdata's anomaly detection.
    2. *Six indicators*: the deviation; the change against the last value and the last few; the short and the long mean
       of signed deviations (the anomaly likelihood of Lavin and Ahmad 2015 compares recent errors with all errors);
       and how much the series moves, more and less than usual.
    3. *How rare is that?* Each indicator is compared with its own history (``rarity.py``): the share of values at which
       it was as large. So heavy tails, autocorrelation and regular spikes count as usual, without a model.
    4. ``surprise`` = half of the rarest indicator + half of the second + 0.3 (third - 1), in decades of rarity; less
       while few values are known. ``score = surprise^4 / (surprise^4 + 2.4^4)``: 0.03 at one in ten, 0.33 at one
       in a hundred, 0.71 at one in a thousand, 0.89 at one in ten thousand, 0.95 at one in a hundred thousand.
    5. *Learning*: an odd value has a twentieth of the weight, until the values have been odd for two days and a half. A
       run of odd values counts as about one event, so that an incident is as odd the next time.

    The product alerts from 0.95 on (``ALERT_FROM``); from 0.9 on a value is worth a look. Memory is about 25 kB
    and does not grow. It uses no clock and no random numbers: the same values have the same scores.
    """

    __slots__ = (
        "_activity", "_count", "_days", "_empty", "_event_peak", "_forecast", "_interval", "_long", "_odd_days",
        "_peak", "_previous", "_previous_error", "_recent_mean", "_recent_mean_error", "_run", "_scorer", "_short",
        "_time", "_whole",
    )  # fmt: skip
    _NUMBERS: Final = (
        "_count", "_time", "_days", "_interval", "_whole", "_previous", "_previous_error", "_recent_mean",
        "_recent_mean_error", "_short", "_long", "_activity", "_run", "_odd_days", "_peak", "_event_peak", "_empty",
    )  # fmt: skip

    def __init__(self) -> None:
        self._count = 0.0
        self._time = 0.0  # of the last value, seconds since 1970 UTC
        self._days = 0.0  # measured in all, without gaps
        self._interval = 0.0  # usual seconds from value to value
        self._whole = 1.0  # 1 while all values were whole numbers
        self._previous = self._recent_mean = 0.0  # the last value, the mean of the last few
        self._previous_error = self._recent_mean_error = 0.0
        self._short = self._long = 0.0  # mean deviations
        self._activity = 1.0
        self._run = 0.0  # values of the present event
        self._empty = 0.0  # share of the values that are 0
        self._peak = self._event_peak = 0.0  # the largest recent value, and the largest of the present event
        self._odd_days = 0.0  # how long the series has been odd
        self._forecast = Forecast()
        self._scorer = RarityScorer(6)

    @property
    def days(self) -> float:
        """The number of days of data, without gaps. The usual value at this time is known after a day."""
        return self._days

    @property
    def usual(self) -> float:
        """The forecast of the last value, by the best forecaster; 0 without a value."""
        return self._forecast.best

    def update(self, time: float | datetime, value: float) -> float:
        """Return the score of a value, from 0 (usual) to 1 (never seen), and learn from it.

        ``time`` is in seconds since 1970 UTC, or a datetime, which is UTC if it has no zone. A value or a time that is
        not a finite number is a gap: it scores 0 and is not learned. If a time is before the last one, no time has
        passed, and later times count from it.
        """
        at_s = _seconds(time) if isinstance(time, datetime) else float(time)
        if not (math.isfinite(value) and math.isfinite(at_s)):
            return 0.0
        value = min(max(float(value), -_LARGEST), _LARGEST)
        if not self._count:
            return self._begin(at_s, value)
        gap = at_s - self._time > 4.0 * self._interval > 0.0
        days = self._advance(at_s)
        grain = self._grain(value)
        deviation = self._forecast.deviation(value, grain)
        change = min(
            abs(value - self._recent_mean) / (self._recent_mean_error + grain),
            abs(value - self._previous) / (self._previous_error + grain),
        )
        if gap:  # the last values are not related to this one
            change, self._recent_mean = min(change, abs(deviation)), value
        surprise = self._surprise(self._figures(deviation, change), empty=value == 0.0)
        self._learn(value, days, self._learning_weight(surprise, days))
        self._remember(days)
        square = surprise * surprise
        return square * square / (square * square + _HALF**4)

    def state(self) -> bytes:
        """Return all that was learned, about 4 kB; ``from_state`` continues exactly from here."""
        numbers = list(self._numbers())
        return bytes([_VERSION]) + zlib.compress(struct.pack(f"<{len(numbers)}d", *numbers), 1)

    @classmethod
    def from_state(cls, state: bytes) -> Baseline:
        """Restore a baseline from what ``state`` returned.

        Raises:
            ValueError: this is not a baseline's state, or it is of another version.
        """
        if not state or state[0] != _VERSION:
            raise ValueError(f"The state of a baseline begins with {bytes([_VERSION])!r}, not with {state[:1]!r}")
        baseline = cls()
        length = struct.calcsize(f"<{sum(1 for _ in baseline._numbers())}d")
        try:
            packed = zlib.decompressobj().decompress(state[1:], length + 1)
        except zlib.error as error:
            raise ValueError(f"The state of a baseline is damaged: {error}") from error
        if len(packed) != length:
            raise ValueError(f"The state of a baseline has {length} bytes, not {len(packed)}")
        numbers = struct.unpack(f"<{length // 8}d", packed)
        if any(map(math.isnan, numbers)):  # it would make every later score NaN
            raise ValueError("The state of a baseline has a value that is not a number")
        baseline._take(iter(numbers))
        return baseline

    def _numbers(self) -> Iterator[float]:
        for name in self._NUMBERS:
            yield getattr(self, name)
        yield from self._forecast.numbers()
        yield from self._scorer.numbers()

    def _take(self, numbers: Iterator[float]) -> None:
        for name in self._NUMBERS:
            setattr(self, name, next(numbers))
        self._forecast.take(numbers)
        self._scorer.take(numbers)

    def _begin(self, at_s: float, value: float) -> float:
        self._count, self._time = 1.0, at_s
        self._forecast.begin(value)
        self._previous = self._recent_mean = value
        self._whole = float(value.is_integer())
        return 0.0

    def _advance(self, at_s: float) -> float:
        """Return the days since the last value; a gap counts as four usual intervals."""
        passed = max(at_s - self._time, 0.0)
        self._time = at_s
        self._count += 1.0
        if self._interval == 0.0:
            self._interval = passed
        elif passed > 0.0:
            nearer = min(passed, 3.0 * self._interval) - self._interval
            self._interval += nearer * max(1.0 / self._count, 0.02)
        days = min(passed, 4.0 * self._interval) / _DAY_S
        self._days += days
        self._forecast.look(self._time)
        return days

    def _grain(self, value: float) -> float:
        """Return a difference too small to matter: half of a count, or a five-hundredth of the level."""
        if self._whole and not value.is_integer():
            self._whole = 0.0
        level = abs(self._forecast.level)
        if self._whole:
            return max(0.5, 0.002 * level)
        # Where nearly all values are 0, the others are compared with one another.
        size = 0.3 * (self._peak or abs(value)) - 30.0 * (level + self._forecast.spread)
        self._event_peak = max(self._event_peak, abs(value))
        return max(size, 0.002 * level) + 1e-12

    def _figures(self, deviation: float, change: float) -> tuple[float, ...]:
        """Return the figures of the six indicators; each is about 1 for a usual value."""
        part = deviation if -_CLIP < deviation < _CLIP else math.copysign(_CLIP, deviation)
        self._short += _SHORT * (part - self._short)
        self._long += _LONG * (part - self._long)
        self._activity += _ACTIVITY * (min(change, 4.0) - self._activity)
        short = 2.0 * abs(self._short)
        # The long mean counts only while the short one agrees, so it ends with the event.
        long = min(short, 5.0 * abs(self._long)) if self._short * self._long > 0.0 else 0.0
        return abs(deviation), change, short, long, self._activity, 1.0 / (self._activity + 0.02)

    def _surprise(self, figures: tuple[float, ...], *, empty: bool) -> float:
        """Return the decades of rarity; ``empty`` if the value is 0, and nothing can move."""
        rarities = self._scorer.surprises(figures)
        self._empty += max(1.0 / self._count, 0.005) * (empty - self._empty)
        if self._empty > _SPARSE:
            # Where nearly all values are 0, the others are too few to compare, so a single one has less weight. A 0 is
            # usual, whatever was before it.
            rarities = [_ALONE * rarity if empty or place < 2 else rarity for place, rarity in enumerate(rarities)]
        if self._count <= _MIN_VALUES:
            return 0.0
        if (share := self._range_known()) < 1.0:
            for place in (0, 2, 3):  # the indicators of levels
                rarities[place] *= share
        # Stillness has no other indicator, so it counts twice.
        rarities[-1:] = [rarities[-1], _STILL * rarities[-1]] if not empty else [0.0]
        rarities.sort()
        surprise = 0.5 * (rarities[-1] + rarities[-2]) + _THIRD * max(rarities[-3] - 1.0, 0.0)
        return surprise * math.sqrt(min(self._count / _SURE_VALUES, 1.0))

    def _range_known(self) -> float:
        """Return the weight of levels: less in a new, drifting series and in an hour that was never seen."""
        share = 1.0
        if self._days < _COLD_DAYS:
            # A drifting series is further from its day's mean than from its last values.
            share = min(1.2 * (self._recent_mean_error + 1e-12) / (self._forecast.day_spread + 1e-12), 1.0)
            share += (1.0 - share) * max(self._days - 1.0, 0.0) / (_COLD_DAYS - 1.0)
        return share * _NEW_HOUR if self._forecast.in_new_hour() else share

    def _learning_weight(self, surprise: float, days: float) -> float:
        """Return the weight with which the value is learned."""
        if surprise > _EPISODE:
            self._run += 1.0
        elif surprise < _CALM:
            self._run *= 0.8
            self._peak, self._event_peak = max(0.999 * self._peak, self._event_peak), 0.0
        if surprise > _DOUBTED:
            self._odd_days += days
        elif self._odd_days:
            self._odd_days = max(0.98 * self._odd_days - 2.0 * days, 0.0)
        doubt = max(1.0 / (1.0 + math.pow(10.0, surprise - _DOUBTED)), _LEAST_WEIGHT)
        return min(max(doubt, (self._odd_days / _USUAL_AFTER_DAYS) ** 2), 1.0)

    def _learn(self, value: float, days: float, weight: float) -> None:
        first, interval = 1.0 / self._count, self._interval / _DAY_S
        memory = self._forecast.learn(value, days, weight, interval=interval, first=first, known=self._days)
        follow = weight * max(first, min(1.0 / _CHANGE_VALUES, interval / memory))
        self._recent_mean_error += follow * (abs(value - self._recent_mean) - self._recent_mean_error)
        self._previous_error += follow * (abs(value - self._previous) - self._previous_error)
        self._recent_mean += _MOVING * (value - self._recent_mean)
        self._previous = value

    def _remember(self, days: float) -> None:
        """Count the figures of the indicators; a run of odd values counts as about one value until it is usual."""
        if self._count <= _MIN_VALUES - 10:
            return
        lasted = min(self._odd_days / _USUAL_AFTER_DAYS, 1.0)
        weight = max(math.pow(1.0 + self._run, -1.5), 0.5 * lasted * lasted, _LEAST_COUNT)
        fading = max(min(days / _MEMORY_DAYS, 1.0 / _MEMORY_VALUES), _FORGETTING / self._count)
        self._scorer.count(weight, math.exp(fading))


def _seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
