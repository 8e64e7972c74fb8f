"""Replays stored minutes: which alerts another limit would have fired, and which limits would fire fewer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.measurement.history import SIX_HOURS_S
from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.advice import advise
from cogmeter.alerts.review.minutes import read_minutes
from cogmeter.alerts.review.replay import NotReplayableError, episodes, history_of
from cogmeter.alerts.review.report import fired_in, report_of
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.keys import THRESHOLD, OverrideKey, span_of
from cogmeter.alerts.thresholds.learning import stored_calibration, stored_limits
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import WhatIf
from cogmeter.recording.background import paced
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cogmeter.alerts.model import Limit
    from cogmeter.alerts.review.minutes import Minutes
    from cogmeter.alerts.review.replay import Episode, RuleHistory
    from cogmeter.query.records import Advice, AlertReport, Range
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord

Stored: TypeAlias = "Mapping[str, Mapping[str, int]]"  # the ids of the stored series by service and operation
Histories: TypeAlias = "Callable[[Subject, Minutes, Limits], RuleHistory]"

MOST_SUBJECTS: Final = 20  # the busiest services, and operations of one service, whose minutes are read
BACK_US: Final = 7 * DAY_US
REPORTED: Final = 10_000  # alerts and transitions in a report
ADVISED: Final = 10  # the noisiest subjects that get advice


@dataclass(frozen=True, slots=True)
class ReplayedAlert:
    """An alert that the stored operations would have fired, with the limit and the statistic that it was judged by."""

    subject: Subject
    limit: Limit
    statistic: str
    episode: Episode


class Replayer:
    """A replay of the rules on a store. Long computations run in other threads."""

    def __init__(self, store: Store, settings: Settings, *, now_us: int) -> None:
        self._store = store
        self._settings = settings
        self._now_us = now_us
        self._policy = Policy(cooldown_s=settings.alert_cooldown)

    async def what_if(self, key: str, value: str) -> WhatIf:
        """Return the alerts of the last 7 days under this override, as far as minutes are kept.

        Raises:
            LimitError: the key or the value is not valid.
            NotReplayableError: the rule cannot be replayed.
        """
        subject = OverrideKey.parse(key).subject
        overrides = await self._store.alerting.overrides()
        calibration = await stored_calibration(self._store, self._settings)
        now = Limits(self._settings, overrides, calibration)
        changed = Limits(self._settings, {**overrides, key: Limits.check(key, value)}, calibration)
        if RULES[subject.rule].replay is None:
            raise NotReplayableError(subject.rule)
        since_us, until_us = await self._span()
        series = _by_service(await self._store.series())
        subjects, left_out = await self._subjects(subject, series, (now, changed), since_us)
        minutes = await self._minutes(subjects, series, since_us, until_us)
        histories = self._histories(since_us)

        def preview() -> WhatIf:
            then, present = (self._replayed(subjects, minutes, histories, limits) for limits in (changed, now))
            windows, too_few = _window_counts(subjects, minutes, histories, changed)
            return WhatIf(
                since_us,
                until_us,
                len(then),
                sum(alert.episode.length_us for alert in then),
                len(present),
                sum(alert.episode.length_us for alert in present),
                len(subjects),
                left_out,
                windows,
                too_few,
            )

        return await asyncio.to_thread(preview)

    async def alerts(self, rule: str) -> list[ReplayedAlert]:
        """Return the alerts of a rule in the last 7 days under the limits in effect, as far as minutes are kept.

        The alerts of a service and of its operations at the same time are one, as in ``what_if``.
        """
        limits = await stored_limits(self._store, self._settings)
        since_us, until_us = await self._span()
        series = _by_service(await self._store.series())
        subjects, _ = await self._subjects(Subject(rule, ""), series, (limits,), since_us)
        minutes = await self._minutes(subjects, series, since_us, until_us)
        return await asyncio.to_thread(self._replayed, subjects, minutes, self._histories(since_us), limits)

    async def advice(self, alerts: Sequence[Alert], span: Range) -> list[Advice]:
        """Return changes that remove most unacknowledged alerts, for the noisiest subjects."""
        noisy: dict[Subject, list[Alert]] = {}
        for alert in fired_in(alerts, span):
            if alert.rule in RULES and RULES[alert.rule].replay is not None:
                noisy.setdefault(Subject(alert.rule, alert.service, alert.operation), []).append(alert)
        series = _by_service(await self._store.series())
        known = [subject for subject in noisy if _ids(subject, series)]
        subjects = sorted(known, key=lambda subject: -len(noisy[subject]))[:ADVISED]
        since_us, until_us = await self._span()
        since_us, until_us = max(since_us, span.since_us), min(until_us, span.until_us)
        if not subjects or since_us >= until_us:
            return []
        limits = await stored_limits(self._store, self._settings)
        minutes = await self._minutes(subjects, series, since_us, until_us)
        histories = self._histories(since_us)

        def advise_all() -> list[Advice]:
            all_advice = [
                advise(
                    subject,
                    histories(subject, part, limits),
                    limits.of(subject),
                    [_acted(alert, until_us) for alert in noisy[subject] if alert.acknowledged_us is not None],
                    most=span_of(OverrideKey(subject, THRESHOLD)).most,
                    policy=self._policy,
                )
                for subject, part in zip(subjects, minutes, strict=True)
            ]
            return [advice for advice in all_advice if advice is not None]

        return await asyncio.to_thread(advise_all)

    def _replayed(
        self, subjects: Sequence[Subject], minutes: Sequence[Minutes], histories: Histories, limits: Limits
    ) -> list[ReplayedAlert]:
        """Return the alerts under these limits; those of a service and of its operations at the same time are one."""
        by_service: dict[str, list[ReplayedAlert]] = {}
        for affected, part in zip(subjects, minutes, strict=True):
            limit = limits.of(affected)
            alerts = episodes(histories(affected, part, limits), limit, self._policy)
            by_service.setdefault(affected.service, []).extend(
                ReplayedAlert(affected, limit, limits.statistic_of(affected), alert) for alert in alerts
            )
        return [alert for several in by_service.values() for alert in _united_alerts(several)]

    async def _span(self) -> tuple[int, int]:
        """Return the range of the last days, as far as minutes are kept and operations were recorded."""
        first_us = (await self._store.status()).first_end_us
        # The first window needs minutes too: where only hours are kept, an hour would count as one of its minutes.
        kept_us = int(self._settings.retention_hours * HOUR_US - self._settings.alert_window * 1e6)
        since_us = max(self._now_us - min(BACK_US, max(kept_us, 0)), first_us or 0)
        return min(since_us, self._now_us), self._now_us

    async def _subjects(
        self, target: Subject, series: Stored, limits: Sequence[Limits], since_us: int
    ) -> tuple[list[Subject], int]:
        """Return the subjects with a limit, the busiest first, and how many quieter ones are left out."""
        rule = RULES[target.rule]
        if rule.only_service or target.operation:
            only = rule.subject(rule.only_service or target.service, target.operation)
            return [only] if _ids(only, series) else [], 0
        services = [target.service] if target.service else sorted(series)
        subjects = [Subject(target.rule, service) for service in services]
        if rule.replay is not None and rule.replay.operations:
            subjects += [
                Subject(target.rule, service, operation)
                for service in services
                for operation in (series[service] if len(series.get(service, ())) > 1 else ())
            ]
        else:
            named = dict.fromkeys(subject for version in limits for subject in version.own(target.rule))
            subjects += [subject for subject in named if subject.operation and target.service in {"", subject.service}]
        active = [
            subject async for subject in paced(subjects) if any(version.of(subject).threshold for version in limits)
        ]
        busiest = await self._busiest(active, series, since_us)
        return busiest[:MOST_SUBJECTS], max(len(busiest) - MOST_SUBJECTS, 0)

    async def _busiest(self, subjects: Sequence[Subject], series: Stored, since_us: int) -> list[Subject]:
        """Return the subjects (all of one rule) with operations, the busiest first."""
        ids = [number for operations in series.values() for number in operations.values()]
        if not ids:
            return []
        places = {number: place for place, number in enumerate(ids)}
        totals = await self._store.totals(since_us, self._now_us, groups=places)
        counts = dict(zip(ids, totals.counts[0].tolist(), strict=True))
        volume = {subject: sum(counts[number] for number in _ids(subject, series)) async for subject in paced(subjects)}
        return sorted((subject for subject in subjects if volume[subject]), key=lambda subject: -volume[subject])

    async def _minutes(
        self, subjects: Sequence[Subject], series: Stored, since_us: int, until_us: int
    ) -> list[Minutes]:
        """Return the minutes of each subject.

        They begin early enough for a whole first window and for the usual error rate.
        """
        lead_us = int(max(self._settings.alert_window, SIX_HOURS_S) * 1e6)
        groups = [_ids(subject, series) for subject in subjects]
        return await read_minutes(self._store, groups, max(since_us - lead_us, 0), until_us)

    def _histories(self, since_us: int) -> Histories:
        """Return a function that computes each subject's history once: most changes do not change the statistic."""
        known: dict[tuple[Subject, str], RuleHistory] = {}

        def history(subject: Subject, minutes: Minutes, limits: Limits) -> RuleHistory:
            statistic = limits.statistic_of(subject)
            if (subject, statistic) not in known:
                whole = history_of(minutes, subject.rule, window_s=self._settings.alert_window, statistic=statistic)
                known[subject, statistic] = whole.since(since_us)
            return known[subject, statistic]

        return history


