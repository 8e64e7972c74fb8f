"""Lengths of time as people type them: ``30m``, ``4h``, ``1d``, ``1h 30m``."""

from __future__ import annotations

import re
from typing import Final

from cogmeter.alerts.review.muting import LONGEST_S, SHORTEST_S
from cogmeter.cog.desk import Refusal
from cogmeter.redact import shown
from cogmeter.render.escape import code

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|m|h|d|w)[a-z]*\s*", re.IGNORECASE)


def seconds_of(typed: str) -> float:
    """The length in seconds, between a minute and 30 days.

    Raises:
        Refusal: it is none; the text says what is.
    """
    place, total = 0, 0.0
    words = typed.strip()
    while place < len(words) and (part := _PART.match(words, place)) is not None:
        total += float(part[1]) * UNITS_S[part[2].lower()]
        place = part.end()
    if not words or place < len(words):
        raise Refusal(f"{code(shown(words), 50)} is no length of time; write 30m, 4h, 1d or 1h 30m.")
    if not SHORTEST_S <= total <= LONGEST_S:
        raise Refusal(f"{code(shown(words), 50)} is not between 1 minute and 30 days.")
    return total
