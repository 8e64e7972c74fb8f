"""The digest: what happened in a period, compared with the period before, and when its message is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.review.what_if import alert_report
from cogmeter.query.records import Digest, PeriodCost, Range
from cogmeter.recording.markers import ERROR
from cogmeter.recording.service_names import in_background
from cogmeter.times import us_of, utc, zone_of
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

    from cogmeter.diagnosis import Check
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.usage import DistinctCounts

MARKERS: Final = 100  # newest changes of a period
GROUPS: Final = 200  # error groups with the newest errors
RESOLVED_US: Final = 30 * DAY_US  # how old the last error of a group can be that was resolved in the period
DAILY, WEEKLY = "daily", "weekly"


@dataclass(frozen=True, slots=True)
class DigestPeriod:
    """The period whose digest is due, or was due last."""

    day: date  # on which it is due
    due_us: int
    range: Range


def digest_period(settings: Settings, now_us: int) -> DigestPeriod:
    """Return the last period that has ended by now, by the settings' time of day and time zone.

    Each local day has one due time: in the night in which clocks are set forward, a time that does not exist is that
    much later; of a time that exists twice, the first one counts. A day of 23 or 25 hours has a period of that length.
    """
    zone, weekly = zone_of(settings.time_zone), settings.digest == WEEKLY
    day = utc(now_us).astimezone(zone).date()
    if weekly:
        day -= timedelta(days=day.weekday())  # Monday
    step = timedelta(days=7 if weekly else 1)
    if _due_us(day, settings.digest_time, zone) > now_us:
        day -= step
    since_us, until_us = (_due_us(ends, settings.digest_time, zone) for ends in (day - step, day))
    return DigestPeriod(day, until_us, Range(since_us, until_us, "last 7 days" if weekly else "last 24 hours"))


def _due_us(day: date, time_of_day: str, zone: tzinfo) -> int:
    hour, minute = map(int, time_of_day.split(":"))
    return us_of(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))


async def read_digest(
    monitor: Monitor, span: Range, *, now: Collection[Check] = (), alerts_of: Range | None = None
) -> Digest:
    """Read what happened in a period; ``alerts_of`` is the period of the alert report, if it is another one.

    ``now`` are the checks of the services now.

    Raises:
        StorageError: the store cannot be read.
    """
    store = monitor.store
    summary = await monitor.query.summary(span)
    markers = await store.markers(span.since_us, span.until_us, limit=MARKERS)
    groups = await store.errors.groups(span.since_us, span.until_us, limit=GROUPS)
    groups.sort(key=lambda group: -group.count)
    return Digest(
        summary=summary,
        people=await _people(store, span),
        people_before=await _people(store, span.before),
        concerns=await monitor.attention.concerns(summary, monitor.alerting.engine.active, now=now),
        changes=tuple(marker for marker in markers if marker.kind != ERROR),
        new_errors=tuple(group for group in groups if _within(group.first_us, span)),
        reopened_errors=tuple(group for group in groups if _within(group.reopened_us, span)),
        resolved_errors=tuple(await _resolved(store, span)),
        report=await alert_report(store, monitor.settings, alerts_of or span),
        cost=await cost_of(store, span),
    )


async def cost_of(store: Store, span: Range) -> PeriodCost | None:
    """Return the cost of the UTC days that ended within the period; None if nothing was spent in them or before."""
    first, end = -(-span.since_us // DAY_US) - 1, span.until_us // DAY_US
    if span.since_us % DAY_US == 0:
        first += 1
    count = max(end - first, 1)
    first = end - count

    async def spent(since: int, until: int) -> float:
        groups = await store.costs.grouped(since * DAY_US, until * DAY_US)
        return sum(group.sums.micro_usd for group in groups) / 1e6

    dollars, before = await spent(first, end), await spent(first - count, first)
    if not dollars and not before:
        return None
    return PeriodCost(dollars, before, (utc(first * DAY_US).date(), utc((end - 1) * DAY_US).date()))


async def _people(store: Store, span: Range) -> DistinctCounts | None:
    """Return the distinct users and guilds of all services but the background ones; None if nobody is counted."""
    groups = {series.id: 0 for series in await store.series() if not in_background(series.service)}
    counts = await store.usage.distinct(span.since_us, span.until_us, groups=groups) if groups else []
    return counts[0] if counts and (counts[0].users or counts[0].guilds) else None


async def _resolved(store: Store, span: Range) -> list[ErrorGroup]:
    since_us = max(span.since_us - RESOLVED_US, 0)
    groups = await store.errors.groups(since_us, span.until_us, resolved=True, limit=GROUPS)
    return [group for group in groups if _within(group.resolved_us, span)]


def _within(at_us: int | None, span: Range) -> bool:
    return at_us is not None and span.since_us <= at_us < span.until_us
