"""Dependency: hosts and databases that the bot calls and that fail, or are slow, compared with their own baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.model import Reading
from cogmeter.alerts.rules.failures import Failures
from cogmeter.alerts.rules.rule import DEPENDENCY_SERVICE, KEPT, Rule, beyond, duration, number, percent, severity
from cogmeter.recording.service_names import is_dependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import Bounds, RuleLimits

LEAST_RATE: Final = 0.0125  # a smaller usual error rate counts as this one: with the default threshold, 5% must fail
MOST_RATE: Final = 0.2  # a larger one counts as this one: otherwise some multiples would be above 100%
LEAST_P95_MS: Final = 100.0  # a smaller usual p95 counts as this one: nobody notices 8 ms instead of 2 ms


class _Factor(NamedTuple):
    """How many times its usual value a figure is."""

    breached: bool
    factor: float
    figure: float  # a p95 in milliseconds, or an error rate
    usual: float
    in_ms: bool  # the figure is a p95


def dependency(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the error rate and the p95 of dependencies with their usual values; the worse one counts."""
    listed = [place for place, service in enumerate(snapshot.services) if is_dependency(service)]
    if not listed:
        return
    places = np.array(listed, dtype=np.int64)
    bounds = limits.bounds(DEPENDENCY.name, snapshot.services).at(places)
    failing, slow = _failing(snapshot, places, bounds), _slow(snapshot, places, bounds)
    for at, place in enumerate(listed):
        found = [factors[at] for factors in (failing, slow) if at in factors]
        if found:
            yield _reading(snapshot.services[place], max(found), limits)


def _failing(snapshot: Snapshot, places: NDArray[np.int64], bounds: Bounds) -> dict[int, _Factor]:
    """Return the factors of error rates beyond the recovery threshold, by the place in ``places``."""
    failures = Failures.of_services(snapshot, places)
    rates = values.error_rates(*failures.spans[0])
    usual = np.clip(failures.usual(), LEAST_RATE, MOST_RATE)
    breached = (rates > bounds.threshold * usual) & failures.enough(bounds.min_operations)
    breached &= failures.no_chance(bounds.recovery * usual, bounds.min_operations, least=LEAST_RATE)
    continues = (rates > bounds.recovery * usual) & failures.enough(bounds.min_operations, share=KEPT)
    return {
        at: _Factor(
            bool(breached[at]),
            float(rates[at] / usual[at]),
            float(rates[at]),
            float(usual[at]),
            in_ms=False,
        )
        for at in np.flatnonzero(continues).tolist()
    }


def _slow(snapshot: Snapshot, places: NDArray[np.int64], bounds: Bounds) -> dict[int, _Factor]:
    """Return the factors of p95 beyond the recovery threshold, by the place in ``places``."""
    slow: dict[int, _Factor] = {}
    operations = snapshot.by_service.operations[places]
    enough = (operations >= KEPT * bounds.min_operations) & (operations > 0) & np.isfinite(bounds.threshold)
    for at in np.flatnonzero(enough).tolist():
        place = int(places[at])
        learned = snapshot.deviations.get(snapshot.services[place])
        if learned is None or learned.usual_p95_ms is None:
            continue
        usual_ms = max(learned.usual_p95_ms, LEAST_P95_MS)
        p95_ms = float(values.quantiles_ms(snapshot.buckets[place], 0.95))
        factor = p95_ms / usual_ms
        if factor > bounds.recovery[at]:
            breached = bool(factor > bounds.threshold[at] and operations[at] >= bounds.min_operations[at])
            slow[at] = _Factor(breached, factor, p95_ms, usual_ms, in_ms=True)
    return slow


def _reading(service: str, found: _Factor, limits: RuleLimits) -> Reading:
    subject = DEPENDENCY.subject(service)
    limit = limits.of(subject)
    allowed = limit.threshold * found.usual
    verb = "exceeds" if found.breached else "is still near"
    form, allowed = (duration, allowed) if found.in_ms else (percent, min(allowed, 1.0))
    what = "95th percentile response time" if found.in_ms else "Error rate"
    threshold, figure = form(allowed), form(found.figure)
    if found.breached:
        figure = beyond(figure, threshold)
    text = f"{what} of {figure} {verb} threshold of {threshold}, {number(limit.threshold)} times the usual value"
    return Reading(subject, found.factor, limit.threshold, text, severity(limit, found.factor), found.breached)


DEPENDENCY: Final = Rule(
    name="dependency",
    title="Dependency",
    unit="factor",
    setting="alert_threshold_dependency",
    find=dependency,
    about=DEPENDENCY_SERVICE,
    kept=KEPT,
    next_step="Check its status page, and add a timeout or a fallback",
    leads_to="stats",
    chart="timeline",
    replay=None,
    explained_by=("error_rate", "response_time"),
    degrades=True,
)
