"""Learns the thresholds of a bot's services and operations from stored hours, and stores them."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final, TypeAlias

from cogmeter.alerts.model import BOT, Subject
from cogmeter.alerts.thresholds.calibration import (
    CALIBRATED_RULES,
    SETTLED_US,
    PeriodCollector,
    calibrated_from_us,
    dumped,
    learned,
    loaded,
)
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import BY_OPERATION, in_background
from cogmeter.startup import DamagedStateError
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cogmeter.alerts.thresholds.calibration import Periods
    from cogmeter.query.records import Calibrated
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord

KEY: Final = "alerts.calibration"  # in the store
EDITION_KEY: Final = "alerts.calibration.edition"  # changes with it, where several processes share the store
BY_HOUR_US: Final = 8 * DAY_US  # a longer history is read by days
LONGEST_US: Final = 30 * DAY_US  # of a subject with few operations
PIECE: Final = 200  # groups times hours that are read at once: a histogram of each is 12 kB

Name: TypeAlias = "tuple[str, str]"  # service and operation; an empty operation is the service as a whole


async def stored_limits(store: Store, settings: Settings) -> Limits:
    """Return the limits that a monitor with these settings has on this store."""
    return Limits(settings, await store.alerting.overrides(), await stored_calibration(store, settings))


async def stored_calibration(store: Store, settings: Settings) -> Mapping[Subject, Calibrated] | None:
    """Return what a monitor has learned; None if nothing is calibrated, or if it cannot be read."""
    stored = await store.get_value(KEY) if settings.alert_calibrate else None
    try:
        return None if stored is None else await asyncio.to_thread(loaded, stored)
    except DamagedStateError:  # the monitor reports it
        return None


async def read_periods(
    store: Store, groups: Sequence[Collection[int]], since_us: Sequence[int], until_us: int
) -> list[Periods]:
    """Return the periods of each group of series ids from its own start on; a series is in at most one group.

    The store reads on its own thread, and another thread counts.
    """
    step_us = HOUR_US if until_us - min(since_us, default=until_us) <= BY_HOUR_US else DAY_US
    periods: list[Periods] = []
    for first in range(0, len(groups), PIECE):
        part, starts_us = groups[first : first + PIECE], [at_us - at_us % step_us for at_us in since_us]
        places = {series: place for place, group in enumerate(part) for series in group}
        collector = PeriodCollector(starts_us[first : first + PIECE])
        piece_us = max(PIECE // len(part), 1) * step_us
        for start_us in range(min(starts_us), until_us, piece_us):
            end_us = min(start_us + piece_us, until_us)
            totals = await store.totals(start_us, end_us, groups=places, step_us=step_us)
            await asyncio.to_thread(collector.add, totals)
        periods += await asyncio.to_thread(collector.periods)
    return periods


class Calibrator:
    """What one monitor has learned. A settled threshold stays until it is forgotten by a command."""

    def __init__(self, limits: Limits) -> None:
        self.known: dict[Subject, Calibrated] = {}
        self._limits = limits
        self._restored = False  # until then, the stored thresholds are not overwritten
        self._changed = False  # since they were stored
        self._edition: bytes | None = None  # of what is in effect
        self._due_us: dict[Name, int] = {}  # when a subject is looked at again
        self._learning = asyncio.Lock()

    async def restore(self, store: Store) -> None:
        """Put the stored thresholds into effect.

        Raises:
            StorageError: they cannot be read now; ``learn`` tries again.
            DamagedStateError: they are damaged, and are learned again.
        """
        if not self._limits.settings.alert_calibrate:
            return
        stored = await store.get_value(KEY)
        try:
            known = {} if stored is None else await asyncio.to_thread(loaded, stored)
        except DamagedStateError:
            self._restored = True
            await self._take({})
            raise
        self._restored = True
        await self._take(known)

    async def follow(self, store: Store) -> None:
        """Put into effect what another process has learned and stored since the last time.

        Raises:
            StorageError: it cannot be read now.
        """
        if not self._limits.settings.alert_calibrate:
            return
        edition = await store.get_value(EDITION_KEY)
        if edition != self._edition:
            async with self._learning:
                await self.restore(store)
                self._edition = edition

    async def learn(self, store: Store, now_us: int) -> None:
        """Learn from the operations of each service and operation that is due, and store what is new.

        Raises:
            StorageError: the store does not answer.
        """
        if not self._limits.settings.alert_calibrate:
            return
        async with self._learning:
            if not self._restored:
                await self.restore(store)
            await self._learn(store, now_us)

    def covered(self, subject: Subject) -> list[Subject]:
        """Return the subjects with a learned threshold in effect that a reset of this subject is about.

        A subject without a service means all of its rule, one without an operation also the service's operations.
        """
        known = [one for one in self.known if _covers(subject, one)]
        return [one for one in known if self._limits.calibrated(one) is not None]

    async def learn_again(self, store: Store, subjects: Collection[Subject], now_us: int) -> None:
        """Forget the thresholds that these subjects cover, and learn them from the last three days."""
        if not self._limits.settings.alert_calibrate:
            return
        async with self._learning:
            forgotten = {known for subject in subjects for known in self.covered(subject)}
            for known in forgotten:
                del self.known[known]
                self._due_us.pop((known.service, known.operation), None)
            if forgotten:
                await self._take(self.known)
                self._changed = True
                await self.keep(store)
                await self._learn(store, now_us)

    async def keep(self, store: Store) -> None:
        """Store what was learned, unless what is stored could not be read yet."""
        if self._restored:
            await store.set_value(KEY, await asyncio.to_thread(dumped, dict(self.known)))
            self._changed = False
            if store.shared:
                self._edition = uuid.uuid4().bytes
                await store.set_value(EDITION_KEY, self._edition)

    async def move(self, store: Store) -> None:
        """Continue with another store: with what it has learned, else with what is known here.

        Raises:
            StorageError: the store does not answer.
        """
        known = await stored_calibration(store, self._limits.settings)
        if known is not None:
            self._restored, self._changed = True, False
            await self._take(known)
        else:  # the store is empty, or what it has is damaged
            await self.keep(store)

    async def _take(self, known: Mapping[Subject, Calibrated]) -> None:
        """Put thresholds into effect."""
        self.known = dict(known)
        self._limits.calibrate(dict(known))
        async for subject in paced(known):  # so that the next check does not compute all of them at once
            self._limits.of(subject)

    async def _learn(self, store: Store, now_us: int) -> None:
        rules = [rule for rule in CALIBRATED_RULES if self._limits.calibrates(rule)]
        groups = self._due(rules, await store.series(), now_us) if rules else {}
        starts_us = {name: self._start_us(rules, name, now_us) for name in groups}
        for names in _read_together(starts_us, now_us):
            since_us = [starts_us[name] for name in names]
            histories = await read_periods(store, [groups[name] for name in names], since_us, now_us)
            async for name, periods in paced(zip(names, histories, strict=True)):
                self._note(rules, name, periods, now_us)
        # Not "since the start of this run": the last run may have failed between its first subject and here.
        if self.known != self._limits.calibration:
            await self._take(self.known)
            self._changed = True
        if self._changed:
            await self.keep(store)

    def _due(self, rules: Sequence[str], series: Sequence[SeriesRecord], now_us: int) -> dict[Name, list[int]]:
        """Return the subjects to look at now with their series: services, operations, and all services together."""
        groups: dict[Name, list[int]] = {}
        for record in series:
            if in_background(record.service):
                continue
            groups.setdefault((BOT, ""), []).append(record.id)
            groups.setdefault((record.service, ""), []).append(record.id)
            if record.service in BY_OPERATION:
                groups.setdefault((record.service, record.operation), []).append(record.id)
        return {
            name: ids
            for name, ids in groups.items()
            if not now_us < self._due_us.get(name, 0) <= now_us + DAY_US  # the clock may have been set back
            and not all((one := self.known.get(Subject(rule, *name))) and one.settled for rule in rules)
        }

    def _start_us(self, rules: Sequence[str], name: Name, now_us: int) -> int:
        """Return where the history of a subject begins: three days ago, or earlier for a provisional threshold."""
        known = [self.known.get(Subject(rule, *name)) for rule in rules]
        began_us = [one.since_us for one in known if one is not None and not one.settled]
        return max(min([now_us - SETTLED_US, *began_us]), now_us - LONGEST_US)

    def _note(self, rules: Sequence[str], name: Name, periods: Periods, now_us: int) -> None:
        """Learn from the history of one subject, and decide when to look at it again."""
        for rule in rules:
            subject = Subject(rule, *name)
            result = learned(rule, periods, self.known.get(subject), now_us)
            if result is not None:
                self.known[subject] = result
        first_us = [periods.since_us + HOUR_US + calibrated_from_us(rule) for rule in rules]
        often = now_us - periods.since_us <= SETTLED_US
        later_us = now_us + (HOUR_US if often else DAY_US)
        self._due_us[name] = min([later_us, *(at_us for at_us in first_us if at_us > now_us)])


def _read_together(starts_us: Mapping[Name, int], now_us: int) -> list[list[Name]]:
    """Separate the subjects by the length of their histories, and those that share series."""
    parts: dict[tuple[bool, int], list[Name]] = {}
    for name, start_us in starts_us.items():
        level = 0 if name[0] == BOT else 2 if name[1] else 1
        parts.setdefault((now_us - start_us <= BY_HOUR_US, level), []).append(name)
    return list(parts.values())


def _covers(subject: Subject, other: Subject) -> bool:
    same_service = subject.service in {"", other.service}
    return subject.rule == other.rule and same_service and subject.operation in {"", other.operation}
