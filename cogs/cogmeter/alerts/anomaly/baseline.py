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

ALERT_FROM: Final = 0.95  # the score from which on the product alerts

_DAY_S: Final = 86_400.0
_VERSION: Final = 1
_LARGEST: Final = 1e100  # of a value: products of differences stay finite

_CHANGE_VALUES: Final = 500  # the usual change from one value to the next is averaged over
_SHORT, _LONG = 0.15, 0.045  # shares by which the short-term and the long-term mean deviation follow
_ACTIVITY: Final = 0.1  # the same for how much the series moves
_MOVING: Final = 0.3  # and for the mean of the last few values
_CLIP: Final = 8.0  # one value's part in the mean deviations

_MIN_VALUES, _SURE_VALUES = 30, 200  # up to the first nothing is odd; from the second on the evidence counts fully
_COLD_DAYS: Final = 2.0  # until then, the range of a series that wanders is unknown
_NEW_HOUR: Final = 0.85  # of the evidence counts in an hour of the week that was never seen, if there is a rhythm
_THIRD: Final = 0.3  # of the third witness counts
_STILL: Final = 0.8  # of the witness of stillness counts as a second one
_SPARSE: Final = 0.85  # so large a share of zeros makes a single other value say less, ...
_ALONE: Final = 0.6  # ... by so much
_HALF: Final = 2.4  # decades of rarity that make a score of a half

_DOUBTED: Final = 3.0  # from so much surprise on, a value is learned with less weight, ...
_LEAST_TRUST: Final = 0.05  # ... by at least so much, ...
_PATIENCE_DAYS: Final = 2.5  # ... and fully when it has lasted so long: then it is usual
_EPISODE: Final = 2.0  # from so much surprise on, consecutive values are one event, ...
_CALM: Final = 1.5  # ... until it is below this, ...
_LEAST_COUNT: Final = 0.002  # ... and each of them counts so much at least
_MEMORY_DAYS: Final = 14.0  # of what is rare, ...
_MEMORY_VALUES: Final = 2000  # ... and at least so many values
_FORGETTING: Final = 2.0  # early on: what was odd while little was known is soon worth less


