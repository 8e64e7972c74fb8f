"""The public status: the bot's state and its uptime by day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.diagnosis import PublicState
from cogmeter.query.query import now_us
from cogmeter.schemas.base import Number, Schema
from cogmeter.schemas.times import Instant
from cogmeter.times import utc
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from cogmeter.diagnosis import DayUptime

DIGITS = 4  # of an uptime; rounded down, so that a short outage is not 100%


class UptimeDay(Schema):
    """The uptime of one day in UTC."""

    date: str = Field(examples=["2025-08-17"])
    status: PublicState | None = Field(description="null where nothing is known")
    uptime: Number | None = Field(description="Share of the observed time, 0 to 1")


class PublicStatus(Schema):
    """The bot's state, and the uptime of the last 90 days."""

    status: PublicState
    uptime: Number | None = Field(description="Share of the observed time of all days, 0 to 1")
    days: list[UptimeDay] = Field(description="Oldest first")
    timestamp: Instant

    @classmethod
    def of(cls, state: PublicState, days: Sequence[DayUptime]) -> Self:
        """Build it from the present state and the days."""
        observed_us, down_us = sum(day.observed_us for day in days), sum(day.down_us for day in days)
        return cls(
            status=state,
            uptime=_floor(1 - down_us / observed_us) if observed_us else None,
            days=[
                UptimeDay(date=f"{utc(day.day * DAY_US):%Y-%m-%d}", status=day.state, uptime=_floor(day.share))
                for day in days
            ],
            timestamp=utc(now_us()),
        )


def _floor(share: float | None) -> float | None:
    return None if share is None else math.floor(share * 10**DIGITS + 1e-6) / 10**DIGITS
