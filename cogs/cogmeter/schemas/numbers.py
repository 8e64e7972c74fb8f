"""Numbers as the guide writes them: durations in milliseconds, rates as shares, whole numbers without a decimal point.

A duration keeps up to three decimals (a microsecond), as in the exports: operations that take less than a millisecond
would else all take 0.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import WithJsonSchema

from cogmeter.alerts.rules import KINDS

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]

_DIGITS: Final = 3  # of what an alert measured, if its rule is unknown


def rounded(value: float, digits: int) -> int | float:
    """The number with at most so many decimals; a whole one as an integer, as readers expect of counts."""
    cut = round(value, digits)
    return int(cut) if cut == int(cut) else cut


def ms(duration_us: float) -> int | float:
    """Microseconds as milliseconds with up to three decimals."""
    return rounded(duration_us / 1000, 3)


def ms_or_none(duration_us: float | None) -> int | float | None:
    """The same where there may be no operation that took any time."""
    return None if duration_us is None else ms(duration_us)


def rate(share: float) -> int | float:
    """A share from 0 to 1 with three decimals, as in the guide: 0.028."""
    return rounded(share, 3)


def measured(rule: str, value: float, *, threshold: bool = False) -> int | float | None:
    """What an alert rule measured, in the rule's unit; a threshold keeps one digit more.

    None where it is no finite number, for which JSON has no word.
    """
    digits = (KINDS[rule].digits if rule in KINDS else _DIGITS) + threshold
    return rounded(value, digits) if math.isfinite(value) else None
