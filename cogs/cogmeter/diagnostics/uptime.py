"""The bot's uptime by day, from stored samples and critical alerts, and its present state, for people outside.

The bot is up while samples are stored in which a shard is connected. Samples are deleted with the operations, so the
sums of each day are stored under a key of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.measurement.gauges import CONNECTED, MEMORY
from cogmeter.alerts.model import CRITICAL
from cogmeter.alerts.rules import RULES
from cogmeter.diagnosis import DayUptime, PublicState, Status
from cogmeter.query.query import now_us
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert, AlertChange
    from cogmeter_storage.base import Store

KEY: Final = "uptime"
DAYS: Final = 90
TOLERATED_US: Final = 60_000_000  # a restart or reconnect of this length is no downtime
MOST_CHANGES: Final = 10_000  # of alerts that are read; before the newest, an alert has its first known severity
AHEAD_US: Final = DAY_US  # a record that ends further in the future is of a clock that was wrong
FIRED: Final = (AlertState.FIRING, AlertState.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class UptimeRecord:
    """The uptime of each day until a moment."""

    until_us: int | None = None  # None: nothing is known yet
    up: bool = False  # at that moment
    days: Mapping[int, DayUptime] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the record as it is stored."""
        days = {day.day: (day.observed_us, day.down_us, day.degraded_us) for day in self.days.values()}
        return json.dumps({"until_us": self.until_us, "up": self.up, "days": days}).encode()

    @classmethod
    def load(cls, stored: bytes | None) -> UptimeRecord:
        """Return a stored record; an empty one if there is none, or if it is damaged."""
        try:
            data: Any = json.loads(stored or b"{}")
            days = {int(day): DayUptime(int(day), *map(int, sums)) for day, sums in data.get("days", {}).items()}
            until_us = data.get("until_us")
            return cls(None if until_us is None else int(until_us), bool(data.get("up")), days)
        except (AttributeError, TypeError, ValueError, RecursionError):
            return cls()


def advance(
    record: UptimeRecord,
    seen_us: Sequence[int],
    now_us: int,
    *,
    interval_us: int,
    degraded: Sequence[tuple[int, int]] = (),
) -> UptimeRecord:
    """Continue a record to ``now_us``: the bot was up at the times ``seen_us``, which are in order and after its end.

    A gap between two of them is downtime if it is longer than the interval of the samples and TOLERATED_US.
    ``degraded`` are the times of critical alerts, which may overlap. Only the last DAYS days are kept.
    """
    if record.until_us is not None and record.until_us > now_us:
        if record.until_us - now_us <= AHEAD_US:
            return record  # the clock was set back: this time is counted already
        record = replace(record, until_us=now_us)
    merged, days = _merged(degraded), dict(record.days)
    until_us, up = record.until_us, record.up
    for start_us, until_us, up in _spans(record, seen_us, now_us, interval_us):
        for day, begin_us, end_us in _by_day(start_us, until_us):
            known, length_us = days.get(day, DayUptime(day)), end_us - begin_us
            days[day] = DayUptime(
                day,
                known.observed_us + length_us,
                known.down_us + (0 if up else length_us),
                known.degraded_us + (_overlap_us(merged, begin_us, end_us) if up else 0),
            )
    today = now_us // DAY_US
    return UptimeRecord(until_us, up, {day: known for day, known in days.items() if today - DAYS < day <= today})


def _spans(
    record: UptimeRecord, seen_us: Sequence[int], now_us: int, interval_us: int
) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, up) from the record's end on, without gaps; the last uptime ends at the last sample."""
    at_us, up, longest_us = record.until_us, record.up, interval_us + TOLERATED_US
    start_us = at_us or 0  # of the uptime that is not yielded yet
    for next_us in seen_us:
        if at_us is None or not up or next_us - at_us > longest_us:
            if at_us is not None:
                yield from _until(next_us, start_us, at_us, up=up, interval_us=interval_us)
            start_us = next_us
        at_us, up = next_us, True
    if at_us is None:
        return
    if up and now_us - at_us <= longest_us:
        yield start_us, at_us, True
    else:
        yield from _until(now_us, start_us, at_us, up=up, interval_us=interval_us)


def _until(end_us: int, start_us: int, seen_us: int, *, up: bool, interval_us: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the uptime up to one interval after it was last seen, and the downtime after it."""
    if up:
        yield start_us, seen_us + interval_us, True
        yield seen_us + interval_us, end_us, False
    else:
        yield seen_us, end_us, False


def _by_day(start_us: int, end_us: int) -> Iterator[tuple[int, int, int]]:
    """Yield (day, start, end) of each part of a time."""
    while start_us < end_us:
        day = start_us // DAY_US
        part_us = min(end_us, (day + 1) * DAY_US)
        yield day, start_us, part_us
        start_us = part_us


def _merged(times: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return times without overlaps, in order."""
    merged: list[tuple[int, int]] = []
    for start_us, end_us in sorted(times):
        if merged and start_us <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_us)
        else:
            merged.append((start_us, end_us))
    return merged


def _overlap_us(times: Sequence[tuple[int, int]], start_us: int, end_us: int) -> int:
    return sum(max(min(end, end_us) - max(start, start_us), 0) for start, end in times)


def degrades(alert: Alert) -> bool:
    """Return whether people outside notice an alert: it is critical, it fired, and its rule says so."""
    return alert.severity == CRITICAL and _may_degrade(alert)


def _may_degrade(alert: Alert) -> bool:
    """Return whether people outside notice an alert while it is critical."""
    rule = RULES.get(alert.rule)
    return alert.fired_us is not None and rule is not None and rule.degrades


