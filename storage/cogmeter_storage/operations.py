"""What a search for single operations needs in every engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from cogmeter_storage.slot import Slot
    from cogmeter_storage.totals import Lookup


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """A filter for operations; by default all match."""

    outcomes: frozenset[int] = frozenset(Outcome)
    min_duration_us: int = 0  # inclusive

    @property
    def bits(self) -> int:
        """The outcomes as the bits of a number."""
        return sum(1 << outcome for outcome in self.outcomes)

    def may_be_in(self, slot: Slot, lookup: Lookup) -> bool:
        """Return True if the slot can contain a match among the series that ``lookup`` knows."""
        fitting = (lookup(slot.series) >= 0) & (slot.max_us >= self.min_duration_us)
        if not fitting.any():
            return False
        return bool(np.any(np.stack([slot.outcomes[outcome] for outcome in self.outcomes])[:, fitting]))


def parse_metadata(text: Any) -> dict[str, Any]:
    """Return the metadata of a stored operation."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = str(text)
    # cogmeter writes objects only; other values are still shown.
    return value if isinstance(value, dict) else {"metadata": value}
