"""The ``period`` option that the commands share."""

from __future__ import annotations

from typing import Final

from discord import app_commands

from cogmeter.records import Period

DEFAULT: Final = Period.DAY.key
CHOICES: Final = [app_commands.Choice(name=period.label, value=period.key) for period in Period]


def period_of(key: str) -> Period:
    """The period that a choice stands for."""
    return next(period for period in Period if period.key == key)
