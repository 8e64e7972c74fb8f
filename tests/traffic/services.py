"""The services whose traffic is made up: how much, how slow, how often it fails, and how that follows day and week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
ONE = (("query", 1.0),)
EPOCH_TO_MONDAY_S = 4 * DAY_S  # 1970-01-05


@dataclass(frozen=True, slots=True)
class Service:
    """One service; the share of each of its operations adds up to 1."""

    name: str
    per_minute: float  # at its busiest
    median_ms: float
    failing: float = 0.0005  # share that fails on a good day
    logging: float = 0.001  # share that logs errors on a good day
    swing: float = 0.5  # of the volume that is missing at the quietest hour, 4:00 UTC
    weekend: float = 1.0  # the volume at weekends, as a share
    office: bool = False  # from about 8 to 18 on weekdays, and a fifth of it otherwise
    spread: float = 0.5  # of the logarithm of durations
    operations: tuple[tuple[str, float], ...] = (("query", 0.7), ("store", 0.3))

    def volume(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The volume at these times, as a share of the busiest."""
        day = times_s % DAY_S / DAY_S
        weekend = (times_s - EPOCH_TO_MONDAY_S) % (7 * DAY_S) >= 5 * DAY_S
        if self.office:
            busy = np.clip((5.75 - np.abs(24 * day - 13)) / 1.5, 0.0, 1.0)  # rises and falls within an hour and a half
            return 0.2 + 0.8 * np.where(weekend, 0.0, busy)
        share = 1.0 - self.swing * (1.0 + np.cos(2 * np.pi * (day - 4 / 24))) / 2
        return share * np.where(weekend, self.weekend, 1.0)


QUIET = (
    Service("daily-rhythm", 70, 300, swing=0.9),
    Service("office-hours", 50, 400, office=True),
    Service("steady", 40, 900, swing=0.0),
    # A few operations an hour, of which now and then one fails.
    Service("low-traffic", 0.07, 1_500, failing=0.1, swing=0.3),
    # Some always fail, fewer than the threshold allows: by chance, a window now and then holds more.
    Service("some-failures", 30, 300, failing=0.02),
    # Some always log errors, fewer than the threshold allows.
    Service("some-logged-errors", 12, 300, logging=0.05, operations=ONE),
    Service("few-with-failures", 4.5, 500, failing=0.012, swing=0.1),
    # Dependencies: a usual one, a quick one, and one that always fails sometimes and varies in its durations.
    Service("http.api.example.com", 60, 400, failing=0.003, swing=0.6, operations=(("GET", 0.8), ("POST", 0.2))),
    Service("db.postgresql", 90, 3, swing=0.5, operations=(("SELECT", 0.9), ("INSERT", 0.1))),
    Service("http.unreliable.example", 12, 900, failing=0.05, spread=0.9, operations=(("GET", 1.0),)),
)

SERVICES = (
    *QUIET,
    Service("sentiment-analysis", 45, 180, operations=ONE),
    Service("web-crawling", 30, 1_100, swing=0.3),
    Service("multimodal-processing", 25, 2_000, spread=0.4),
    Service("context-memory", 40, 1_100, spread=0.4),
    Service("knowledge-graph", 50, 150),
    Service("core-intelligence", 45, 700, weekend=0.8),
    Service("link-preview", 35, 250, swing=0.3, operations=ONE),
    Service("transcripts", 20, 900, swing=0.3, operations=ONE),
    Service("answers", 15, 1_200, swing=0.3, logging=0.01, operations=ONE),
    Service("reminders", 6, 200, swing=0.3, operations=ONE),
    Service("translation", 65, 220, swing=0.2, operations=ONE),
    Service("payments", 40, 300, failing=0.02, swing=0.2),
    Service("http.models.example", 20, 1_500, spread=0.6, operations=(("POST", 1.0),)),
    Service("http.weather.example", 25, 250, failing=0.01, operations=(("GET", 1.0),)),
    Service("image-search", 80, 350, swing=0.3, operations=(("find", 0.65), ("rank", 0.27), ("ocr", 0.08))),
)
