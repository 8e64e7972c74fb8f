"""Whether so many operations failed that it is no chance, beside what fails on a usual day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.rules import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.rules.values import Counts, Values

FEWEST: Final = 3  # failures that make an error rate: among the fewest operations that count, two may be chance
HELD: Final = 0.5  # of what it takes to raise an alert keeps it: one at the edge would come and go
IMPROBABLE: Final = math.log(1e-5)  # that so many fail by chance: each service is looked at all day

UNLIKELY: Final = math.log(1e-2)  # the same of the window, where a longer stretch is improbable


@dataclass(frozen=True, slots=True)
class Failures:
    """Operations and failures over stretches that end now, and over the days before; each one value for a subject.

    The first stretch is the alert window, and part of ``days``. The longer ones find what is a little too much for
    long: of a hundred operations six failures are chance where three are usual, of a thousand sixty are not. They hold
    a trouble for a while after it is over, so that the window has to agree a little.
    """

    spans: Sequence[tuple[Counts, Counts]]
    days: tuple[Counts, Counts]

    def enough(
        self, min_operations: Counts | int, fewest: Counts | int = FEWEST, share: float = 1.0
    ) -> NDArray[np.bool_]:
        """Whether the window holds that share of the operations, and of the failures, that make a rate.

        Who asks for fewer operations than the fewest failures wants to hear of each failure.
        """
        operations, failures = self.spans[0]
        result: NDArray[np.bool_] = operations >= share * np.asarray(min_operations)
        result &= failures >= share * np.minimum(fewest, min_operations)
        return result

    def no_chance(self, recovery: Values | float, min_operations: Counts | int) -> NDArray[np.bool_]:
        """Whether more failed than what is usual for the subject explains.

        Where what is usual is itself beyond the recovery threshold, nothing is explained by it.
        """
        usual = self._usual()
        here, *longer = (values.excess(operations, failures, usual) for operations, failures in self.spans)
        result: NDArray[np.bool_] = (usual > recovery) | (np.asarray(min_operations) < FEWEST) | (here < IMPROBABLE)
        for span in longer:
            result |= (here < UNLIKELY) & (span < IMPROBABLE)
        return result

    def since(self, first: int) -> Failures:
        """The part from this place on."""
        spans = [(operations[first:], failures[first:]) for operations, failures in self.spans]
        return Failures(spans, (self.days[0][first:], self.days[1][first:]))

    def _usual(self) -> Values:
        (operations, failures), (days, failed) = self.spans[0], self.days
        return values.error_rates(np.maximum(days - operations, 0), np.maximum(failed - failures, 0))
