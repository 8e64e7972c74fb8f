"""The incident context of an alert: who is affected, the most common error, an example, and recent changes."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT
from cogmeter.alerts.rules import RULES
from cogmeter.query.records import IncidentContext
from cogmeter.recording import service_names
from cogmeter.redaction import without_ids
from cogmeter_storage.error_groups import kind_of
from cogmeter_storage.model import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

READ: Final = 500  # operations that are looked at one by one
BEFORE_US: Final = HOUR_US  # what changed longer ago is not listed
MARKERS: Final = 20

_PERSON = re.compile(r"[0-9a-f]{8}")  # as watch.people makes them: what a host calls "user" itself is not counted


class IncidentReader:
    """Reads what is stored; ``store`` is set anew when a corrupt one is replaced."""

    def __init__(
        self, store: Store, *, window_s: float, url_of: Callable[[OperationRecord], str | None] = lambda _: None
    ) -> None:
        """``window_s`` is the stretch before a breach that it was measured in.

        ``url_of`` finds the way to an operation's place in Discord, if it is remembered.
        """
        self.store = store
        self.url_of = url_of
        self._window_us = int(window_s * 1e6)

    async def of(self, alert: Alert) -> IncidentContext:
        """What is known about the alert, from its window's beginning to its end, or until it was last measured.

        Figures are of whole minutes. People are counted among the newest failures, or for slowness among the slowest
        operations beyond the threshold, as far as these ran inside interactions.

        Raises:
            StorageError: the store cannot be read now.
        """
        since_us = alert.started_us - self._window_us
        until_us = max(alert.seen_us, alert.resolved_us or 0, alert.started_us) + 1
        markers = await self.store.markers(alert.started_us - BEFORE_US, alert.started_us + 1, limit=MARKERS)
        story = IncidentContext(since_us, until_us, 0, 0, markers=tuple(reversed(markers)))
        series = await self._series(alert)
        if not series:
            return story
        totals = await self.store.totals(since_us, until_us, groups=dict.fromkeys(series, 0))
        story = dataclasses.replace(
            story,
            since_us=totals.since_us,
            until_us=totals.until_us,
            operations=int(totals.counts.sum()),
            failures=int(totals.failures.sum()),
        )
        return await self._with_examples(story, alert, series)

    async def _series(self, alert: Alert) -> list[int]:
        """The store's ids of what the alert is about; none for a service that is not known."""
        known = await self.store.series()
        rule = RULES.get(alert.rule)
        service = rule.source if alert.service == BOT and rule is not None and rule.source else alert.service
        if service == BOT:
            return [one.id for one in known if one.service not in service_names.BACKGROUND]
        wanted = {service} if not alert.operation else {(service, alert.operation)}
        return [one.id for one in known if {one.service, (one.service, one.operation)} & wanted]

    async def _with_examples(self, story: IncidentContext, alert: Alert, series: Collection[int]) -> IncidentContext:
        """The story with what single operations tell."""
        at = (series, story.since_us, story.until_us)
        rule = RULES.get(alert.rule)
        if rule is not None and rule.slowest:
            slowest = await self.store.slowest(*at, limit=READ)
            touched = [one for one in slowest if one.duration_us >= alert.threshold * 1000]
            example = next(iter(slowest), None)
        else:
            touched = await self.store.recent(*at, limit=READ, failed=True)
            # The newest one that leads somewhere: it is the newest that can be looked into.
            example = next((one for one in touched if self.url_of(one)), next(iter(touched), None))
        error, count = _commonest(touched)
        return dataclasses.replace(
            story,
            users=_different(touched, "user"),
            guilds=_different(touched, "guild"),
            most_common_error=error,
            most_common_count=count,
            example=None if example is None else dataclasses.replace(example, error=_shown(example.error)),
            example_url=None if example is None else self.url_of(example),
        )


def _different(operations: Sequence[OperationRecord], kind: str) -> int | None:
    """How many different users or guilds the operations touched; None where none of them says."""
    values = {one.metadata.get(kind) for one in operations}
    hashes = {value for value in values if isinstance(value, str) and _PERSON.fullmatch(value)}
    return len(hashes) or None


def _commonest(operations: Sequence[OperationRecord]) -> tuple[str | None, int]:
    """The error that most of them (newest first) ended with, in the newest one's words, and how many did.

    Errors that differ in numbers and ids alone are the same.
    """
    texts = [one.error for one in operations if one.error]
    kinds = [kind_of(text) for text in texts]
    if not kinds:
        return None, 0
    kind, count = Counter(kinds).most_common(1)[0]
    return _shown(texts[kinds.index(kind)]), count


def _shown(error: str | None) -> str | None:
    """An error's text as it may leave the bot: without ids of people and places."""
    return None if error is None else without_ids(error)
