"""The engine: holds what was measured against what is known, stores what changes, and only then lets it be told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.alerts.lifecycle.grouping import MANY
from cogmeter.alerts.lifecycle.policy import Policy
from cogmeter.alerts.lifecycle.subject_state import DROPPED
from cogmeter.alerts.lifecycle.tracker import SLICE, AlertTracker
from cogmeter.alerts.rules import RULES
from cogmeter.recording.background import detached
from cogmeter.startup import StartupGuard
from cogmeter_storage.alerting import ACTIVE, AlertChange, AlertState, Step
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence

    from cogmeter.alerts.lifecycle.subject_state import Transition
    from cogmeter.alerts.lifecycle.tracker import Plan
    from cogmeter.alerts.model import Limit, Reading, Subject
    from cogmeter_storage.alerting import Alert, Mute
    from cogmeter_storage.base import Store

__all__ = ["AlertEngine", "ClosedAlertError", "Policy", "UnevaluatedAlertError", "UnknownAlertError"]

T = TypeVar("T")

PAGE: Final = 1_000  # alerts that are read at once
AGAIN_US: Final = 60_000_000  # a mute sent twice ends no more than this, or a tenth of its length, later
MUTES, ALERTS = "mutes", "alerts"  # the parts that are restored at a start

_logger = logging.getLogger("cogmeter.alerts")


class UnknownAlertError(LookupError):
    """There is no such alert; the text is for people."""


class ClosedAlertError(ValueError):
    """The alert is resolved already; the text is for people."""


class UnevaluatedAlertError(ClosedAlertError):
    """The alert is stored as active and this version does not evaluate it; the text is for people."""


class AlertEngine:
    """The life of all alerts; see transitions.py for one, grouping.py for many at once.

    Everything that happens at one check is stored in one transaction, with the deliveries that tell of it; ``told`` is
    called afterwards. What cannot be stored has not happened, and is due again at the next check. One thing happens at
    a time, and is finished even when its caller is cancelled, so that memory and store never differ.
    """

    def __init__(
        self,
        store: Store,
        limit_of: Callable[[Subject], Limit],
        policy: Policy,
        *,
        targets: Callable[[Alert], tuple[str, ...]],
        told: Callable[[], None],
    ) -> None:
        """``targets`` names the notifiers for an alert; ``told`` is called when something waits to be delivered."""
        self.store = store  # set anew when a corrupt one is replaced
        self.checks = 0
        self.unknown_rules: Counter[str] = Counter()  # active alerts that are left alone, by a rule that is not known
        self._limit_of = limit_of
        self._policy = policy
        self._targets = targets
        self._told = told
        self._book = AlertTracker(limit_of, policy)
        self._unread = {MUTES, ALERTS}  # what ``restore`` has still to read
        self._over: set[str] = set()  # uids that never fired, still to be dropped from the store
        self._lock = asyncio.Lock()

    @property
    def active(self) -> tuple[Alert, ...]:
        """The alerts that are not resolved, with their newest figures, the oldest first; pending ones too."""
        return tuple(self._book.alerts)

    @property
    def restored(self) -> bool:
        """Whether nothing is left that ``restore`` could read from the store."""
        return not self._unread

    async def restore(self, now_us: int, parts: StartupGuard | None = None) -> None:
        """Continue the alerts and mutes of the last run. What fails starts empty, and is reported to ``parts``.

        Where the store itself failed, ``restored`` stays False, and the next call reads what is missing. Alerts of
        rules that this version does not know are left in the store as they are.
        """
        parts = StartupGuard(Counter()) if parts is None else parts
        async with self._lock:
            if MUTES in self._unread:
                with self._restoring(parts, MUTES, "alerts that were muted are sent"):
                    self._book.mutes = await self.store.alerting.mutes(now_us)
            if ALERTS in self._unread:
                with self._restoring(parts, ALERTS, "active alerts may be sent a second time"):
                    self._book = await self._recalled(now_us)
        _logger.debug("Restored %d alerts and %d mutes", len(self._book.alerts), len(self._book.mutes))

    async def step(self, readings: Sequence[Reading], now_us: int) -> list[Alert]:
        """Take in one check's readings; returns the alerts that changed. A store that fails raises nothing here."""
        return await self._alone(self._step(readings, now_us))

    async def acknowledge(self, uid: str, actor: str, now_us: int) -> Alert:
        """Note that somebody has taken the alert up, and those that it speaks for. The first one to do so stays.

        Raises:
            UnknownAlertError: there is none.
            ClosedAlertError: it is resolved already.
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._alone(self._acknowledge(uid, actor, now_us))

    async def mute(self, mute: Mute, now_us: int) -> Mute:
        """Keep a mute, and take the alerts that it covers into it. Returns it with its id.

        Where a mute of the same service and rule is active that ends no earlier, nothing changes and that one is
        returned: a button may be pressed twice, and a request sent again.

        Raises:
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._alone(self._mute(mute, now_us))

    async def unmute(self, ids: Collection[int], actor: str, now_us: int) -> list[Mute]:
        """End mutes; returns those that still held. What was never told is told at the next check, if it is still so.

        Raises:
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._alone(self._unmute(ids, actor, now_us))

    async def stepped(self, step_us: int, now_us: int) -> None:
        """Follow a step of the clock, after which it shows ``now_us``: waits, mutes and retries go on as they were.

        Raises:
            StorageError: mutes and deliveries keep their times in the store.
        """
        await self._alone(self._shift(step_us, now_us))

    async def move(self, store: Store, now_us: int) -> None:
        """Go on with another store: add the active alerts and mutes that it lacks, and use those that only it has.

        Raises:
            StorageError: not all could be stored; what is missing is stored with its next change.
        """
        await self._alone(self._move(store, now_us))

    async def rest(self) -> None:
        """Wait until what was begun is finished, also for callers that were cancelled since."""
        async with self._lock:
            return

    async def _step(self, readings: Sequence[Reading], now_us: int) -> list[Alert]:
        self.checks += 1
        plan: Plan = {}
        for growing in self._book.check(readings, now_us):
            plan = growing
            await asyncio.sleep(0)  # with many alerts at once, the host's own work comes in between
        self._explain(plan, len(readings))
        self._over.update(move.before.alert.uid for move in plan.values() if _to_drop(move) and move.before.alert)
        changed = await self._try(plan, now_us)
        await self._drop()
        return changed

    async def _acknowledge(self, uid: str, actor: str, now_us: int) -> Alert:
        subject = self._book.find(uid)
        if subject is None:
            raise await self._missing(uid)
        plan = self._book.acknowledge(subject, actor, now_us)
        await self._carry_out(plan, now_us)
        alert = self._book.tracks[subject].alert
        assert alert is not None, "an acknowledged alert stays"
        return alert

    @contextmanager
    def _restoring(self, parts: StartupGuard, part: str, effect: str) -> Iterator[None]:
        self._unread.discard(part)
        with parts.guard(part, effect):
            try:
                yield
            except StorageError:
                self._unread.add(part)
                raise

    async def _recalled(self, now_us: int) -> AlertTracker:
        """Return a book with the present mutes and the stored alerts of the rules that are known."""
        book = AlertTracker(self._limit_of, self._policy, self._book.mutes)
        active = await self._read(ACTIVE, 0)
        resolved = await self._read((AlertState.RESOLVED,), max(0, now_us - self._policy.memory_us))
        book.recall(filter(_known, active), now_us)
        book.recall(filter(_known, resolved), now_us)
        self.unknown_rules = Counter(alert.rule for alert in active if not _known(alert))
        for rule, count in self.unknown_rules.items():
            _logger.warning("Kept %d active alerts of the rule %r, which this version does not know", count, rule)
        return book

    async def _missing(self, uid: str) -> Exception:
        alert = await self.store.alerting.alert(uid)
        if alert is None:
            return UnknownAlertError("There is no such alert; it may be too old to be kept")
        if alert.state.active:
            why = "it could not be restored at the start" if _known(alert) else f"the rule {alert.rule!r} is not known"
            return UnevaluatedAlertError(f"Alert {alert.id} is not evaluated: {why}")
        return ClosedAlertError(f"Alert {alert.id} is resolved already")

    async def _mute(self, mute: Mute, now_us: int) -> Mute:
        same = self._book.mute_of(mute.service, mute.rule, now_us)
        if same is not None and mute.until_us - same.until_us < min(AGAIN_US, (mute.until_us - mute.since_us) // 10):
            return same
        kept = await self.store.alerting.add_mute(mute)
        self._book.mutes.append(kept)
        await self._try(self._book.follow_mutes(now_us), now_us)
        return kept

    async def _unmute(self, ids: Collection[int], actor: str, now_us: int) -> list[Mute]:
        ended = await self.store.alerting.end_mutes(ids, now_us=now_us, actor=actor)
        self._book.mutes = [one for one in self._book.mutes if one.id not in ids]
        await self._try(self._book.follow_mutes(now_us, actor), now_us)
        return ended

    async def _try(self, plan: Plan, now_us: int) -> list[Alert]:
        """Carry the plan out, or nothing of it: then it is due again at the next check."""
        try:
            return await self._carry_out(plan, now_us)
        except StorageError as error:
            self._book.enter_figures(plan)
            _logger.error("Could not store what became of alerts, trying again at the next check: %s", error)  # noqa: TRY400 - the text says it all
            return []

    async def _carry_out(self, plan: Plan, now_us: int) -> list[Alert]:
        subjects = sorted(plan, key=lambda subject: subject.rule != MANY)  # a group before its members
        moves = [plan[subject] for subject in subjects if self._book.worth_storing(plan[subject], now_us)]
        steps: list[Step] = []
        for part in _parts(moves):
            await asyncio.sleep(0)
            steps += [self._step_of(move, now_us) for move in part]
        stored = {alert.uid: alert for alert in await self.store.alerting.save(steps)} if steps else {}
        for entries in _parts(list(plan.items())):
            await asyncio.sleep(0)
            self._book.enter(dict(entries), stored, now_us)
        if any(step.targets for step in steps):
            self._told()
        return [stored[step.alert.uid] for step in steps if step.change is not None]

    def _step_of(self, move: Transition, now_us: int) -> Step:
        alert = move.after.alert
        assert alert is not None, "what is stored is there"
        if not move.changes:
            return Step(alert)
        change = AlertChange(
            alert=alert.uid,
            kind=move.kind,
            state=alert.state,
            severity=alert.severity,
            message=alert.message,
            current=alert.current,
            threshold=alert.threshold,
            at_us=now_us,
            actor=move.actor,
            note=move.note,
        )
        return Step(alert, change, self._targets(alert) if move.told else ())

    async def _move(self, store: Store, now_us: int) -> None:
        self.store = store
        self._over.clear()
        self._unread.clear()  # all that the new store knows is read below
        kept = {_extent(mute): mute for mute in await store.alerting.mutes(now_us)}
        for number, mute in enumerate(self._book.mutes):
            extent = _extent(mute)
            self._book.mutes[number] = kept.pop(extent) if extent in kept else await store.alerting.add_mute(mute)
        self._book.mutes += kept.values()
        self._book.take(await store.alerting.save([Step(alert) for alert in self._book.alerts]), now_us)
        known = {alert.uid for alert in self._book.alerts}
        self._book.recall([alert for alert in await self._read(ACTIVE, 0) if alert.uid not in known], now_us)

    async def _shift(self, step_us: int, now_us: int) -> None:
        self._book.shift(step_us)
        await self.store.alerting.shift_times(step_us, now_us=now_us)

    async def _drop(self) -> None:
        if not self._over:
            return
        try:
            await self.store.alerting.delete_unfired(tuple(self._over))
        except StorageError as error:
            _logger.warning("Could not forget alerts that never fired, trying again at the next check: %s", error)
        else:
            self._over.clear()

    async def _read(self, states: Collection[AlertState], since_us: int) -> list[Alert]:
        found: list[Alert] = []
        while True:
            page = await self.store.alerting.alerts(states, since_us=since_us, limit=PAGE, offset=len(found))
            found += page
            if len(page) < PAGE:
                return found

    async def _alone(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(detached(self._locked(work), name="cogmeter-alerts"))

    async def _locked(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._lock:
            return await work

    def _explain(self, plan: Plan, readings: int) -> None:
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        _logger.debug("Check %d: %d readings", self.checks, readings)
        for subject, move in plan.items():
            alert = move.after.alert or move.before.alert
            if alert is not None:
                _logger.debug("%s: %s: %s", subject.service, alert.message, move.kind or move.note or alert.state)


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """In slices, between which the host's own work comes."""
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


def _known(alert: Alert) -> bool:
    """Whether this version can evaluate the alert; its rule may be one of a later version, or renamed since."""
    return alert.rule == MANY or alert.rule in RULES


def _to_drop(move: Transition) -> bool:
    return move.kind == DROPPED and move.before.stored is not None


def _extent(mute: Mute) -> tuple[str, str, int, int]:
    """Return what a mute covers, which is the same in every store."""
    return mute.service, mute.rule, mute.since_us, mute.until_us
