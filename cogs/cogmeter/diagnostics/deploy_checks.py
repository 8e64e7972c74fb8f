"""Checks what became worse an hour and a day after each deploy or new version; the results are stored.

One check compares every command, component, reply and service with its time before the deploy. Of all such checks, at
most one in twenty names anything that did not change: see ``query.comparison.worse``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.change_tests import stratified
from cogmeter.query.comparison import FEWEST, tested_strata, worse
from cogmeter.query.comparison_periods import APART_US, CHANGES, around, offered_markers
from cogmeter.query.comparison_samples import read_samples
from cogmeter.query.regressions import DONE, WAITING, DeployCheck, Regression
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import BY_OPERATION, in_background
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.query.change_tests import PeriodSample
    from cogmeter.query.comparison import Tested
    from cogmeter.query.comparison_periods import ComparisonPeriods
    from cogmeter.query.query import Query
    from cogmeter_storage.model import Marker

STAGES: Final = {"1 h": HOUR_US, "24 h": DAY_US}  # after a deploy
LATE_US: Final = {"1 h": 6 * HOUR_US, "24 h": 2 * DAY_US}  # until when a missed check is made up for
KEY: Final = "deploy_checks"  # of the stored results
KEPT: Final = 20  # latest checks
AT_ONCE: Final = 16  # subjects that are read at once: some megabytes each
MUTED_US: Final = 7 * DAY_US
CURRENT_US: Final = 2 * DAY_US  # how long a check needs attention

_logger = logging.getLogger("cogmeter.runtime")


@dataclass(frozen=True, slots=True)
class DeployCheckLog:
    """The stored checks, oldest first, and until when subjects are muted."""

    checks: tuple[DeployCheck, ...] = ()
    muted: Mapping[str, int] = field(default_factory=dict)

    def is_muted(self, regression: Regression, now_us: int) -> bool:
        """Return True if nothing is said about a command or service now."""
        return self.muted.get(_subject_key(regression), 0) > now_us

    def check(self, marker: int, stage: str) -> DeployCheck | None:
        """Return one check; None if it is not stored any more."""
        return next((one for one in self.checks if (one.marker, one.stage) == (marker, stage)), None)

    def loud(self, check: DeployCheck, now_us: int) -> tuple[Regression, ...]:
        """Return the regressions of a check that are not muted."""
        return tuple(one for one in check.regressions if not self.is_muted(one, now_us))


class DeployChecks:
    """Makes the checks of one bot that are due, and keeps their results in the store."""

    def __init__(self, query: Query) -> None:
        self._query = query

    async def log(self) -> DeployCheckLog:
        """Return the stored checks; none if a later version wrote them.

        Raises:
            StorageError: the store cannot be read.
        """
        stored = await self._query.store.get_value(KEY)
        try:
            values: Any = json.loads(stored) if stored else {}
            checks = tuple(_check_of(one) for one in values.get("checks", ()))
            return DeployCheckLog(checks, {str(key): int(until) for key, until in values.get("muted", {}).items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _logger.warning("The stored deploy checks cannot be read: %s", error)
            return DeployCheckLog()

    async def run_due(self) -> DeployCheck | None:
        """Make the check that is due, store its result and return it; None if none is due.

        Raises:
            StorageError: the store cannot be read or written.
        """
        log, markers, now_us = await self.log(), await offered_markers(self._query), self._query.now_us()
        due = next(
            (
                (marker, stage)
                for marker in _checked(markers)
                for stage, length_us in STAGES.items()
                if length_us <= now_us - marker.at_us <= length_us + LATE_US[stage]
                and log.check(marker.id, stage) is None
            ),
            None,
        )
        if due is None:
            return None
        marker, stage = due
        found, subjects = await self._regressions(around(marker, markers, now_us, longest_us=STAGES[stage]))
        known = log.check(marker.id, "1 h") if stage == "24 h" else None
        old = {_subject_key(one) for one in known.regressions} if known is not None else set()
        news = any(_subject_key(one) not in old and not log.is_muted(one, now_us) for one in found)
        check = DeployCheck(
            marker=marker.id,
            name=marker.name,
            at_us=marker.at_us,
            stage=stage,
            checked_us=now_us,
            subjects=subjects,
            regressions=tuple(found),
            post=WAITING if news else DONE,
        )
        await self._save(dataclasses.replace(log, checks=(*log.checks, check)[-KEPT:]))
        return check

    async def posted(self, check: DeployCheck, post: str) -> None:
        """Store how far the post about a check is: BEGUN or DONE.

        Raises:
            StorageError: the store cannot be written.
        """
        log = await self.log()
        key = (check.marker, check.stage)
        checks = (dataclasses.replace(one, post=post) if (one.marker, one.stage) == key else one for one in log.checks)
        await self._save(dataclasses.replace(log, checks=tuple(checks)))

    async def mute(self, marker: int, stage: str) -> DeployCheck | None:
        """Say nothing about what a check found for MUTED_US; return the check, None if it is not stored any more.

        Raises:
            StorageError: the store cannot be written.
        """
        log, now_us = await self.log(), self._query.now_us()
        check = log.check(marker, stage)
        if check is not None:
            muted = {key: until_us for key, until_us in log.muted.items() if until_us > now_us}
            muted |= {_subject_key(one): now_us + MUTED_US for one in check.regressions}
            await self._save(dataclasses.replace(log, muted=muted))
        return check

    async def current(self) -> tuple[DeployCheck, tuple[Regression, ...]] | None:
        """Return the last check of the last deploy if it found anything that is not muted.

        None if it is old, or if a later deploy has replaced what it checked.

        Raises:
            StorageError: the store cannot be read.
        """
        log, now_us = await self.log(), self._query.now_us()
        check = max(log.checks, key=lambda one: (one.at_us, one.checked_us), default=None)
        if check is None or now_us - check.checked_us > CURRENT_US:
            return None
        if await self.replaced(check):
            return None
        loud = log.loud(check, now_us)
        return (check, loud) if loud else None

    async def replaced(self, check: DeployCheck) -> bool:
        """Return whether a later deploy has replaced what was checked.

        Raises:
            StorageError: the store cannot be read.
        """
        markers = await offered_markers(self._query)
        return any(marker.kind in CHANGES and marker.at_us > check.at_us for marker in markers)

    async def _regressions(self, periods: ComparisonPeriods) -> tuple[list[Regression], int]:
        """Return what is worse, the most certain first, and the number of subjects with enough operations."""
        names, groups = await self._subjects(periods)
        tested: list[Tested] = []
        async for first in paced(range(0, len(names), AT_ONCE)):
            some = {series: group - first for series, group in groups.items() if first <= group < first + AT_ONCE}
            before = await read_samples(self._query, some, periods.before)
            after = await read_samples(self._query, some, periods.after)
            tested += await _all_tested([(one.sample, two.sample) for one, two in zip(before, after, strict=True)])
        found = [
            regression
            for name, one, (slower, failing) in zip(names, tested, worse(tested), strict=True)
            for regression in _regressions_of(name, one, slower=slower, failing=failing)
        ]
        return sorted(found, key=lambda one: one.p_value), sum(one.enough for one in tested)

    async def _subjects(self, periods: ComparisonPeriods) -> tuple[list[tuple[str, str]], dict[int, int]]:
        """Return the commands and services that have enough operations after the deploy, and the group of each series.

        Of a service whose operations are subjects of their own, each is one.
        """
        names: dict[tuple[str, str], list[int]] = {}
        for series in await self._query.store.series():
            if not in_background(series.service):
                operation = series.operation if series.service in BY_OPERATION else ""
                names.setdefault((series.service, operation), []).append(series.id)
        numbers = {series: number for number, ids in enumerate(names.values()) for series in ids}
        after = periods.after
        totals = await self._query.store.totals(after.since_us, after.until_us, groups=numbers)
        counts = totals.counts.sum(axis=0).tolist()
        kept = [name for name, count in zip(names, counts, strict=True) if count >= FEWEST]
        return kept, {series: number for number, name in enumerate(kept) for series in names[name]}

    async def _save(self, log: DeployCheckLog) -> None:
        values = {"checks": [asdict(check) for check in log.checks], "muted": dict(log.muted)}
        await self._query.store.set_value(KEY, json.dumps(values).encode())


def _checked(markers: Sequence[Marker]) -> list[Marker]:
    """Return the changes to check, the latest first; of several within an hour, only the last one."""
    changes = [marker for marker in markers if marker.kind in CHANGES]
    return [
        marker
        for place, marker in enumerate(changes)
        if place + 1 == len(changes) or changes[place + 1].at_us - marker.at_us > APART_US
    ][::-1]


async def _all_tested(pairs: Sequence[tuple[PeriodSample, PeriodSample]]) -> list[Tested]:
    return await asyncio.to_thread(lambda: [tested_strata(stratified(*pair)) for pair in pairs])


def _regressions_of(name: tuple[str, str], tested: Tested, *, slower: bool, failing: bool) -> list[Regression]:
    before, after = tested.figures
    found = []
    if slower:
        statistic = tested.latency.statistic
        values = (getattr(before, f"{statistic}_us"), getattr(after, f"{statistic}_us"))
        found.append(Regression(*name, statistic, *values, tested.operations, tested.latency.up))
    if failing:
        rates = (before.error_rate, after.error_rate)
        found.append(Regression(*name, "error_rate", *rates, tested.operations, tested.failures.up))
    return found


def _subject_key(regression: Regression) -> str:
    return f"{regression.service}\n{regression.operation}"


def _check_of(values: Mapping[str, Any]) -> DeployCheck:
    regressions = (
        Regression(**{**one, "operations": (int(one["operations"][0]), int(one["operations"][1]))})
        for one in values["regressions"]
    )
    return DeployCheck(**{**values, "regressions": tuple(regressions)})
