"""The newest gauges, and the history of some of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

DISCONNECTS: Final = "gateway.disconnects"
CONNECTED: Final = "gateway.shards_connected"
MEMORY: Final = "resources.memory_bytes"
MEMORY_LIMIT: Final = "resources.memory_limit_bytes"

TRAIL_US: Final = 600_000_000  # disconnects are counted within ten minutes
MOST_SAMPLES: Final = 1_200
MEDIAN_US: Final = 300_000_000  # memory is kept as medians of five minutes
MEDIANS: Final = 72  # six hours
SETTLING_US: Final = 1_800_000_000  # memory of the first half hour is no growth
STARTED_US: Final = 600_000_000  # nor is a rapid growth in the first ten minutes, while the bot loads its guilds
RAPID_US: Final = 60_000_000  # the time range of a rapid growth
RAPID_SAMPLES: Final = 4  # it has at least so many samples: a longer range if they are rarer
RAPID_SHARE: Final = 0.05  # of the limit that memory grows by in this range


class GaugeHistory:
    """The gauges of this process, sampled in order of time."""

    def __init__(self) -> None:
        self.values: Mapping[str, float] = {}
        self.at_us = 0
        self.most_connected = 0.0
        self._connected_us: int | None = None  # when the last shard was connected
        self._whole_us: int | None = None  # when the last time all of them were
        self._began_us: int | None = None
        self._disconnects: deque[tuple[int, float]] = deque(maxlen=MOST_SAMPLES)
        self._memory: list[float] = []  # of the current five minutes
        self._recent: deque[tuple[int, float]] = deque()  # memory within RAPID_US
        self._memory_bin = 0
        self._medians: deque[float] = deque(maxlen=MEDIANS)

    def take(self, at_us: int, values: Mapping[str, float]) -> None:
        """Add the gauges of one moment; a gauge that is not among them is no longer known."""
        self.values, self.at_us = values, at_us
        if self._began_us is None:
            self._began_us = at_us
        if DISCONNECTS in values:
            self._disconnects.append((at_us, values[DISCONNECTS]))
            # The newest one older than ten minutes stays: counting begins at it.
            while len(self._disconnects) > 1 and self._disconnects[1][0] <= at_us - TRAIL_US:
                self._disconnects.popleft()
        if CONNECTED in values:
            self._take_connected(at_us, values[CONNECTED])
        if MEMORY in values:
            self._take_recent(at_us, values[MEMORY])
        if MEMORY in values and at_us - self._began_us >= SETTLING_US:
            self._take_memory(at_us, values[MEMORY])

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock."""
        self.at_us += step_us
        for name in ("_connected_us", "_whole_us", "_began_us"):
            at_us = getattr(self, name)
            setattr(self, name, None if at_us is None else at_us + step_us)
        shifted = [(at_us + step_us, count) for at_us, count in self._disconnects]
        self._disconnects = deque(shifted, maxlen=MOST_SAMPLES)
        self._memory_bin += round(step_us / MEDIAN_US)
        self._recent = deque((at_us + step_us, memory) for at_us, memory in self._recent)

    def named(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Return the newest gauges with this prefix, by the rest of the name."""
        return ((name[len(prefix) :], value) for name, value in self.values.items() if name.startswith(prefix))

    def disconnects(self) -> float:
        """Return how often the connection was lost within ten minutes."""
        if not self._disconnects:
            return 0.0
        first, last = self._disconnects[0][1], self._disconnects[-1][1]
        return last - first if last >= first else last  # the counter was reset

    def lost_s(self) -> tuple[float, float]:
        """Return the seconds without any connected shard, and without all of them; 0 before the first connection."""
        if self._connected_us is None or self._whole_us is None:
            return 0.0, 0.0
        return (self.at_us - self._connected_us) / 1e6, (self.at_us - self._whole_us) / 1e6

    def memory(self) -> NDArray[np.float64]:
        """Return the process's memory in bytes: medians of five minutes over six hours, without the first half hour."""
        return np.array(self._medians)

    def rapid_growth(self) -> tuple[float, float]:
        """Return how fast memory grows, in bytes per second, and over how many seconds that was measured.

        0 if it does not grow in each third of the last minute, or by less than RAPID_SHARE of its limit.
        """
        limit = self.values.get(MEMORY_LIMIT, 0.0)
        if limit <= 0 or len(self._recent) < RAPID_SAMPLES:
            return 0.0, 0.0
        thirds = np.array_split([memory for _, memory in self._recent], 3)
        ends = [self._recent[0][1], *(float(third[-1]) for third in thirds)]
        (first_us, first), (last_us, last) = self._recent[0], self._recent[-1]
        if min(np.diff(ends)) <= 0 or last - first < RAPID_SHARE * limit:
            return 0.0, 0.0
        seconds = (last_us - first_us) / 1e6
        return (last - first) / seconds, seconds

    def _take_recent(self, at_us: int, memory: float) -> None:
        if self._began_us is None or at_us - self._began_us < STARTED_US:
            return
        if self._recent and at_us <= self._recent[-1][0]:
            return
        self._recent.append((at_us, memory))
        # The newest sample that is a minute old stays: the growth is measured from it.
        while len(self._recent) > RAPID_SAMPLES and self._recent[1][0] <= at_us - RAPID_US:
            self._recent.popleft()

    def _take_connected(self, at_us: int, connected: float) -> None:
        self.most_connected = max(self.most_connected, connected)
        if connected:
            self._connected_us = at_us
        if connected and connected >= self.most_connected:
            self._whole_us = at_us

    def _take_memory(self, at_us: int, value: float) -> None:
        number = at_us // MEDIAN_US
        if number != self._memory_bin and self._memory:
            self._medians.append(float(np.median(self._memory)))
            self._memory = []
        self._memory_bin = number
        self._memory.append(value)
        del self._memory[:-MOST_SAMPLES]
