"""A step of time is drawn when it shows something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cogmeter.schemas.base import TimeRange
from cogmeter.schemas.statistics import Series
from cogmeter_bot.sources.base import complete_steps

BEGAN = datetime(2026, 11, 28, 12, tzinfo=UTC)
STEP = timedelta(minutes=15)


def of(steps: int, seconds: float) -> Series:
    """A series of so many steps, of whose last one so many seconds have passed."""
    values = [1.0] * steps
    return Series(
        service=None,
        operation=None,
        time_range=TimeRange(since=BEGAN, until=BEGAN + max(steps - 1, 0) * STEP + timedelta(seconds=seconds)),
        step_seconds=int(STEP.total_seconds()),
        timestamps=[BEGAN + place * STEP for place in range(steps)],
        operations_per_minute=values,
        failures_per_minute=values,
        average_response_time=values,
        p50_response_time=values,
        p95_response_time=values,
        p99_response_time=values,
    )


@pytest.mark.parametrize(("seconds", "drawn"), [(10, 3), (300, 3), (899, 3), (900, 4)])
def test_a_step_that_has_just_begun_is_not_drawn_yet(seconds, drawn):
    assert complete_steps(of(4, seconds)) == drawn


@pytest.mark.parametrize("steps", [0, 1])
def test_what_is_all_that_there_is_is_drawn(steps):
    assert complete_steps(of(steps, 1)) == steps
