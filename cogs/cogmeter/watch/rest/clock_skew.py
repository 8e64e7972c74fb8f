"""The difference between this machine's clock and Discord's, estimated from the ``Date`` headers of responses.

It is shown only: durations come from one clock.
"""

from __future__ import annotations

import email.utils
import math
from typing import Final

DRIFT: Final = 50e-6  # seconds per second that two quartz clocks may drift apart


class ClockSkew:
    """Bounds of how far the machine's clock is ahead of Discord's, narrowed with each response.

    A ``Date`` is the second in which a response was made, so Discord's clock was in [date, date + 1 s) while the
    machine's clock was between sending and receiving. Each response gives bounds that are at best one second apart. The
    responses fall at random moments of their second, so the intersection of many bounds is much narrower. An empty
    intersection means that a clock was set, and the estimate starts again.
    """

    __slots__ = ("_at_s", "_date", "_date_s", "_least", "_most")

    def __init__(self) -> None:
        self._least, self._most = -math.inf, math.inf
        self._at_s = math.nan  # the machine's clock at the last response
        self._date = ""  # the last header and its parsed value: responses of one second share it
        self._date_s: float | None = None

    def note(self, date_header: str, sent_wall_s: float, received_wall_s: float) -> None:
        """Narrow the bounds with the ``Date`` of a response and the machine's times of sending and receiving.

        An invalid header is ignored, and so is a response during which the machine's clock was set back.
        """
        if date_header != self._date:
            self._date, self._date_s = date_header, _seconds(date_header)
        if self._date_s is None or received_wall_s < sent_wall_s:
            return
        least, most = sent_wall_s - self._date_s - 1.0, received_wall_s - self._date_s
        aged = 0.0 if math.isnan(self._at_s) else abs(received_wall_s - self._at_s) * DRIFT
        self._at_s = received_wall_s
        self._least, self._most = max(self._least - aged, least), min(self._most + aged, most)
        if self._least > self._most:
            self._least, self._most = least, most

    def clear(self) -> None:
        """Start the estimate again after the machine's clock was set."""
        self._least, self._most, self._at_s = -math.inf, math.inf, math.nan

    @property
    def seconds(self) -> float | None:
        """Return how many seconds the machine's clock is ahead of Discord's; None before the first response."""
        return (self._least + self._most) / 2 if math.isfinite(self._most) else None

    @property
    def uncertainty_s(self) -> float:
        """Return the maximum error of ``seconds``; infinite before the first response."""
        return (self._most - self._least) / 2

    @property
    def ahead_s(self) -> float | None:
        """Return how many seconds the clock is at least ahead of Discord's; None before the first response."""
        return None if self.seconds is None else self.seconds - self.uncertainty_s


def _seconds(date_header: str) -> float | None:
    """Return the seconds since 1970 of an HTTP date (RFC 9110, 5.6.7), None if it is invalid."""
    try:
        parts = email.utils.parsedate_tz(date_header)
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError, IndexError, TypeError):  # a proxy's header may be anything
        return None
