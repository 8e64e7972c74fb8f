"""Changes of thresholds that people ask for, in chat or on the web: checked, tried on what is stored, and shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.review.replay import NotReplayableError
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.thresholds.effective import CHANGED, EffectiveLimits, misplaced
from cogmeter.alerts.thresholds.keys import WORDED, LimitError, OverrideKey, key_of
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.query import now_us
from cogmeter.query.records import EffectiveLimit
from cogmeter.render.limit_text import value_of

if TYPE_CHECKING:
    from cogmeter.alerts.model import Subject
    from cogmeter.query.records import WhatIf
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry
    from cogmeter_storage.base import Store

REMEMBERED: Final = 1_000  # entries of the audit that are searched for who changed a threshold
NOT_REPLAYABLE: Final = "No preview: this rule uses more than stored operations."


@dataclass(frozen=True, slots=True)
class Change:
    """A change that somebody asks for; ``value`` as it is stored, None to reset."""

    subject: Subject
    field: str
    value: str | None

    @classmethod
    def of(cls, subject: Subject, field: str, value: str | None) -> Change:
        """The checked change.

        Raises:
            LimitError: it cannot be; the text says why.
        """
        if words := misplaced(subject):
            raise LimitError(words)
        key = key_of(subject, field)
        OverrideKey.parse(key)
        return cls(subject, field, None if value is None else Limits.check(key, value))

    @classmethod
    def of_key(cls, key: str, value: str | None) -> Change:
        """The same from an override's key: ``error_rate@knowledge-graph``.

        Raises:
            LimitError: it cannot be; the text says why.
        """
        parsed = OverrideKey.parse(key)
        return cls.of(parsed.subject, parsed.field, value)

    @property
    def key(self) -> str:
        """The key of the override."""
        return key_of(self.subject, self.field)


def words_of(key: str, value: str) -> str:
    """An override's stored value in people's form, ``1.9 s``; as it is where this version does not know the key."""
    try:
        parsed = OverrideKey.parse(key)
        known = Limits.check(key, value)
    except LimitError:
        return value
    number = known if parsed.field in WORDED else float(known)
    return value_of(EffectiveLimit(key, parsed.subject.rule, parsed.field, number, CHANGED))


@dataclass(frozen=True, slots=True)
class Preview:
    """What holds before and after a change; ``outlook`` is None where the rule cannot be replayed, or on a reset."""

    before: EffectiveLimit
    after: EffectiveLimit
    outlook: WhatIf | None


async def holdings(store: Store, settings: Settings) -> EffectiveLimits:
    """What holds now, and who changed it."""
    overrides = await store.alerting.overrides()
    entries: list[AuditEntry] = await store.alerting.audit(limit=REMEMBERED) if overrides else []
    return EffectiveLimits(settings, overrides, entries)


async def preview(store: Store, settings: Settings, change: Change) -> Preview:
    """What a change would do, tried on what is stored."""
    overrides = await store.alerting.overrides()
    before = (await holdings(store, settings)).of(change.subject, change.field)
    then = {key: value for key, value in overrides.items() if key != change.key}
    if change.value is not None:
        then[change.key] = change.value
    after = EffectiveLimits(settings, then).of(change.subject, change.field)
    if change.value is None:
        return Preview(before, after, None)
    try:
        outlook = await Replayer(store, settings, now_us=now_us()).outlook(change.key, change.value)
    except NotReplayableError:
        outlook = None
    return Preview(before, after, outlook)