class Baseline:
    """The learned behaviour of one series; it scores the values in the order of their times.

    How a score is computed, each step from what was known before the value:

    1. *What was expected?* There are five forecasts: robust means over 2 hours, a day and a week, and the usual values
       of the hour of the day and of the hour of the week. A forecast has a vote if its error over the last days is at
       most 1.3 times the smallest one. Seasonal forecasts count when they are good; then plain windows do not.
       The deviation is the smallest among the voters', in units of their usual error: all of them have to agree that a
       value is odd, as do the models of Netdata's anomaly detection.
    2. *Six witnesses*: the deviation; the change against the last value and the last few; the short and the long mean
       of signed deviations (the anomaly likelihood of Lavin and Ahmad 2015 compares recent errors with all errors);
       and how much the series moves, more and less than usual.
    3. *How rare is that?* Each witness is compared with its own history (``rarity.py``): the share of values at which
       it was as large. So heavy tails, autocorrelation and regular spikes count as usual, without a model.
    4. ``surprise`` = half of the most surprised witness + half of the second + 0.3 (third - 1), in decades of rarity;
       less while few values are known. ``score = surprise^4 / (surprise^4 + 2.4^4)``: 0.03 at one in ten, 0.33 at one
       in a hundred, 0.71 at one in a thousand, 0.89 at one in ten thousand, 0.95 at one in a hundred thousand.
    5. *Learning*: an odd value has a twentieth of the weight, until the values have been odd for two days and a half. A
       run of odd values counts as about one event, so that an incident is as odd the next time.

    The product alerts from 0.95 on (``ALERT_FROM``); from 0.9 on a value is worth a look. Memory is about 25 kB
    and does not grow. It uses no clock and no random numbers: the same values have the same scores.
    """

    __slots__ = (
        "_activity", "_count", "_crest", "_days", "_empty", "_expectation", "_interval", "_long", "_moving",
        "_moving_error", "_oddness", "_peak", "_previous", "_previous_error", "_run", "_short", "_time", "_trouble",
        "_whole",
    )  # fmt: skip
    _NUMBERS: Final = (
        "_count", "_time", "_days", "_interval", "_whole", "_previous", "_previous_error", "_moving", "_moving_error",
        "_short", "_long", "_activity", "_run", "_trouble", "_peak", "_crest", "_empty",
    )  # fmt: skip

    def __init__(self) -> None:
        self._count = 0.0
        self._time = 0.0  # of the last value, seconds since 1970 UTC
        self._days = 0.0  # measured in all, without gaps
        self._interval = 0.0  # usual seconds from value to value
        self._whole = 1.0  # whether all values were whole numbers so far
        self._previous = self._moving = 0.0  # the last value, the mean of the last few
        self._previous_error = self._moving_error = 0.0
        self._short = self._long = 0.0  # mean deviations
        self._activity = 1.0
        self._run = 0.0  # values of the present event
        self._empty = 0.0  # share of the values that are 0
        self._peak = self._crest = 0.0  # the largest value of late, and of the present event
        self._trouble = 0.0  # days that the series has been odd for
        self._expectation = Forecast()
        self._oddness = RarityScorer(6)

    @property
    def days(self) -> float:
        """The number of days of data, without gaps. The usual value at this time is known after a day."""
        return self._days

    @property
    def usual(self) -> float:
        """The forecast of the last value, by the best forecaster; 0 without a value."""
        return self._expectation.best

    def update(self, time: float | datetime, value: float) -> float:
        """Return the score of a value, from 0 (usual) to 1 (never seen), and learn from it.

        ``time`` is in seconds since 1970 UTC, or a datetime, which is UTC if it has no zone. A value or a time that is
        not a finite number is a gap: it scores 0 and is not learned. Where a time is before the last one no time has
        passed, and a clock that was set back is believed from there on.
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
        deviation = self._expectation.deviation(value, grain)
        change = min(
            abs(value - self._moving) / (self._moving_error + grain),
            abs(value - self._previous) / (self._previous_error + grain),
        )
        if gap:  # the last values are not related to this one
            change, self._moving = min(change, abs(deviation)), value
        surprise = self._surprise(self._figures(deviation, change), empty=value == 0.0)
        self._learn(value, days, self._trust(surprise, days))
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
        made = cls()
        length = struct.calcsize(f"<{sum(1 for _ in made._numbers())}d")
        try:
            packed = zlib.decompressobj().decompress(state[1:], length + 1)
        except zlib.error as error:
            raise ValueError(f"The state of a baseline is damaged: {error}") from error
        if len(packed) != length:
            raise ValueError(f"The state of a baseline has {length} bytes, not {len(packed)}")
        numbers = struct.unpack(f"<{length // 8}d", packed)
        if any(map(math.isnan, numbers)):  # it would make every later score NaN
            raise ValueError("The state of a baseline has a value that is not a number")
        made._take(iter(numbers))
        return made

    def _numbers(self) -> Iterator[float]:
        for name in self._NUMBERS:
            yield getattr(self, name)
        yield from self._expectation.numbers()
        yield from self._oddness.numbers()

    def _take(self, numbers: Iterator[float]) -> None:
        for name in self._NUMBERS:
            setattr(self, name, next(numbers))
        self._expectation.take(numbers)
        self._oddness.take(numbers)

    def _begin(self, at_s: float, value: float) -> float:
        self._count, self._time = 1.0, at_s
        self._expectation.begin(value)
        self._previous = self._moving = value
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
        self._expectation.look(self._time)
        return days

    def _grain(self, value: float) -> float:
        """Return a difference too small to matter: half of a count, or a five-hundredth of the level."""
        if self._whole and not value.is_integer():
            self._whole = 0.0
        level = abs(self._expectation.level)
        if self._whole:
            return max(0.5, 0.002 * level)
        # Where nearly all values are 0, the others are compared with one another.
        size = 0.3 * (self._peak or abs(value)) - 30.0 * (level + self._expectation.spread)
        self._crest = max(self._crest, abs(value))
        return max(size, 0.002 * level) + 1e-12

    def _figures(self, deviation: float, change: float) -> tuple[float, ...]:
        """Return the figures of the six witnesses; each is about 1 for a usual value."""
        part = deviation if -_CLIP < deviation < _CLIP else math.copysign(_CLIP, deviation)
        self._short += _SHORT * (part - self._short)
        self._long += _LONG * (part - self._long)
        self._activity += _ACTIVITY * (min(change, 4.0) - self._activity)
        short = 2.0 * abs(self._short)
        # The long mean counts while the short one agrees: what is over is over.
        long = min(short, 5.0 * abs(self._long)) if self._short * self._long > 0.0 else 0.0
        return abs(deviation), change, short, long, self._activity, 1.0 / (self._activity + 0.02)

    def _surprise(self, figures: tuple[float, ...], *, empty: bool) -> float:
        """Return the decades of rarity; ``empty`` if the value is 0, and nothing can move."""
        found = self._oddness.surprises(figures)
        self._empty += max(1.0 / self._count, 0.005) * (empty - self._empty)
        if self._empty > _SPARSE:
            # Where nearly all values are 0, the few others are no measure of each other: one alone says little. And
            # a 0 is as usual, whatever was before it.
            found = [_ALONE * one for one in found] if empty else [*(_ALONE * one for one in found[:2]), *found[2:]]
        if self._count <= _MIN_VALUES:
            return 0.0
        if (share := self._range_known()) < 1.0:
            for place in (0, 2, 3):  # the witnesses of levels
                found[place] *= share
        # Stillness has no other witness, so it counts twice.
        found[-1:] = [found[-1], _STILL * found[-1]] if not empty else [0.0]
        found.sort()
        surprise = 0.5 * (found[-1] + found[-2]) + _THIRD * max(found[-3] - 1.0, 0.0)
        return surprise * math.sqrt(min(self._count / _SURE_VALUES, 1.0))

    def _range_known(self) -> float:
        """Return how far levels can be judged: not in a new series that wanders, nor in an hour never seen."""
        share = 1.0
        if self._days < _COLD_DAYS:
            # A series that wanders is further from its day's mean than from its last values.
            share = min(1.2 * (self._moving_error + 1e-12) / (self._expectation.day_spread + 1e-12), 1.0)
            share += (1.0 - share) * max(self._days - 1.0, 0.0) / (_COLD_DAYS - 1.0)
        return share * _NEW_HOUR if self._expectation.in_new_hour() else share

    def _trust(self, surprise: float, days: float) -> float:
        """Return the weight with which the value is learned."""
        if surprise > _EPISODE:
            self._run += 1.0
        elif surprise < _CALM:
            self._run *= 0.8
            self._peak, self._crest = max(0.999 * self._peak, self._crest), 0.0
        if surprise > _DOUBTED:
            self._trouble += days
        elif self._trouble:
            self._trouble = max(0.98 * self._trouble - 2.0 * days, 0.0)
        doubt = max(1.0 / (1.0 + math.pow(10.0, surprise - _DOUBTED)), _LEAST_TRUST)
        return min(max(doubt, (self._trouble / _PATIENCE_DAYS) ** 2), 1.0)

    def _learn(self, value: float, days: float, trust: float) -> None:
        first, interval = 1.0 / self._count, self._interval / _DAY_S
        memory = self._expectation.learn(value, days, trust, interval=interval, first=first, known=self._days)
        follow = trust * max(first, min(1.0 / _CHANGE_VALUES, interval / memory))
        self._moving_error += follow * (abs(value - self._moving) - self._moving_error)
        self._previous_error += follow * (abs(value - self._previous) - self._previous_error)
        self._moving += _MOVING * (value - self._moving)
        self._previous = value

    def _remember(self, days: float) -> None:
        """Count the figures of the witnesses; a run of odd values counts as about one, until it has become usual."""
        if self._count <= _MIN_VALUES - 10:
            return
        lasted = min(self._trouble / _PATIENCE_DAYS, 1.0)
        weight = max(math.pow(1.0 + self._run, -1.5), 0.5 * lasted * lasted, _LEAST_COUNT)
        fading = max(min(days / _MEMORY_DAYS, 1.0 / _MEMORY_VALUES), _FORGETTING / self._count)
        self._oddness.count(weight, math.exp(fading))


def _seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
