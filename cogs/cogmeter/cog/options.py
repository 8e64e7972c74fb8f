"""Options that several commands share: a period to choose, and a duration to type (``30m``, ``4h``, ``1h 30m``)."""

from __future__ import annotations

from typing import Final

from discord import app_commands

from cogmeter.alerts.review.muting import LONGEST_S, SHORTEST_S
from cogmeter.cog.responder import UserError
from cogmeter.query.records import Period
from cogmeter.redaction import shown
from cogmeter.render.escape import code
from cogmeter.times import parse_duration

DEFAULT: Final = Period.DAY.key
CHOICES: Final = [app_commands.Choice(name=period.label, value=period.key) for period in Period]


def seconds_of(typed: str) -> float:
    """The length in seconds, between a minute and 30 days.

    Raises:
        UserError: it is none; the text says what is.
    """
    words, total = typed.strip(), parse_duration(typed)
    if total is None:
        raise UserError(f"{code(shown(words), 50)} is not a duration. Use 30m, 4h, 1d or 1h 30m.")
    if not SHORTEST_S <= total <= LONGEST_S:
        raise UserError(f"{code(shown(words), 50)} is not between 1 minute and 30 days.")
    return total


def period_of(key: str) -> Period:
    """Return the period of a choice."""
    return next(period for period in Period if period.key == key)
