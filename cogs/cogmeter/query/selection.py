"""What happened in a selected range: figures, alerts, slowest operations and why, failures, and markers.

Every surface that opens a point of a chart shows the result of ``select``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.query.slow import slow_runs
from cogmeter.recording.service_names import in_background
from cogmeter_storage.alerting import ACTIVE, AlertState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Overview, Range
    from cogmeter.query.slow import SlowRun
    from cogmeter_storage.alerting import Alert, AlertStore
    from cogmeter_storage.model import FailureGroup, Marker, OperationRecord

LISTED: Final = 8  # slowest operations, groups of failures
MOST_ALERTS: Final = 20
_READ: Final = 200  # alerts


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that happened in the selected range."""

    range: Range
    service: str | None  # None: all but background services
    operation: str | None
    figures: Figures
    before: Figures  # of the range of the same length before it
    alerts: Sequence[Alert]  # newest first
    left_out: int  # alerts
    slowest: Sequence[OperationRecord]
    runs: Sequence[SlowRun]  # with a trace: why they were slow
    failures: Sequence[FailureGroup]
    markers: Sequence[Marker]


async def select(
    query: Query, span: Range, service: str | None = None, operation: str | None = None, *, markers: Sequence[Marker]
) -> Selection:
    """Return what happened in a range, to all services, to one, or to one operation.

    ``service`` may be a label such as "/ask". ``markers`` are those of the range: a running bot has some that are not
    stored yet.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    if service is not None:
        service, operation = await query.subject_of(service, operation)
    store = query.store
    alerts = sorted(await fired_alerts(store.alerting, span, service), key=lambda alert: -alert.started_us)
    ids = await query.ids(service, operation)
    # Background services such as loops are slow by nature: they are listed on their own pages.
    series = [one.id for one in await store.series() if not in_background(one.service)] if ids is None else ids
    overview = await query.overview(span)
    figures, before = await _figures(query, overview, service, operation)
    return Selection(
        span,
        service,
        operation,
        figures,
        before,
        alerts[:MOST_ALERTS],
        max(len(alerts) - MOST_ALERTS, 0),
        await store.slowest(series, span.since_us, span.until_us, limit=LISTED),
        [run for run in (await slow_runs(query, span, service, operation, overview=overview)).runs if run.traced],
        await store.failure_groups(ids, span.since_us, span.until_us, limit=LISTED),
        markers,
    )


async def fired_alerts(store: AlertStore, span: Range, service: str | None) -> list[Alert]:
    """Return the alerts that fired and overlap a range, resolved ones first.

    Raises:
        StorageError: the store cannot be read.
    """
    resolved = await store.alerts([AlertState.RESOLVED], since_us=span.since_us, service=service, limit=_READ)
    active = await store.alerts(ACTIVE, service=service, limit=_READ)
    alerts = (*resolved, *active)
    return [alert for alert in alerts if alert.fired_us is not None and alert.started_us < span.until_us]


async def _figures(
    query: Query, overview: Overview, service: str | None, operation: str | None
) -> tuple[Figures, Figures]:
    """Return the figures of the range and of the one before it."""
    if service is not None:
        stats = await query.stats(service, operation, overview.range)
        return stats.total, stats.before
    return overview.total, (await query.overview(overview.range.before)).total
