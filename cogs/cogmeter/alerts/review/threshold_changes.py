"""Changes of thresholds, from chat or the web: checked, and previewed on stored minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.review.replay import NotReplayableError
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.thresholds.effective import EffectiveLimits, misplaced
from cogmeter.alerts.thresholds.keys import LimitError, OverrideKey, key_of
from cogmeter.alerts.thresholds.learning import stored_calibration
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.query import now_us

if TYPE_CHECKING:
    from cogmeter.alerts.model import Subject
    from cogmeter.query.records import EffectiveLimit, WhatIf
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry
    from cogmeter_storage.base import Store

REMEMBERED: Final = 1_000  # entries of the audit that are searched for who changed a threshold
NOT_REPLAYABLE: Final = "No preview: this rule uses data other than stored operations."


@dataclass(frozen=True, slots=True)
class Change:
    """A requested change; ``value`` as it is stored, None to reset."""

    subject: Subject
    field: str
    value: str | None

    @classmethod
    def of(cls, subject: Subject, field: str, value: str | None) -> Change:
        """Check a change.

        Raises:
            LimitError: the change is not possible; the text says why.
        """
        if problem := misplaced(subject):
            raise LimitError(problem)
        key = key_of(subject, field)
        OverrideKey.parse(key)
        return cls(subject, field, None if value is None else Limits.check(key, value))

    @classmethod
    def of_key(cls, key: str, value: str | None) -> Change:
        """Check a change of an override's key: ``error_rate@knowledge-graph``.

        Raises:
            LimitError: the change is not possible; the text says why.
        """
        parsed = OverrideKey.parse(key)
        return cls.of(parsed.subject, parsed.field, value)

    @property
    def key(self) -> str:
        """The key of the override."""
        return key_of(self.subject, self.field)


@dataclass(frozen=True, slots=True)
class Preview:
    """The limit before and after a change; ``what_if`` is None if the rule cannot be replayed, or on a reset."""

    before: EffectiveLimit
    after: EffectiveLimit
    what_if: WhatIf | None


async def effective_limits(store: Store, settings: Settings) -> EffectiveLimits:
    """Return the limits in effect, and who changed them."""
    overrides = await store.alerting.overrides()
    entries: list[AuditEntry] = await store.alerting.audit(limit=REMEMBERED) if overrides else []
    return EffectiveLimits(settings, overrides, entries, await stored_calibration(store, settings))


async def preview(store: Store, settings: Settings, change: Change) -> Preview:
    """Return the effect of a change, replayed on stored minutes."""
    overrides = await store.alerting.overrides()
    before = (await effective_limits(store, settings)).of(change.subject, change.field)
    changed = {key: value for key, value in overrides.items() if key != change.key}
    if change.value is not None:
        changed[change.key] = change.value
    calibration = await stored_calibration(store, settings)
    after = EffectiveLimits(settings, changed, calibration=calibration).of(change.subject, change.field)
    if change.value is None:
        return Preview(before, after, None)
    try:
        what_if = await Replayer(store, settings, now_us=now_us()).what_if(change.key, change.value)
    except NotReplayableError:
        what_if = None
    return Preview(before, after, what_if)
