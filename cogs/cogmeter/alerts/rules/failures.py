"""Decides if more operations failed than chance explains, compared with the usual error rate."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.history import HALF_HOUR_S, HOUR_S, THREE_DAYS_S
from cogmeter.alerts.rules.rule import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.measurement.values import CountArray, Values
    from cogmeter.alerts.model import Reading, Subject
    from cogmeter.alerts.rules.rule import Bounds, Rule, RuleLimits

FEWEST: Final = 3  # failures for an error rate: among the fewest operations, two may be chance
KNOWN: Final = 500  # earlier operations from which a usual share of ``least`` or more is known
IMPROBABLE: Final = math.log(1e-5)  # the accepted probability of chance; each service is checked all day
LONGER_S: Final = (HALF_HOUR_S, HOUR_S)  # windows that detect a small but lasting excess
UNLIKELY: Final = math.log(1e-2)  # the bound for the alert window, if a longer window is improbable


@dataclass(frozen=True, slots=True)
class Failures:
    """Operations and failures over windows that end now, and over the days before; one value for each subject.

    The first window is the alert window, and part of ``days``. The longer ones find a small excess that lasts: where
    three of a hundred fail usually, six of a hundred are chance, sixty of a thousand are not. They contain the failures
    of an incident for a while after it is over, so the alert window has to agree a little.
    """

    spans: Sequence[tuple[CountArray, CountArray]]
    days: tuple[CountArray, CountArray]

    @classmethod
    def of_services(cls, snapshot: Snapshot, places: NDArray[np.int64]) -> Failures:
        """Return the failures of the services at some places."""
        counts = snapshot.by_service
        spans = [(counts.operations, counts.failures), *map(snapshot.history.totals, LONGER_S)]
        days = snapshot.history.totals(THREE_DAYS_S)
        return cls([(ran[places], failed[places]) for ran, failed in spans], (days[0][places], days[1][places]))

    def enough(
        self, min_operations: CountArray | int, fewest: CountArray | int = FEWEST, share: float = 1.0
    ) -> NDArray[np.bool_]:
        """Return whether the window has that share of the minimum of operations and of failures.

        With a minimum of operations below ``fewest``, that minimum applies to failures as well.
        """
        operations, failures = self.spans[0]
        result: NDArray[np.bool_] = operations >= share * np.asarray(min_operations)
        result &= failures >= share * np.minimum(fewest, min_operations)
        return result

    def no_chance(
        self, recovery: Values | float, min_operations: CountArray | int, *, least: float = 0.0
    ) -> NDArray[np.bool_]:
        """Return whether more operations failed than the usual error rate, or ``least`` if that is more, explains.

        A usual error rate beyond the recovery threshold explains nothing.
        """
        usual = np.maximum(self.usual(), least)
        known = (not least) | (self.days[0] - self.spans[0][0] >= KNOWN)  # the first minutes may be chance, too
        here, *longer = (values.excess(operations, failures, usual) for operations, failures in self.spans)
        result: NDArray[np.bool_] = (
            ((usual > recovery) & known) | (np.asarray(min_operations) < FEWEST) | (here < IMPROBABLE)
        )
        for span in longer:
            result |= (here < UNLIKELY) & (span < IMPROBABLE)
        return result

    def since(self, first: int) -> Failures:
        """Return the part from this place on."""
        spans = [(operations[first:], failures[first:]) for operations, failures in self.spans]
        return Failures(spans, (self.days[0][first:], self.days[1][first:]))

    def usual(self) -> Values:
        """Return the usual error rate: that of the days before the alert window."""
        (operations, failures), (days, failed) = self.spans[0], self.days
        return values.error_rates(np.maximum(days - operations, 0), np.maximum(failed - failures, 0))


def beyond(operations: CountArray, failures: CountArray, bounds: Bounds) -> NDArray[np.int64]:
    """Return the places with shares beyond the recovery threshold, and enough operations to keep an alert active."""
    enough = (operations >= KEPT * bounds.min_operations) & (operations > 0)
    return np.flatnonzero((values.error_rates(operations, failures) > bounds.recovery) & enough)


def readings(
    rule: Rule,
    text: Callable[[float], str],
    subjects: Sequence[Subject],
    failures: Failures,
    bounds: Bounds,
    *,
    fewest: CountArray | int,
    limits: RuleLimits,
    least: float = 0.0,
) -> Iterator[Reading]:
    """Build the readings of shares; ``text`` is the beginning of a message, ``least`` as in ``Failures.no_chance``.

    Fewer failures are needed to keep an alert active than to raise it.
    """
    operations, failed = failures.spans[0]
    shares = values.error_rates(operations, failed)
    continues = failures.enough(bounds.min_operations, fewest, KEPT)
    breached = (shares > bounds.threshold) & failures.enough(bounds.min_operations, fewest)
    breached &= failures.no_chance(bounds.recovery, bounds.min_operations, least=least)
    for place in np.flatnonzero(continues).tolist():
        subject, share = subjects[place], float(shares[place])
        reading = rule.reading(subject, share, limits.of(subject), text(share))
        yield dataclasses.replace(
            reading,
            breached=reading.breached and bool(breached[place]),
            operations=int(operations[place]),
            failures=int(failed[place]),
        )
