"""Which steps of a series of time tell something already."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogmeter.schemas.series import Series


def drawn_steps(one: Series) -> int:
    """How many steps of a series are drawn: the last one not before a third of it has passed.

    The few operations of its first seconds would make a rate and percentiles that never were.
    """
    count = len(one.timestamps)
    passed_s = (one.time_range.until - one.timestamps[-1]).total_seconds() if count else 0.0
    return count - 1 if count > 1 and passed_s < one.step_seconds / 3 else count