async def service_days(store: Store, now_us: int, days: int) -> dict[str, list[DayUptime]]:
    """Return the last days of each service with a critical alert that people outside noticed, today last.

    Services without one have the days of ``""``. Nothing is known about days before the first record.

    Raises:
        StorageError: the store cannot be read.
    """
    first_us = await store.first_us()
    alerts: dict[str, list[tuple[int, int]]] = {"": []}
    since_us = (now_us // DAY_US - days + 1) * DAY_US
    for alert, times in await _noticed(store, since_us, now_us):
        alerts.setdefault(alert.service, []).extend(times)
    return {
        service: _alerted_days(
            _merged(times), now_us if first_us is None else max(first_us, since_us), since_us, now_us
        )
        for service, times in alerts.items()
    }


def _alerted_days(alerts: list[tuple[int, int]], known_us: int, since_us: int, now_us: int) -> list[DayUptime]:
    """Return the days of one service; it is observed from ``known_us`` on."""
    found = []
    for day, begin_us, end_us in _by_day(since_us, now_us):
        start_us = max(begin_us, known_us)
        degraded_us = _overlap_us(alerts, start_us, end_us) if start_us < end_us else 0
        found.append(DayUptime(day, max(end_us - start_us, 0), 0, degraded_us))
    return found


class Uptime:
    """The uptime of one bot. ``keep`` runs as a job, at least once within the retention of samples."""

    def __init__(self, monitor: Monitor, health: Health) -> None:
        self._monitor = monitor
        self._health = health
        self._record: UptimeRecord | None = None

    async def state(self) -> PublicState:
        """Return the present state. A bot that is still connecting is down: it does not answer its users."""
        gateway = next(check.status for check in await self._health.vital() if check.name == "gateway")
        if not gateway.serves:
            return PublicState.DOWN
        alerts = self._monitor.alerting.engine.active
        alerted = any(alert.state in FIRED and degrades(alert) for alert in alerts)
        return PublicState.DEGRADED if alerted or gateway is Status.DEGRADED else PublicState.UP

    async def days(self) -> list[DayUptime]:
        """Return the last DAYS days, today last."""
        record, today = await self._advanced(), now_us() // DAY_US
        return [record.days.get(day, DayUptime(day)) for day in range(today - DAYS + 1, today + 1)]

    async def keep(self) -> None:
        """Store the days until now."""
        record = await self._advanced()
        await self._monitor.store.set_value(KEY, record.dump())

    async def _advanced(self) -> UptimeRecord:
        """Return the record until now.

        Raises:
            StorageError: the store does not answer.
        """
        store, settings, end_us = self._monitor.store, self._monitor.settings, now_us()
        record = UptimeRecord.load(await store.get_value(KEY)) if self._record is None else self._record
        interval_us = int(settings.sample_interval * 1e6)
        if record.until_us is not None and record.until_us > end_us:
            record = advance(record, [], end_us, interval_us=interval_us)
        first_us = end_us - int(min(settings.retention_hours * HOUR_US, DAYS * DAY_US))
        since_us = first_us if record.until_us is None else max(record.until_us + 1, end_us - DAYS * DAY_US)
        degraded = await _degraded(store, since_us, end_us)
        while since_us < end_us:  # by day: a day of samples every 15 s is 5,760 rows
            part_us = min(since_us + DAY_US, end_us)
            seen_us = await _seen_us(store, since_us, part_us)
            record = advance(record, seen_us, part_us, interval_us=interval_us, degraded=degraded)
            since_us = part_us
        self._record = record
        return record


async def _seen_us(store: Store, since_us: int, until_us: int) -> list[int]:
    """Return the times of the samples in which the bot was up; without samples of the gateway, of all samples."""
    samples = await store.samples((CONNECTED, MEMORY), since_us, until_us)
    if samples[CONNECTED]:
        return [at_us for at_us, shards in samples[CONNECTED] if shards > 0]
    return [at_us for at_us, _ in samples[MEMORY]]


async def _degraded(store: Store, since_us: int, now_us: int) -> list[tuple[int, int]]:
    """Return the times of the alerts that people outside noticed since then."""
    return [span for _, times in await _noticed(store, since_us, now_us) for span in times]


async def _noticed(store: Store, since_us: int, now_us: int) -> list[tuple[Alert, list[tuple[int, int]]]]:
    """Return the alerts that people outside noticed since then, and when each was critical."""
    alerts = await store.alerting.alerts(FIRED)
    alerts += await store.alerting.alerts((AlertState.RESOLVED,), since_us=since_us)
    alerts = [alert for alert in alerts if _may_degrade(alert)]
    if not alerts:
        return []
    changes: dict[str, list[AlertChange]] = {}
    first_us = min(alert.started_us for alert in alerts)
    for change in await store.alerting.changes(since_us=first_us, limit=MOST_CHANGES):
        changes.setdefault(change.alert, []).append(change)
    times = [(alert, critical_times(alert, changes.get(alert.uid, ()), now_us)) for alert in alerts]
    return [(alert, spans) for alert, spans in times if spans]


def critical_times(alert: Alert, changes: Iterable[AlertChange], now_us: int) -> list[tuple[int, int]]:
    """Return when a fired alert was critical, as (start, end); without its changes, by the severity that it has now."""
    known = sorted(changes, key=lambda change: change.at_us)
    at_us, end_us = alert.fired_us or alert.started_us, alert.resolved_us or now_us
    severity, times = known[0].severity if known else alert.severity, []
    for change in known:
        if severity == CRITICAL and change.severity != CRITICAL:
            times.append((at_us, change.at_us))
        if change.severity != severity:
            at_us, severity = max(change.at_us, at_us), change.severity
    return [*times, (at_us, end_us)] if severity == CRITICAL else times
