"""The distance between our clock and Discord's, estimated from the ``Date`` headers of its answers.

It is shown, and never part of a duration: those come from one clock alone.
"""

from __future__ import annotations

import email.utils
import math
from typing import Final

DRIFT: Final = 50e-6  # seconds per second that two clocks may part without being set: quartz is good for that


class ClockSkew:
    """How far our clock is ahead of Discord's, narrowed with each answer.

    A ``Date`` says the second in which an answer was made, so Discord's clock stood somewhere in [date, date + 1 s)
    while ours stood between sending and receiving. Each answer so gives bounds, at best one second apart; where in its
    second an answer falls is chance, so what the bounds of many have in common is much narrower. Bounds that have
    nothing in common mean that a clock was set, and all begins anew.
    """

    __slots__ = ("_at_s", "_date", "_date_s", "_least", "_most")

    def __init__(self) -> None:
        self._least, self._most = -math.inf, math.inf
        self._at_s = math.nan  # our clock at the last answer
        self._date = ""  # the last header, and what it says: answers of one second share it
        self._date_s: float | None = None

    def note(self, date_header: str, sent_wall_s: float, received_wall_s: float) -> None:
        """Take the ``Date`` of an answer, and when it was asked for and came by our clock (seconds since 1970).

        A header that is no date, and a clock that was set back in between, are left out.
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
        """Begin anew: our clock was set."""
        self._least, self._most, self._at_s = -math.inf, math.inf, math.nan

    @property
    def seconds(self) -> float | None:
        """How many seconds our clock is ahead of Discord's (negative: behind); None before the first answer."""
        return (self._least + self._most) / 2 if math.isfinite(self._most) else None

    @property
    def uncertainty_s(self) -> float:
        """The truth is at most this far from ``seconds``; infinite before the first answer."""
        return (self._most - self._least) / 2


def _seconds(date_header: str) -> float | None:
    """The seconds since 1970 of an HTTP date (RFC 9110, 5.6.7), None if it is none."""
    try:
        parts = email.utils.parsedate_tz(date_header)
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError, IndexError, TypeError):  # a proxy's header may be anything
        return None