async def alert_report(store: Store, settings: Settings, span: Range) -> AlertReport:
    """Return the report on the alerts of a range, with advice.

    Raises:
        StorageError: the store cannot be read.
    """
    # Alerts that fired before the range and changed in it are read as well: the report leaves them out.
    alerts = await store.alerting.alerts(tuple(AlertState), since_us=span.since_us, limit=REPORTED)
    changes = await store.alerting.changes(since_us=span.since_us, limit=REPORTED)
    advice = await Replayer(store, settings, now_us=span.until_us).advice(alerts, span)
    return await asyncio.to_thread(report_of, alerts, changes, span, advice)


def _united_alerts(alerts: Iterable[ReplayedAlert]) -> list[ReplayedAlert]:
    """Merge overlapping alerts of one service, in order: the alert of the service as a whole represents all."""
    merged: list[ReplayedAlert] = []
    for alert in sorted(alerts, key=lambda alert: alert.episode.fired_us):
        if not merged or alert.episode.fired_us > merged[-1].episode.ended_us:
            merged.append(alert)
            continue
        known = merged[-1]
        first, last = known.episode, alert.episode
        kept = alert if known.subject.operation and not alert.subject.operation else known
        episode = replace(
            kept.episode,
            began_us=min(first.began_us, last.began_us),
            fired_us=first.fired_us,
            ended_us=max(first.ended_us, last.ended_us),
        )
        merged[-1] = replace(kept, episode=episode)
    return merged


def _window_counts(
    subjects: Sequence[Subject], minutes: Sequence[Minutes], histories: Histories, limits: Limits
) -> tuple[int, int]:
    """Return the number of windows with operations, and of those with too few operations for an alert."""
    windows = too_few = 0
    for affected, part in zip(subjects, minutes, strict=True):
        operations = histories(affected, part, limits).operations
        windows += int((operations > 0).sum())
        too_few += int(((operations > 0) & (operations < limits.of(affected).min_operations)).sum())
    return windows, too_few


def _by_service(series: Iterable[SeriesRecord]) -> Stored:
    ids: dict[str, dict[str, int]] = {}
    for record in series:
        ids.setdefault(record.service, {})[record.operation] = record.id
    return ids


def _ids(subject: Subject, series: Stored) -> list[int]:
    """Return the ids of the series that a subject's operations are in."""
    operations = series.get(RULES[subject.rule].measured_service(subject.service), {})
    return [number for operation, number in operations.items() if subject.operation in {"", operation}]


def _acted(alert: Alert, until_us: int) -> tuple[int, int]:
    return alert.started_us, alert.resolved_us or until_us
